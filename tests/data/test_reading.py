"""Every way a file of the data root can be wrong ends in one line that names it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sbert_repro.data.read import read
from sbert_repro.data.schema import DataSet
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences

Write = Callable[..., Path]
Columns = dict[str, list[Any]]


def refusal(record: DataSet, root: Path, split: str, **options: Any) -> str:
    with pytest.raises(UserError) as refused:
        read(record, root, split, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_good_file(write: Write, scored: DataSet, pairs: Columns, tmp_path: Path) -> None:
    write(scored, "dev", pairs)
    examples = read(scored, tmp_path, "dev")
    assert examples.texts["sentence1"] == pairs["sentence1"]
    assert examples.target.tolist() == pairs["score"]
    assert (examples.subset, sentences(examples.facts)) == (None, [])
    assert len(examples.sha256) == 64


def test_labels_become_class_ids(
    write: Write, labelled: DataSet, nli_pairs: Columns, tmp_path: Path
) -> None:
    write(labelled, "train", nli_pairs)
    assert read(labelled, tmp_path, "train").target.tolist() == [2, 0, 1]


def test_dictionary_columns_are_text(
    write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    column = pa.array(pairs["sentence1"]).dictionary_encode()
    write(scored, "dev", pairs | {"sentence1": column})
    assert read(scored, tmp_path, "dev").texts["sentence1"] == pairs["sentence1"]


@pytest.mark.parametrize("missing", ["-", "-1"])
def test_pairs_without_a_gold_label_are_dropped_and_counted(
    missing: str, write: Write, labelled: DataSet, tmp_path: Path
) -> None:
    write(
        labelled,
        "train",
        {
            "premise": list("abcd"),
            "hypothesis": list("efgh"),
            "label": ["neutral", missing, "entailment", "contradiction"],
        },
    )
    examples = read(labelled, tmp_path, "train")
    assert examples.texts == {"premise": list("acd"), "hypothesis": list("egh")}
    assert examples.target.tolist() == [2, 1, 0]
    assert sentences(examples.facts) == ["NLI: 1 pairs without a gold label dropped"]


def test_negative_class_ids_are_dropped_others_refused(
    write: Write, labelled: DataSet, nli_pairs: Columns, tmp_path: Path
) -> None:
    path = write(labelled, "train", nli_pairs | {"label": [-1, 0, 1]})
    said = refusal(labelled, tmp_path, "train")
    assert said.startswith(f"{path}, row 1: label is '0', expected one of contradiction, ")


def test_missing_file(scored: DataSet, tmp_path: Path) -> None:
    said = refusal(scored, tmp_path, "dev")
    assert str(tmp_path / "stsb" / "dev.parquet") in said
    assert "`make data`" in said


def test_missing_root(scored: DataSet, tmp_path: Path) -> None:
    assert "there is no" in refusal(scored, tmp_path / "nowhere", "dev")


def test_unknown_split(scored: DataSet, tmp_path: Path) -> None:
    assert "no split 'validation'; it has dev" in refusal(scored, tmp_path, "validation")


def test_file_without_a_byte(scored: DataSet, tmp_path: Path, write: Write, pairs: Columns) -> None:
    write(scored, "dev", pairs).write_bytes(b"")
    assert "is empty (0 bytes)" in refusal(scored, tmp_path, "dev")


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_truncated_file(
    kept: float, write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    path = write(scored, "dev", pairs)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    said = refusal(scored, tmp_path, "dev")
    assert f"{path} is no readable parquet file" in said
    assert "scripts/download.py stsb" in said


def test_damaged_inside(write: Write, scored: DataSet, pairs: Columns, tmp_path: Path) -> None:
    path = write(scored, "dev", pairs)
    whole = bytearray(path.read_bytes())
    whole[4:200] = b"\xff" * 196
    path.write_bytes(whole)
    assert "is no readable parquet file" in refusal(scored, tmp_path, "dev")


def test_a_folder_in_the_files_place(scored: DataSet, tmp_path: Path) -> None:
    (tmp_path / "stsb" / "dev.parquet").mkdir(parents=True)
    assert "cannot read" in refusal(scored, tmp_path, "dev")


@pytest.mark.parametrize("locked", ["stsb", "stsb/dev.parquet"])
def test_unreadable(
    locked: str, write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    write(scored, "dev", pairs)
    # Root may read everything, so another user has to try; who is not root tries as himself.
    code = (
        "import os; from pathlib import Path; from sbert_repro.data.record import dataset, read\n"
        "record = dataset('stsb'); os.geteuid() or os.setuid(65534)\n"
        f"read(record, Path({str(tmp_path)!r}), 'dev')"
    )
    (tmp_path / locked).chmod(0)
    try:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        (tmp_path / locked).chmod(0o755)
    assert f"UserError: cannot read {tmp_path / 'stsb' / 'dev.parquet'}: Perm" in done.stderr


def test_missing_column(write: Write, scored: DataSet, pairs: Columns, tmp_path: Path) -> None:
    pairs["gold"] = pairs.pop("score")
    path = write(scored, "dev", pairs)
    assert refusal(scored, tmp_path, "dev") == (
        f"{path} has no column score; it has sentence1, sentence2, gold, expected sentence1, "
        f"sentence2, score"
    )


def test_no_rows(write: Write, scored: DataSet, pairs: Columns, tmp_path: Path) -> None:
    path = write(scored, "dev", pa.table(pairs).slice(0, 0))
    assert f"{path} has no rows" in refusal(scored, tmp_path, "dev")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (float("nan"), "row 1: score is nan, expected 0 to 5"),
        (None, "row 1: score is nan"),
        (5.5, "row 1: score is 5.5, expected 0 to 5"),
        (-0.1, "row 1: score is -0.1, expected 0 to 5"),
        (float("inf"), "row 1: score is inf"),
    ],
)
def test_bad_scores(
    bad: Any, said: str, write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    path = write(scored, "dev", pairs | {"score": [1.0, bad, 2.0]})
    assert f"{path}, {said}" in refusal(scored, tmp_path, "dev")


def test_scores_that_are_text(
    write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    write(scored, "dev", pairs | {"score": ["1", "2", "3"]})
    assert "column score holds string, expected numbers" in refusal(scored, tmp_path, "dev")


def test_unknown_label(write: Write, labelled: DataSet, nli_pairs: Columns, tmp_path: Path) -> None:
    path = write(labelled, "train", nli_pairs | {"label": ["neutral", "neutral", "maybe"]})
    said = refusal(labelled, tmp_path, "train")
    assert said.startswith(f"{path}, row 2: label is 'maybe', expected one of contradiction, ")


@pytest.mark.parametrize("column", ["sentence2", "score"])
def test_numbers_and_texts_are_told_apart(
    column: str, write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    write(scored, "dev", pairs | {column: [[1], [2], [3]]})
    assert f"column {column} holds list" in refusal(scored, tmp_path, "dev")


def test_missing_text(write: Write, scored: DataSet, pairs: Columns, tmp_path: Path) -> None:
    path = write(scored, "dev", pairs | {"sentence2": ["x", None, None]})
    assert f"{path}, row 1: sentence2 is missing (2 such rows)" in refusal(scored, tmp_path, "dev")


def test_text_that_is_no_utf8(
    write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    raw = pa.array([b"fine", b"\xff\xfe", b"fine"])
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    path = write(scored, "dev", pa.table(pairs | {"sentence1": text}))
    assert f"{path}, row 1: sentence1 is no UTF-8 text" in refusal(scored, tmp_path, "dev")


@pytest.mark.parametrize("expected", [2, 4])
def test_another_number_of_rows_must_be_asked_for(
    expected: int, write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    record = replace(scored, splits={"dev": expected})
    write(record, "dev", pairs)
    said = refusal(record, tmp_path, "dev")
    assert f"holds 3 of {expected} pairs of STSb" in said
    assert "data.allow_partial=true" in said
    examples = read(record, tmp_path, "dev", allow_partial=True)
    assert sentences(examples.facts) == [f"STSb: 3 of {expected} pairs"]
    assert (examples.rows_found, examples.rows_expected) == (3, expected)


@pytest.mark.parametrize(("limit", "taken"), [(1, 1), (2, 2), (3, 3), (99, 3)])
def test_a_limit_takes_the_first_rows_and_says_so(
    limit: int, taken: int, write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    write(scored, "dev", pairs)
    examples = read(scored, tmp_path, "dev", limit=limit)
    assert examples.texts["sentence2"] == pairs["sentence2"][:taken]
    assert examples.target.tolist() == pairs["score"][:taken]
    assert sentences(examples.facts) == ([] if taken == 3 else [f"STSb: {taken} of 3 pairs"])
    assert examples.rows_found == 3


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_that_leaves_nothing(
    limit: int, write: Write, scored: DataSet, pairs: Columns, tmp_path: Path
) -> None:
    write(scored, "dev", pairs)
    assert f"data.limit={limit}" in refusal(scored, tmp_path, "dev", limit=limit)
