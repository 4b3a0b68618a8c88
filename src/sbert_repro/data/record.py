"""Finding the record of a data set, and reading one split of it from the data root.

A data set is one file in this folder that holds a ``RECORD``; nothing lists them. Its rows lie in
``<root>/<data set>/<split>.parquet``, one row an example.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbert_repro.data.description import DataSet
from sbert_repro.data.table import check, open_table, split_path
from sbert_repro.errors import UserError
from sbert_repro.files import sha256_of

__all__ = ["DataSet", "Split", "dataset", "names", "read"]


@dataclass(frozen=True)
class Split:
    """The examples of one split.

    Attributes:
        name: The split's name.
        texts: Text column → its ``N`` sentences.
        target: Class ids (int64) or raw gold scores (float64) ``[N]``; ``None`` for triplets.
        subset: Part of the year each pair comes from ``[N]``; ``None`` where there are no parts.
        notes: What must be printed wherever a number rests on these rows.
        sha256: Of the file.
        rows_found: Usable rows in the file, before any limit.
        rows_expected: Rows of the complete set.
    """

    name: str
    texts: dict[str, list[str]]
    target: np.ndarray | None
    subset: np.ndarray | None
    notes: list[str]
    sha256: str
    rows_found: int
    rows_expected: int

    def __len__(self) -> int:
        """Give the number of examples."""
        return len(next(iter(self.texts.values())))


def names() -> list[str]:
    """Give the data sets there are, found by looking into this folder.

    Returns:
        list[str]: Their names, sorted.
    """
    # The text is searched, not the module imported: other files of this folder import torch.
    return sorted(
        path.stem
        for path in Path(__file__).parent.glob("*.py")
        if re.search(r"^RECORD\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    )


def dataset(name: str) -> DataSet:
    """Give the record of a data set.

    Args:
        name: Its name, which is that of its file here.

    Returns:
        DataSet: The record.

    Raises:
        UserError: If there is none of this name; says which there are.
    """
    if name not in (known := names()):
        raise UserError(f"there is no data set {name!r}; there are {', '.join(known)}")
    record: DataSet = importlib.import_module(f"sbert_repro.data.{name}").RECORD
    return record


def read(
    record: DataSet,
    root: Path,
    split: str,
    *,
    limit: int | None = None,
    allow_partial: bool = False,
) -> Split:
    """Read one split from the data root and check every row of it.

    Args:
        record: The data set.
        root: The data root.
        split: Which split.
        limit: Take only the first rows, so many.
        allow_partial: Take a file that has not the record's number of rows, with a note.

    Returns:
        Split: The examples in the order of the file.

    Raises:
        UserError: If the file is missing, cannot be read, lacks a column or a row, or holds what
            its record does not allow; one line with file, row, what was found and what to do.
    """
    path = split_path(record, root, split)
    examples = check(record, open_table(record, path), path)
    found, expected = len(next(iter(examples.texts.values()))), record.splits[split]
    if not allow_partial:
        _refuse_other_count(record, path, found, expected)
    _check_limit(limit)
    used = found if limit is None else min(limit, found)
    return Split(
        name=split,
        texts={name: column[:used] for name, column in examples.texts.items()},
        target=None if examples.target is None else examples.target[:used],
        subset=None if examples.subset is None else examples.subset[:used],
        notes=_notes(record, used, expected, examples.dropped),
        sha256=sha256_of(path),
        rows_found=found,
        rows_expected=expected,
    )


def _refuse_other_count(record: DataSet, path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise UserError(
            f"{path} holds {found:,} of {expected:,} {record.unit} of {record.title}: get the "
            f"complete set with `make data`, or take what is there with data.allow_partial=true"
        )


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise UserError(f"data.limit={limit}: expected a whole number from 1, or null for all rows")


def _notes(record: DataSet, used: int, expected: int, dropped: int) -> list[str]:
    notes = []
    if used != expected:
        notes.append(f"{record.title}: {used:,} of {expected:,} {record.unit}")
    if dropped:
        notes.append(f"{record.title}: {dropped:,} {record.unit} without a gold label dropped")
    return notes
