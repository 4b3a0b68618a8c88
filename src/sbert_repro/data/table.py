"""One parquet file of the data root: where it lies, opening it, and its columns checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sbert_repro.data import columns
from sbert_repro.data.description import DataSet
from sbert_repro.errors import UserError


@dataclass(frozen=True)
class Examples:
    """Checked rows of a file, in its order, those without a gold label left out.

    Attributes:
        texts: Text column → its ``N`` sentences.
        target: Class ids (int64) or raw gold scores (float64) ``[N]``, or ``None``.
        subset: Part of the year each pair comes from ``[N]``, or ``None``.
        dropped: Rows left out because the annotators did not agree.
    """

    texts: dict[str, list[str]]
    target: np.ndarray | None
    subset: np.ndarray | None
    dropped: int


def split_path(record: DataSet, root: Path, split: str) -> Path:
    """Give the file of a split.

    Args:
        record: The data set.
        root: The data root.
        split: Which split.

    Returns:
        Path: ``<root>/<data set>/<split>.parquet``, whether it is there or not.

    Raises:
        UserError: If the data set has no such split.
    """
    if split not in record.splits:
        raise UserError(
            f"{record.name} has no split {split!r}; it has {', '.join(sorted(record.splits))}"
        )
    return root / record.name / f"{split}.parquet"


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
    again = f"delete it and run `python scripts/download.py {record.name}`, or `make data` for all"
    try:
        with path.open("rb") as stream:
            if not stream.read(1):
                raise UserError(f"{path} is empty (0 bytes): {again}")
            file = pq.ParquetFile(stream)
            columns.need(file.schema_arrow.names, record.columns, path)
            return file.read(columns=list(wanted or record.columns))
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
