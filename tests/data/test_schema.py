"""What is known of each data set, and reading the real ones."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset, names
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences

# Section 2 of the notes on the paper's protocols.
SIZES = {
    "nli": (942_069, 19_657, 19_656),
    "stsb": (5_749, 1_500, 1_379),
    "sickr": (4_500, 500, 4_927),
    "sts12": (3_108,),
    "sts13": (1_500,),
    "sts14": (3_750,),
    "sts15": (3_000,),
    "sts16": (1_186,),
}
SUBSETS = {
    "sts12": {"MSRpar": 750, "MSRvid": 750, "SMTeuroparl": 459},
    "sts13": {"FNWN": 189, "headlines": 750, "OnWN": 561},
}


def test_the_folder_holds_the_papers_data_sets() -> None:
    assert set(SIZES) <= set(names())
    assert not {"record", "tokens", "download", "__init__"} & set(names())


@pytest.mark.parametrize("name", names())
def test_every_record_is_filled_in(name: str) -> None:
    record = dataset(name)
    assert record.name == name
    some_have = (
        "target_column score_range labels dropped_labels subset_column topics round_number "
        "source_column corpora"
    )
    for field in fields(record):
        if field.name not in some_have.split():
            assert getattr(record, field.name), field.name
    assert len(record.licence) > 5
    assert any(year in record.citation for year in map(str, range(2000, 2030)))


@pytest.mark.parametrize("name", names())
def test_every_record_says_what_its_target_may_be(name: str) -> None:
    record = dataset(name)
    assert (record.score_range is not None) == (record.kind == "scored_pairs")
    assert (record.labels is not None) == record.kind.startswith("labelled")
    assert (record.target_column is None) == (record.kind == "triplets")


@pytest.mark.parametrize("name", names())
def test_every_split_has_sources_that_give_its_columns(name: str) -> None:
    record = dataset(name)
    assert {source.split for source in record.sources} == set(record.splits)
    for source in record.sources:
        given = {*source.columns, *source.constants}
        if source.format == "sts_folder":
            given |= {"subset", "sentence1", "sentence2", "score"}
            assert source.subsets
        if source.format == "lines":
            given |= {*re.compile(source.pattern).groupindex, *(["label"] if source.labels else [])}
        assert set(record.columns) <= given


@pytest.mark.parametrize("name", names())
def test_every_source_is_pinned(name: str) -> None:
    for source in dataset(name).sources:
        pinned = source.revision is not None or source.sha256 is not None
        assert pinned or source.format == "by_hand", f"{source.place} may change under us"
        if source.revision is not None:
            assert len(source.revision) == 40
            assert set(source.revision) <= set("0123456789abcdef")


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_papers(name: str) -> None:
    assert tuple(dataset(name).splits.values()) == SIZES[name]


def test_labels_have_the_authors_class_ids() -> None:
    assert dataset("nli").labels == ("contradiction", "entailment", "neutral")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no data set 'sts17'.*sts12.*stsb"):
        dataset("sts17")


def test_scores_are_scaled_to_the_range_of_cosine() -> None:
    assert dataset("stsb").scaled(np.array([0.0, 2.5, 5.0])).tolist() == [0.0, 0.5, 1.0]
    assert dataset("sickr").scaled(np.array([1.0, 5.0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("name", names())
def test_the_real_files_are_what_the_records_say(name: str, data_root: Path) -> None:
    record = dataset(name)
    if not (data_root / name).is_dir():
        pytest.skip(f"no {name} in {data_root}")
    for split, expected in record.splits.items():
        examples = read(record, data_root, split, allow_partial=name == "nli")
        assert len(examples) == examples.rows_found
        assert (examples.target is None) == (record.kind == "triplets")
        assert examples.rows_expected == expected
        assert (sentences(examples.facts) == []) == (len(examples) == expected)
        assert set(examples.texts) == set(record.text_columns)


@pytest.mark.parametrize("name", SUBSETS)
def test_the_real_years_have_their_parts(name: str, data_root: Path) -> None:
    subset = read(dataset(name), data_root, "test").subset
    assert subset is not None
    found = dict(zip(*np.unique(subset, return_counts=True), strict=True))
    assert {part: found[part] for part in SUBSETS[name]} == SUBSETS[name]
    assert set(found) == set(dataset(name).sources[0].subsets)


def test_a_part_of_nli_says_so(data_root: Path) -> None:
    nli = dataset("nli")
    if len(read(nli, data_root, "train", allow_partial=True)) == nli.splits["train"]:
        pytest.skip("NLI is complete here")
    with pytest.raises(UserError, match=r"of 942,069 pairs of NLI.*data\.allow_partial=true"):
        read(nli, data_root, "train")
    limited = read(nli, data_root, "train", limit=20_000, allow_partial=True)
    assert len(limited) == 20_000
    said = r"NLI: 20,000 (pairs, [\d,]+ of them of the complete set's|of) 942,069.*"
    assert [bool(re.fullmatch(said, note)) for note in sentences(limited.facts)] == [True]
