"""Triplets are streamed: never whole in memory, checked row by row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.data.read import StreamedTexts, read
from sbert_repro.data.schema import DataSet, dataset
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences

ROWS = 23
COLUMNS = {
    name: [f"{name} {row}" for row in range(ROWS)] for name in ("anchor", "positive", "negative")
}


@pytest.fixture
def small() -> DataSet:
    return replace(dataset("wikisections"), splits={"train": ROWS})


def put(root: Path, columns: dict[str, list[str]] | pa.Table, row_group: int = 5) -> Path:
    path = root / "wikisections" / "train.parquet"
    path.parent.mkdir(exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, path, row_group_size=row_group)
    return path


def test_columns_are_those_of_the_file(small, tmp_path):
    put(tmp_path, COLUMNS)
    split = read(small, tmp_path, "train")
    assert {name: list(column) for name, column in split.texts.items()} == COLUMNS
    assert split.target is None and sentences(split.facts) == [] and len(split) == ROWS


def test_a_limit_takes_the_first_rows(small, tmp_path):
    put(tmp_path, COLUMNS)
    split = read(small, tmp_path, "train", limit=7)
    assert list(split.texts["negative"]) == COLUMNS["negative"][:7]
    assert sentences(split.facts) == [f"Wikipedia sections: 7 of {ROWS} triplets"]


@settings(max_examples=60)
@given(st.slices(ROWS), st.integers(-ROWS, ROWS - 1))
def test_it_is_cut_as_a_list_is(tmp_path_factory, cut, row):
    path = put(tmp_path_factory.getbasetemp(), COLUMNS)
    column, whole = StreamedTexts(path, "anchor"), COLUMNS["anchor"]
    assert column[cut] == whole[cut] and column[row] == whole[row]
    first = column.first(11)
    assert first[cut] == whole[:11][cut]


def test_one_row_group_is_in_memory_at_a_time(tmp_path, monkeypatch):
    column = StreamedTexts(put(tmp_path, COLUMNS), "anchor")
    read_groups = []
    whole = pq.ParquetFile.read_row_group

    def counted(self, number, **options):
        read_groups.append(number)
        return whole(self, number, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    assert [text for start in range(0, ROWS, 3) for text in column[start : start + 3]] == list(
        COLUMNS["anchor"]
    )
    assert read_groups == [0, 1, 2, 3, 4], "each group is read once on the way through"


def test_a_place_behind_the_end_is_an_index_error(tmp_path):
    with pytest.raises(IndexError):
        StreamedTexts(put(tmp_path, COLUMNS), "anchor")[ROWS]


@pytest.mark.parametrize(
    ("column", "row", "text"),
    [("positive", 17, ""), ("anchor", 0, " \t\n"), ("negative", 22, None)],
)
def test_an_empty_section_is_one_line(small, tmp_path, monkeypatch, column, row, text):
    monkeypatch.setattr("sbert_repro.data.read._BATCH", 4)
    said = f"row {row}: {column} is {'missing' if text is None else 'an empty section'}"
    texts = [*COLUMNS[column]]
    texts[row] = text
    put(tmp_path, {**COLUMNS, column: texts})
    with pytest.raises(UserError, match=said):
        read(small, tmp_path, "train")


def test_text_that_is_no_utf8_is_one_line(small, tmp_path, monkeypatch):
    monkeypatch.setattr("sbert_repro.data.read._BATCH", 4)
    raw = [text.encode() for text in COLUMNS["anchor"]]
    raw[9] = b"\xff\xfe"
    wrong = pa.array(raw, pa.binary()).view(pa.string())
    put(tmp_path, pa.table({**COLUMNS, "anchor": wrong}))
    with pytest.raises(UserError, match="row 9: anchor is no UTF-8 text"):
        read(small, tmp_path, "train")


def test_an_empty_or_damaged_file_is_one_line(small, tmp_path):
    path = put(tmp_path, {name: pa.array([], pa.string()) for name in COLUMNS})
    with pytest.raises(UserError, match="has no rows"):
        read(small, tmp_path, "train")
    put(tmp_path, COLUMNS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="no readable parquet file"):
        read(small, tmp_path, "train")


def test_a_column_that_is_missing_is_one_line(small, tmp_path):
    put(tmp_path, {name: COLUMNS[name] for name in ("anchor", "positive")})
    with pytest.raises(UserError, match="has no column negative"):
        read(small, tmp_path, "train")


def test_missing_triplets_are_refused_unless_declared(small, tmp_path):
    put(tmp_path, {name: texts[:20] for name, texts in COLUMNS.items()})
    with pytest.raises(UserError, match="holds 20 of 23 triplets"):
        read(small, tmp_path, "train")
    split = read(small, tmp_path, "train", allow_partial=True)
    assert sentences(split.facts) == ["Wikipedia sections: 20 of 23 triplets"]
