"""What is in a data root, against what the records say should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sbert_repro.data.description import DataSet
from sbert_repro.data.download import written_down
from sbert_repro.data.record import dataset, names, read
from sbert_repro.data.table import split_path
from sbert_repro.errors import UserError

Status = Literal["complete", "partial", "missing", "unreadable", "changed"]
BROKEN: tuple[Status, ...] = ("unreadable", "changed")


@dataclass(frozen=True)
class State:
    """One split of one data set, as it was found.

    Attributes:
        data_set: Its name.
        split: Its split.
        found: Usable rows; ``None`` where there is no readable file.
        expected: Rows of the complete set.
        sha256: Of the file; empty where there is none to read.
        status: ``unreadable`` is also a file whose rows are not what the record allows;
            ``changed`` is one that is not what its download wrote down.
        problem: What is wrong, in one line.
    """

    data_set: str
    split: str
    found: int | None
    expected: int
    sha256: str
    status: Status
    problem: str = ""


def states(root: Path) -> Iterator[State]:
    """Look at every split of every data set; each row of each file is checked.

    Args:
        root: The data root.

    Yields:
        State: In the order of the names, and of each record's splits.
    """
    for record in map(dataset, names()):
        for split in record.splits:
            yield _state(record, root, split)


def _state(record: DataSet, root: Path, split: str) -> State:
    path, expected = split_path(record, root, split), record.splits[split]
    try:
        examples = read(record, root, split, allow_partial=True)
    except UserError as mistake:
        if isinstance(mistake.__cause__, FileNotFoundError):
            return State(record.name, split, None, expected, "", "missing")
        return State(record.name, split, None, expected, "", "unreadable", str(mistake))
    found, sha256 = examples.rows_found, examples.sha256
    if written_down(path).get(split, {"sha256": sha256})["sha256"] != sha256:
        problem = f"{path} is not the file that was downloaded: delete it and run `make data`"
        return State(record.name, split, found, expected, sha256, "changed", problem)
    status: Status = "complete" if found == expected or record.round_number else "partial"
    return State(record.name, split, found, expected, sha256, status)
