"""Every record is complete and pinned, and the real files are what the records say."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from sbert_repro.data.download import states
from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset, names, part_names
from sbert_repro.errors import UserError
from sbert_repro.facts import is_partial, sentences

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
MAY_BE_EMPTY = {
    *("target_column", "score_range", "labels", "dropped_labels", "subset_column", "topics"),
    *("round_number", "source_column", "corpora", "in_tables"),
}


@pytest.mark.parametrize("name", names())
def test_every_record_is_filled_in(name: str) -> None:
    record = dataset(name)
    assert record.name == name
    for field in fields(record):
        assert getattr(record, field.name) or field.name in MAY_BE_EMPTY, field.name
    assert len(record.licence) > 5
    assert any(year in record.citation for year in map(str, range(2000, 2030)))
    assert (record.score_range is not None) == (record.kind == "scored_pairs")
    assert (record.labels is not None) == record.kind.startswith("labelled")
    assert (record.target_column is None) == (record.kind == "triplets")
    topics = part_names(record.topics)["topics"]
    assert len(set(topics)) == len(topics), "two topics are spelled alike"


@pytest.mark.parametrize("name", names())
def test_every_split_has_pinned_sources_that_give_its_columns(name: str) -> None:
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
        pinned = source.revision is not None or source.sha256 is not None
        assert pinned or source.format == "by_hand", f"{source.place} may change under us"
        assert source.revision is None or re.fullmatch("[0-9a-f]{40}", source.revision)


def test_sizes_are_the_papers() -> None:
    assert {name: tuple(dataset(name).splits.values()) for name in SIZES} == SIZES


def test_labels_have_the_authors_class_ids() -> None:
    assert dataset("nli").labels == ("contradiction", "entailment", "neutral")


@pytest.mark.parametrize("name", names())
def test_the_real_files_are_what_the_records_say(name: str, data_root: Path) -> None:
    record = dataset(name)
    if not (data_root / name).is_dir():
        pytest.skip(f"no {name} in {data_root}: make data, or what it says to fetch by hand")
    for split, expected in record.splits.items():
        examples = read(record, data_root, split, allow_partial=name == "nli")
        assert len(examples) == examples.rows_found
        assert (examples.target is None) == (record.kind == "triplets")
        assert examples.rows_expected == expected
        assert examples.facts[0]["used"] == len(examples)
        assert is_partial(examples.facts) == (len(examples) != expected)
        assert set(examples.texts) == set(record.text_columns)


def test_the_real_root_has_no_broken_file(data_root: Path) -> None:
    assert [state.problem for state in states(data_root) if state.problem] == []


@pytest.mark.parametrize("name", SUBSETS)
def test_the_real_years_have_their_subsets(name: str, data_root: Path) -> None:
    subset = read(dataset(name), data_root, "test").subset
    assert subset is not None
    found = dict(zip(*np.unique(subset, return_counts=True), strict=True))
    assert {part: found[part] for part in SUBSETS[name]} == SUBSETS[name]
    assert set(found) == set(dataset(name).sources[0].subsets)


def test_the_real_arguments_are_cut_as_they_should_be(data_root: Path) -> None:
    record = dataset("bws")
    test, train = (read(record, data_root, f"{side}_fold_3") for side in ("test", "train"))
    assert (len(test), len(train)) == (340, 3060)
    assert not is_partial([*test.facts, *train.facts])
    assert set(test.subset) == set(record.topics)
    topic = read(record, data_root, "test_topic_gun_control")
    assert len(topic) == topic.rows_expected == 425 and set(topic.subset) == {"Gun control"}
    assert len(read(record, data_root, "train_topic_gun_control")) == 3400 - 425
    within = [read(record, data_root, f"{s}_within_gun_control_fold_3") for s in ("test", "train")]
    assert (len(within[0]), len(within[1])) == (42, 383)
    assert {topic for split in within for topic in split.subset} == {"Gun control"}
    limited = read(record, data_root, "train_fold_3", limit=100)
    assert sentences(limited.facts) == ["BWS argument similarity: 100 of 3,060 training pairs"]
    assert len(set(limited.subset)) == 8, "a limit takes a fair sample of a file sorted by topic"
    with pytest.raises(UserError, match=r"its topics are abortion, cloning, .*, its folds 0 to 9"):
        read(record, data_root, "test_topic_cats")


def test_a_part_of_nli_says_so(data_root: Path) -> None:
    nli = dataset("nli")
    if not is_partial(read(nli, data_root, "train", allow_partial=True).facts):
        pytest.skip("NLI is complete here")
    with pytest.raises(UserError, match=r"of 942,069 pairs of NLI.*data\.allow_partial=true"):
        read(nli, data_root, "train")
    limited = read(nli, data_root, "train", limit=20_000, allow_partial=True)
    assert limited.facts[0]["used"] == len(limited) == 20_000
    assert limited.facts[0]["expected"] == 942_069
