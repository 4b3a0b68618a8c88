"""Columns of text that are read when they are asked for, not held.

The 1,779,417 training triplets of the Wikipedia sections are 0.7 GB of text; they are read once,
row group by row group, on their way to the word pieces.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import overload

import pyarrow as pa
import pyarrow.parquet as pq

from sbert_repro.data import columns
from sbert_repro.data.description import DataSet
from sbert_repro.errors import UserError

_AT_ONCE = 65_536


class StreamedTexts(Sequence[str]):
    """A text column of a parquet file; at most one row group of it is in memory.

    Made for reading slices from the first to the last. Rows must have been checked.

    Args:
        path: The file.
        column: The column.
        length: Only so many rows from the start, ``None`` for all.
    """

    def __init__(self, path: Path, column: str, length: int | None = None) -> None:
        self._path, self._column = path, column
        groups = pq.read_metadata(path)
        sizes = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
        self._starts = [0, *accumulate(sizes)]
        self._length = min(self._starts[-1], self._starts[-1] if length is None else length)
        self._number, self._group = -1, pa.chunked_array([], pa.large_string())

    def __len__(self) -> int:
        """Give the number of rows."""
        return self._length

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Read a row, or the rows of a slice."""
        if isinstance(place, slice):
            start, stop, step = place.indices(self._length)
            return self._between(start, stop)[::step] if step > 0 else self._backwards(place)
        row = range(self._length)[place]
        return self._between(row, row + 1)[0]

    def first(self, length: int) -> StreamedTexts:
        """Give the first rows as a column of their own.

        Args:
            length: How many.

        Returns:
            StreamedTexts: They.
        """
        return StreamedTexts(self._path, self._column, min(length, self._length))

    def _between(self, start: int, stop: int) -> list[str]:
        found: list[str] = []
        while start < stop:
            number = bisect.bisect_right(self._starts, start) - 1
            offset, end = self._starts[number], min(stop, self._starts[number + 1])
            found += self._read(number).slice(start - offset, end - start).to_pylist()
            start = end
        return found

    def _backwards(self, place: slice) -> list[str]:
        return [self[row] for row in range(*place.indices(self._length))]

    def _read(self, number: int) -> pa.ChunkedArray:
        if number != self._number:
            with pq.ParquetFile(self._path) as file:
                self._group = file.read_row_group(number, columns=[self._column])[self._column]
            self._number = number
        return self._group


def streamed(record: DataSet, file: pq.ParquetFile, path: Path) -> dict[str, Sequence[str]]:
    """Check every row of a file of triplets and give its columns, unread.

    Args:
        record: The data set.
        file: A file that has its columns.
        path: Where the file lies.

    Returns:
        dict[str, Sequence[str]]: Text column → its ``N`` texts.

    Raises:
        UserError: If a text is missing, empty, or no UTF-8; says which row.
    """
    first_row = 0
    for batch in file.iter_batches(_AT_ONCE, columns=list(record.text_columns)):
        table = pa.Table.from_batches([batch])
        for name in record.text_columns:
            _check(table[name], name, path, first_row)
        first_row += len(batch)
    if first_row == 0:
        raise UserError(f"{path} has no rows: get it again with `make data`")
    return {name: StreamedTexts(path, name) for name in record.text_columns}


def _check(column: pa.ChunkedArray, name: str, path: Path, first_row: int) -> None:
    texts = columns.texts(column, name, path, first_row)
    empty = next((row for row, text in enumerate(texts, first_row) if not text.strip()), None)
    if empty is not None:
        raise UserError(
            f"{path}, row {empty}: {name} is an empty section: remove the row, or get the file "
            "again with `make data`"
        )
