"""What a split is, and that a file which is wrong in any way gets one line that names it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.data.read import StreamedTexts, read
from sbert_repro.data.schema import DataSet, dataset
from sbert_repro.errors import UserError
from sbert_repro.facts import by_data_set, is_partial, rows, sentences

Write = Callable[..., Path]
Columns = dict[str, list[Any]]


def refusal(record: DataSet, root: Path, split: str, **options: Any) -> UserError:
    with pytest.raises(UserError) as refused:
        read(record, root, split, **options)
    assert "\n" not in str(refused.value)
    return refused.value


def test_a_good_file(write: Write, scored: DataSet, pairs: Columns, tmp_path: Path) -> None:
    dictionary = pa.array(pairs["sentence2"]).dictionary_encode()
    write(scored, "dev", pairs | {"sentence2": dictionary})
    examples = read(scored, tmp_path, "dev")
    assert examples.texts == {name: pairs[name] for name in ("sentence1", "sentence2")}
    assert examples.target.tolist() == pairs["score"]
    assert examples.subset is None
    assert len(examples.sha256) == 64
    (rows,) = examples.facts
    assert rows["code"] == "rows" and rows["used"] == rows["expected"] == rows["own"] == 3
    assert (rows["dataset"], rows["split"], rows["title"]) == ("stsb", "dev", "STSb")
    assert sentences(examples.facts) == [] and not is_partial(examples.facts)


def test_labels_become_class_ids(
    write: Write, labelled: DataSet, nli_pairs: Columns, tmp_path: Path
) -> None:
    write(labelled, "train", nli_pairs)
    assert read(labelled, tmp_path, "train").target.tolist() == [2, 0, 1]


@pytest.mark.parametrize("missing", ["-", "-1"])
def test_pairs_without_a_gold_label_are_dropped_and_counted(
    missing: str, write: Write, labelled: DataSet, tmp_path: Path
) -> None:
    labels = ["neutral", missing, "entailment", "contradiction"]
    write(
        labelled,
        "train",
        {"premise": list("abcd"), "hypothesis": list("efgh"), "label": labels},
    )
    examples = read(labelled, tmp_path, "train")
    assert examples.texts == {"premise": list("acd"), "hypothesis": list("egh")}
    assert examples.target.tolist() == [2, 1, 0]
    assert [one["code"] for one in examples.facts] == ["rows", "rows_without_label"]
    assert sentences(examples.facts) == ["NLI: 1 training pairs without a gold label dropped"]


@pytest.mark.parametrize("name", ["dev", "nowhere"])
def test_a_missing_file_keeps_its_path_out_of_the_reason(
    name: str, scored: DataSet, tmp_path: Path
) -> None:
    mistake = refusal(scored, tmp_path / name, "dev")
    assert mistake.code == "missing"
    assert mistake.found == "no data set stsb/dev on this machine"
    assert mistake.where == str(tmp_path / name / "stsb" / "dev.parquet")
    assert "`make data`" in mistake.mend


def test_unknown_split(scored: DataSet, tmp_path: Path) -> None:
    said = str(refusal(scored, tmp_path, "validation"))
    assert "no split 'validation'; it has dev" in said
    with pytest.raises(UserError, match="stsb has no split 'test_fold_3'; it has dev, test, train"):
        read(dataset("stsb"), tmp_path, "test_fold_3")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda whole: b"", "the file is empty (0 bytes)"),
        (lambda whole: whole[: len(whole) // 20], "not a readable parquet file"),
        (lambda whole: whole[:-1], "not a readable parquet file"),
        (lambda whole: whole[:4] + b"\xff" * 196 + whole[200:], "not a readable parquet file"),
    ],
)
@pytest.mark.parametrize("kind", ["scored", "triplets"])
def test_damaged_files(
    kind: str, damage: Callable[[bytes], bytes], said: str, request, write: Write, tmp_path: Path
) -> None:
    record = request.getfixturevalue(kind)
    split = next(iter(record.splits))
    columns = request.getfixturevalue("pairs") if kind == "scored" else TRIPLETS
    path = write(record, split, columns)
    path.write_bytes(damage(path.read_bytes()))
    mistake = refusal(record, tmp_path, split)
    assert mistake.where == str(path) and said in mistake.found
    assert f"scripts/download.py {record.name}" in mistake.mend


def test_a_folder_in_the_files_place(scored: DataSet, tmp_path: Path) -> None:
    (tmp_path / "stsb" / "dev.parquet").mkdir(parents=True)
    assert "cannot be read" in str(refusal(scored, tmp_path, "dev"))


def test_a_file_without_permission(
    write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    path = write(scored, "dev", pairs)
    # Root may read everything, so another user has to try; who is not root tries as himself.
    code = (
        "import os; from pathlib import Path; from sbert_repro.data.read import read\n"
        "from sbert_repro.data.schema import dataset\n"
        "record = dataset('stsb'); os.geteuid() or os.setuid(65534)\n"
        f"read(record, Path({str(tmp_path)!r}), 'dev')"
    )
    path.parent.chmod(0)
    try:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        path.parent.chmod(0o755)
    assert f"UserError: {path}: cannot be read: Permission denied" in done.stderr


def test_missing_column(write: Write, scored: DataSet, pairs: Columns, tmp_path: Path) -> None:
    pairs["gold"] = pairs.pop("score")
    path = write(scored, "dev", pairs)
    assert str(refusal(scored, tmp_path, "dev")) == (
        f"{path}: no column score; it has sentence1, sentence2, gold, expected sentence1, "
        f"sentence2, score: get it again with `make data`"
    )


def test_no_rows(write: Write, scored: DataSet, pairs: Columns, tmp_path: Path) -> None:
    path = write(scored, "dev", pa.table(pairs).slice(0, 0))
    assert f"{path}: no rows" in str(refusal(scored, tmp_path, "dev"))


NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 3, pa.array([b"fine", b"\xff\xfe", b"fine"]).buffers()
)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"score": [1.0, float("nan"), 2.0]}, ", row 1: score is nan, expected 0 to 5"),
        ({"score": [1.0, None, 2.0]}, ", row 1: score is nan"),
        ({"score": [1.0, 5.5, -1.0]}, ", row 1: score is 5.5, expected 0 to 5 (2 such rows)"),
        ({"score": [1.0, 2.0, -0.1]}, ", row 2: score is -0.1, expected 0 to 5"),
        ({"score": ["1", "2", "3"]}, ": column score holds string, expected numbers"),
        ({"score": [[1], [2], [3]]}, ": column score holds list"),
        ({"sentence2": [[1], [2], [3]]}, ": column sentence2 holds list"),
        ({"sentence2": ["x", None, None]}, ", row 1: sentence2 is missing (2 such rows)"),
        ({"sentence1": NOT_UTF8}, ", row 1: sentence1 is not UTF-8 text"),
    ],
)
def test_bad_rows_of_pairs(
    changed: Any, said: str, write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    path = write(scored, "dev", pa.table(pairs | changed))
    assert f"{path}{said}" in str(refusal(scored, tmp_path, "dev"))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["neutral", "neutral", "maybe"], "row 2: label is 'maybe', expected one of contradiction"),
        ([-1, 0, 1], "row 1: label is '0', expected one of contradiction, "),
        (["neutral", None, "neutral"], "row 1: label is missing (1 such rows)"),
    ],
)
def test_bad_labels(
    labels: Any, said: str, write: Write, labelled: DataSet, nli_pairs: Columns, tmp_path: Path
) -> None:
    path = write(labelled, "train", nli_pairs | {"label": labels})
    assert f"{path}, {said}" in str(refusal(labelled, tmp_path, "train"))


@pytest.mark.parametrize("expected", [2, 4])
def test_another_number_of_rows_must_be_asked_for(
    expected: int, write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    record = replace(scored, splits={"dev": expected})
    write(record, "dev", pairs)
    mistake = refusal(record, tmp_path, "dev")
    assert mistake.code == "partial" and mistake.found == f"3 of {expected} pairs of STSb"
    assert "data.allow_partial=true" in mistake.mend
    examples = read(record, tmp_path, "dev", allow_partial=True)
    assert is_partial(examples.facts)
    assert sentences(examples.facts) == [f"STSb: 3 of {expected} dev pairs"]
    assert (examples.rows_found, examples.rows_expected) == (3, expected)


@pytest.mark.parametrize(("limit", "taken"), [(1, 1), (3, 3), (99, 3)])
def test_a_limit_takes_the_first_rows_and_says_so(
    limit: int, taken: int, write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    write(scored, "dev", pairs)
    examples = read(scored, tmp_path, "dev", limit=limit)
    assert examples.texts["sentence2"] == pairs["sentence2"][:taken]
    assert examples.target.tolist() == pairs["score"][:taken]
    assert sentences(examples.facts) == ([] if taken == 3 else [f"STSb: {taken} of 3 dev pairs"])
    assert examples.rows_found == 3


def test_a_limit_that_leaves_nothing(
    write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    write(scored, "dev", pairs)
    for limit in (0, -5):
        assert f"data.limit={limit}: " in str(refusal(scored, tmp_path, "dev", limit=limit))


def test_a_fold_has_two_counts(write: Write, tmp_path: Path) -> None:
    record = replace(dataset("bws"), splits={"all": 50})
    numbers = range(40)
    texts = {f"sentence{side}": [f"{side}: {n}" for n in numbers] for side in (1, 2)}
    topics = [record.topics[n % 2] for n in numbers]
    write(record, "all", {**texts, "score": [0.5] * 40, "topic": topics})
    fold = read(record, tmp_path, "test_fold_1", limit=3, allow_partial=True)
    assert [(one["split"], one["used"], one["expected"]) for one in fold.facts] == [
        ("all", 40, 50),
        ("test_fold_1", 3, 4),
    ]
    assert (fold.rows_found, fold.rows_expected) == (4, 4)
    record = replace(record, round_number=True)
    assert not is_partial(read(record, tmp_path, "test_fold_1").facts), "40 is about 50"


SOURCES = ["snli_train", "lingnli", "mnli_nyu_train", "cad_combined_train", "taxinli10k", "snli"]


@pytest.mark.parametrize(
    ("changed", "limit", "said"),
    [
        ({"source": SOURCES}, None, "6 training pairs, 4 of them of the complete set's 942,069"),
        ({"source": SOURCES}, 3, "3 training pairs, 2 of them of the complete set's 942,069"),
        ({"source": SOURCES}, 1, "1 of 942,069 training pairs"),
        (
            {"source": SOURCES, "label": ["-", *["neutral"] * 5]},
            2,
            "2 training pairs, 1 of them of the complete set's 942,069",
        ),
        ({}, None, "6 of 942,069 training pairs"),
        ({"source": ["snli", "mnli_train"] * 3}, None, "6 of 942,069 training pairs"),
        (
            {"source": ["snli", None] * 3},
            2,
            "2 training pairs, 1 of them of the complete set's 942,069",
        ),
    ],
)
def test_rows_of_other_corpora_are_told_apart(
    changed: Columns, limit: int | None, said: str, write: Write, tmp_path: Path
) -> None:
    record = dataset("nli")
    columns = {"premise": list("abcdef"), "hypothesis": list("uvwxyz"), "label": ["neutral"] * 6}
    write(record, "train", columns | changed)
    examples = read(record, tmp_path, "train", limit=limit, allow_partial=True)
    assert sentences(examples.facts)[0] == f"NLI: {said}"


MIXED = {
    "premise": list("abcdef"),
    "hypothesis": list("uvwxyz"),
    "label": ["neutral"] * 6,
    "source": ["lingnli", "snli_train", "taxinli10k", "cad", "mnli_nyu", "snli_dev"],
}


@pytest.mark.parametrize(
    ("sources", "limit", "premises", "said"),
    [
        (None, None, "abcdef", "6 training pairs, 4 of them of the complete set's 942,069"),
        (["snli"], None, "bf", "2 of 942,069 training pairs"),
        (["snli", "mnli"], None, "bcef", "4 of 942,069 training pairs"),
        (["mnli", "snli"], 3, "bce", "3 of 942,069 training pairs"),
    ],
)
def test_rows_of_some_corpora_are_taken_and_then_limited(
    sources: list[str] | None,
    limit: int | None,
    premises: str,
    said: str,
    write: Write,
    tmp_path: Path,
) -> None:
    record = dataset("nli")
    write(record, "train", MIXED)
    options = {"limit": limit, "allow_partial": True, "sources": sources}
    examples = read(record, tmp_path, "train", **options)
    assert list(examples.texts["premise"]) == list(premises)
    assert sentences(examples.facts)[0] == f"NLI: {said}"


def test_which_share_of_the_training_rows_is_from_which_corpus_is_said(
    write: Write, tmp_path: Path
) -> None:
    record = dataset("nli")
    write(record, "train", MIXED)

    def said(sources: list[str] | None) -> str:
        found = read(record, tmp_path, "train", allow_partial=True, sources=sources).facts
        return by_data_set(found[:1])[0]

    assert said(None).endswith(" (33 % MultiNLI, 33 % SNLI, 33 % not in the paper)")
    assert said(["snli", "mnli"]).endswith(" (50 % MultiNLI, 50 % SNLI)")
    count = {"title": "NLI", "unit": "pairs", "used": 4_000, "expected": 942_069}
    before = rows("nli", "train", **count, own=1_973)
    assert by_data_set([before])[0].endswith(" (49 % in the paper, 51 % not in the paper)")
    assert "%" not in by_data_set([rows("nli", "dev", **count, own=1_973)])[0], "not trained on"
    for own in (None, 0):
        assert "%" not in by_data_set([rows("nli", "train", **count, own=own)])[0]
    complete = count | {"used": 942_069, "shares": {"snli": 549_367, "mnli": 392_702}}
    assert by_data_set([rows("nli", "train", **complete)]) == []


@pytest.mark.parametrize(
    ("name", "sources", "said"),
    [
        ("nli", ["snli", "cad"], r"data.sources=\[snli,cad\].*snli, mnli.*leave out cad"),
        ("nli", [], r"data.sources=\[\]: expected one or more of: snli, mnli"),
        ("stsb", ["snli"], "it has one source"),
    ],
)
def test_corpora_that_a_data_set_does_not_have_are_refused(
    name: str, sources: list[str], said: str, write: Write, tmp_path: Path
) -> None:
    record = dataset(name)
    scored = {"sentence1": ["a"], "sentence2": ["b"], "score": [1.0]}
    write(record, "train", MIXED if name == "nli" else scored)
    with pytest.raises(UserError, match=said):
        read(record, tmp_path, "train", allow_partial=True, sources=sources)


def test_corpora_need_a_file_that_names_them(write: Write, tmp_path: Path) -> None:
    columns = {name: column for name, column in MIXED.items() if name != "source"}
    write(dataset("nli"), "train", columns)
    with pytest.raises(UserError, match=r"no column source, .* use data.sources=null"):
        read(dataset("nli"), tmp_path, "train", allow_partial=True, sources=["snli"])


# Triplets are streamed: never whole in memory, checked row by row.

ROWS = 23
TRIPLETS = {
    name: [f"{name} {row}" for row in range(ROWS)] for name in ("anchor", "positive", "negative")
}


@pytest.fixture
def triplets() -> DataSet:
    """Wikipedia sections as if there were 23 training triplets."""
    return replace(dataset("wikisections"), splits={"train": ROWS})


@pytest.fixture(scope="module")
def anchors(tmp_path_factory) -> Path:
    """A file of triplets in row groups of five."""
    path = tmp_path_factory.mktemp("triplets") / "train.parquet"
    pq.write_table(pa.table(TRIPLETS), path, row_group_size=5)
    return path


def test_triplets_are_those_of_the_file(triplets: DataSet, write: Write, tmp_path: Path) -> None:
    write(triplets, "train", TRIPLETS)
    split = read(triplets, tmp_path, "train")
    assert {name: list(column) for name, column in split.texts.items()} == TRIPLETS
    assert split.target is None and not is_partial(split.facts) and len(split) == ROWS
    limited = read(triplets, tmp_path, "train", limit=7)
    assert list(limited.texts["negative"]) == TRIPLETS["negative"][:7]
    assert sentences(limited.facts) == [f"Wikipedia sections: 7 of {ROWS} training triplets"]


@settings(max_examples=60)
@given(st.slices(ROWS), st.integers(-ROWS, ROWS - 1))
def test_a_streamed_column_is_cut_as_a_list_is(anchors, cut, row):
    column, whole = StreamedTexts(anchors, "anchor"), TRIPLETS["anchor"]
    assert column[cut] == whole[cut] and column[row] == whole[row]
    assert column.first(11)[cut] == whole[:11][cut]
    with pytest.raises(IndexError):
        column[ROWS]


def test_one_row_group_is_in_memory_at_a_time(anchors, monkeypatch):
    column = StreamedTexts(anchors, "anchor")
    groups = []
    whole = pq.ParquetFile.read_row_group

    def counted(self, number, **options):
        groups.append(number)
        return whole(self, number, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    texts = [text for start in range(0, ROWS, 3) for text in column[start : start + 3]]
    assert texts == TRIPLETS["anchor"]
    assert groups == [0, 1, 2, 3, 4], "each group is read once on the way through"


def test_a_blank_text_of_a_triplet_is_a_text(triplets, write, tmp_path):
    texts = ["", " \t\n", *TRIPLETS["positive"][2:]]
    write(triplets, "train", {**TRIPLETS, "positive": texts})
    assert list(read(triplets, tmp_path, "train").texts["positive"]) == texts


@pytest.mark.parametrize(
    ("column", "row", "text", "said"),
    [
        ("negative", 22, None, "missing"),
        ("anchor", 9, b"\xff\xfe", "not UTF-8 text"),
    ],
)
def test_bad_rows_of_triplets(
    triplets: DataSet, write: Write, tmp_path, monkeypatch, column, row, text, said
):
    monkeypatch.setattr("sbert_repro.data.read._BATCH", 4)
    raw = [value.encode() for value in TRIPLETS[column]]
    raw[row] = text
    wrong = pa.array(raw, pa.binary()).view(pa.string())
    path = write(triplets, "train", pa.table({**TRIPLETS, column: wrong}))
    assert f"{path}, row {row}: {column} is {said}" in str(refusal(triplets, tmp_path, "train"))


def test_triplets_without_rows_or_columns_or_some(triplets, write, tmp_path):
    write(triplets, "train", {name: pa.array([], pa.string()) for name in TRIPLETS})
    assert "no rows" in str(refusal(triplets, tmp_path, "train"))
    write(triplets, "train", {name: TRIPLETS[name] for name in ("anchor", "positive")})
    assert "no column negative" in str(refusal(triplets, tmp_path, "train"))
    write(triplets, "train", {name: texts[:20] for name, texts in TRIPLETS.items()})
    assert "20 of 23 triplets" in str(refusal(triplets, tmp_path, "train"))
    split = read(triplets, tmp_path, "train", allow_partial=True)
    assert sentences(split.facts) == ["Wikipedia sections: 20 of 23 training triplets"]
