"""One parquet file of the data root: where it lies, opening it, and its columns checked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sbert_repro.data import columns
from sbert_repro.data.description import DataSet
from sbert_repro.data.folds import WHOLE
from sbert_repro.data.triplet_text import StreamedTexts, streamed
from sbert_repro.errors import UserError


@dataclass(frozen=True)
class Examples:
    """Checked rows of a file, in its order, those without a gold label left out.

    Attributes:
        texts: Text column → its ``N`` sentences; those of triplets are read when asked for.
        target: Class ids (int64) or raw gold scores (float64) ``[N]``, or ``None``.
        subset: Part of the year each pair comes from ``[N]``, or ``None``.
        dropped: Rows left out because the annotators did not agree.
    """

    texts: Mapping[str, Sequence[str]]
    target: np.ndarray | None
    subset: np.ndarray | None
    dropped: int

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(next(iter(self.texts.values())))

    def first(self, length: int) -> Examples:
        """Give the first rows.

        Args:
            length: How many.

        Returns:
            Examples: They.
        """
        texts = {
            name: column.first(length) if isinstance(column, StreamedTexts) else column[:length]
            for name, column in self.texts.items()
        }
        return self._with(texts, slice(length))

    def at(self, rows: np.ndarray) -> Examples:
        """Give some rows.

        Args:
            rows: Their numbers.

        Returns:
            Examples: They, in this order.
        """
        texts = {name: [column[row] for row in rows] for name, column in self.texts.items()}
        return self._with(texts, rows)

    def _with(self, texts: Mapping[str, Sequence[str]], rows: np.ndarray | slice) -> Examples:
        target = None if self.target is None else self.target[rows]
        subset = None if self.subset is None else self.subset[rows]
        return Examples(texts, target, subset, self.dropped)


def split_path(record: DataSet, root: Path, split: str) -> Path:
    """Give the file of a split.

    Args:
        record: The data set.
        root: The data root.
        split: Which split.

    Returns:
        Path: ``<root>/<data set>/<split>.parquet``, whether it is there or not; for a split that is
        cut out of the whole set, the file of that.

    Raises:
        UserError: If the data set has no such split.
    """
    file = WHOLE if record.part(split) else split
    if file not in record.splits:
        cut = " and its parts train_fold_0, test_topic_NAME …" if record.topics else ""
        raise UserError(
            f"{record.name} has no split {split!r}; it has {', '.join(sorted(record.splits))}{cut}"
        )
    return root / record.name / f"{file}.parquet"


def open_examples(record: DataSet, path: Path) -> Examples:
    """Check every row of a file of the data root.

    Args:
        record: The data set.
        path: The file.

    Returns:
        Examples: The usable rows.

    Raises:
        UserError: If the file is missing, damaged, empty, or a row holds what it must not.
    """
    if record.kind != "triplets":
        return check(record, open_table(record, path), path)
    with opened(record, path) as file:
        return Examples(streamed(record, file, path), None, None, 0)


def open_table(record: DataSet, path: Path, wanted: tuple[str, ...] | None = None) -> pa.Table:
    """Read the columns of a file that its record names.

    Args:
        record: The data set.
        path: The file.
        wanted: Read only these columns; the file must have the others nevertheless.

    Returns:
        pa.Table: The columns, unchecked.

    Raises:
        UserError: If the file is missing, cannot be read, is cut off or lacks a column.
    """
    with opened(record, path) as file:
        return file.read(columns=list(wanted or record.columns))


@contextlib.contextmanager
def opened(record: DataSet, path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file that has the columns its record names.

    Args:
        record: The data set.
        path: The file.

    Yields:
        pq.ParquetFile: The file.

    Raises:
        UserError: If it is missing, cannot be read, is cut off or lacks a column.
    """
    again = f"delete it and run `python scripts/download.py {record.name}`, or `make data` for all"
    try:
        with path.open("rb") as stream:
            if not stream.read(1):
                raise UserError(f"{path} is empty (0 bytes): {again}")
            file = pq.ParquetFile(stream)
            columns.need(file.schema_arrow.names, record.columns, path)
            yield file
    except FileNotFoundError as problem:
        raise UserError(
            f"there is no {path}: get it with `make data`, or say where the data lies with "
            f"paths.data=FOLDER or SBERT_DATA=FOLDER"
        ) from problem
    except (PermissionError, IsADirectoryError, NotADirectoryError) as problem:
        raise UserError(f"cannot read {path}: {problem.strerror}") from problem
    except (pa.ArrowException, OSError) as problem:
        raise UserError(f"{path} is no readable parquet file (cut off?): {again}") from problem


def check(record: DataSet, table: pa.Table, where: object) -> Examples:
    """Check every row against the record.

    Args:
        record: The data set.
        table: Columns as read.
        where: The file, for messages.

    Returns:
        Examples: The usable rows.

    Raises:
        UserError: If there is no row, or one holds what it must not; says which and what.
    """
    columns.need(table.column_names, record.columns, where)
    if not len(table):
        raise UserError(f"{where} has no rows: get it again with `make data`")
    target = _target(record, table, where)
    texts = {name: columns.texts(table[name], name, where) for name in record.text_columns}
    subset = None
    if record.subset_column is not None:
        subset = np.array(columns.texts(table[record.subset_column], record.subset_column, where))
    if record.labels is None or target is None or (target >= 0).all():
        return Examples(texts, target, subset, 0)
    kept = np.flatnonzero(target >= 0)
    texts = {name: [column[row] for row in kept] for name, column in texts.items()}
    subset = None if subset is None else subset[kept]
    return Examples(texts, target[kept], subset, len(target) - len(kept))


def _target(record: DataSet, table: pa.Table, where: object) -> np.ndarray | None:
    name = record.target_column
    if name is None:
        return None
    if record.labels is not None:
        return columns.class_ids(table[name], name, where, record.labels, record.dropped_labels)
    return columns.scores(table[name], name, where, record.score_range or (0.0, 1.0))
