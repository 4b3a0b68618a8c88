"""Finding the record of a data set, and reading one split of it from the data root.

A data set is one file in this folder that holds a ``RECORD``; nothing lists them. Its rows lie in
``<root>/<data set>/<split>.parquet``, one row an example.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sbert_repro.data.corpora import rows_of_the_set
from sbert_repro.data.description import DataSet
from sbert_repro.data.folds import FOLDS, rows, spelled
from sbert_repro.data.table import Examples, open_examples, split_path
from sbert_repro.errors import UserError
from sbert_repro.storage import sha256_of

__all__ = ["DataSet", "Split", "dataset", "names", "read"]


@dataclass(frozen=True)
class Split:
    """The examples of one split.

    Attributes:
        name: The split's name.
        texts: Text column → its ``N`` sentences; those of triplets are read when asked for.
        target: Class ids (int64) or raw gold scores (float64) ``[N]``; ``None`` for triplets.
        subset: Part of the year each pair comes from ``[N]``; ``None`` where there are no parts.
        notes: What must be printed wherever a number rests on these rows.
        sha256: Of the file.
        rows_found: Usable rows of the split, before any limit.
        rows_expected: Rows of the complete split.
    """

    name: str
    texts: Mapping[str, Sequence[str]]
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
        UserError: If the file is missing, damaged or not what its record says; names file and row.
    """
    path = split_path(record, root, split)
    whole, expected = open_examples(record, path), record.splits[path.stem]
    if not (allow_partial or record.round_number):
        _refuse_other_count(record, path, len(whole), expected)
    _check_limit(limit)
    cut = _cut(record, whole, split, path)
    used = cut if limit is None or limit >= len(cut) else cut.first(limit)
    return Split(
        name=split,
        texts=used.texts,
        target=used.target,
        subset=used.subset,
        notes=_notes(record, path, expected, (whole, cut, used)),
        sha256=sha256_of(path),
        rows_found=len(cut),
        rows_expected=expected if cut is whole else len(cut),
    )


def _cut(record: DataSet, whole: Examples, split: str, path: Path) -> Examples:
    """Give the rows of a fold or a topic; all rows where the split is a file of its own."""
    wanted = record.part(split)
    if wanted is None:
        return whole
    assert whole.subset is not None, "a set that is cut has topics"
    chosen = rows(wanted, whole.subset, list(whole.texts.values()))
    if not len(chosen) or len(chosen) == len(whole):
        names = ", ".join(dict.fromkeys(spelled(topic) for topic in whole.subset.tolist()))
        raise UserError(
            f"{record.name} {split}: {len(chosen):,} of the {len(whole):,} {record.unit} in {path} "
            f"belong to it; its topics are {names}, its folds 0 to {FOLDS - 1}"
        )
    return whole.at(chosen)


def _refuse_other_count(record: DataSet, path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise UserError(
            f"{path} holds {found:,} of {expected:,} {record.unit} of {record.title}: get the "
            f"complete set with `make data`, or take what is there with data.allow_partial=true"
        )


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise UserError(f"data.limit={limit}: expected a whole number from 1, or null for all rows")


def _notes(
    record: DataSet, path: Path, expected: int, rows: tuple[Examples, Examples, Examples]
) -> list[str]:
    whole, cut, used = rows
    complete = len(whole) if record.round_number else expected
    counts = [(len(used), complete)]
    if cut is not whole:
        # Two things may be missing: rows of the set it is cut from, and rows by the limit.
        counts = [(len(whole), complete), (len(used), len(cut))]
    notes = [_share(record, path, found, all_of) for found, all_of in counts if found != all_of]
    if whole.dropped:
        notes.append(
            f"{record.title}: {whole.dropped:,} {record.unit} without a gold label dropped"
        )
    return notes


def _share(record: DataSet, path: Path, found: int, all_of: int) -> str:
    own = rows_of_the_set(record, path, found)
    if own is None or own == found:
        return f"{record.title}: {found:,} of {all_of:,} {record.unit}"
    return (
        f"{record.title}: {found:,} {record.unit}, {own:,} of them of the complete set's {all_of:,}"
    )
