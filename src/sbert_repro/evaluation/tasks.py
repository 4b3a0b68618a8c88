"""What ``task=…`` may name: each task is a data set, its splits, and how it is scored."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sbert_repro.data.read import Split, read, split_path
from sbert_repro.data.schema import dataset
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact
from sbert_repro.storage import sha256_of


@dataclass(frozen=True)
class Task:
    """A test set and how it is scored.

    Attributes:
        name: The word on the command line and the key in the scores.
        dataset: Name of the data set.
        splits: Splits that are pooled.
        measure: The file of this folder that scores it; ``sts`` for scored pairs. Any other one has
            ``VERSION``, ``load(task, data_root, allow_partial=…)``, which returns `TaskData`, and
            ``score(encoder, data, cache)``, which returns scores × 100 and the ``predictions``
            behind them (`bootstrap.Predictions`).
    """

    name: str
    dataset: str
    splits: tuple[str, ...] = ("test",)
    measure: str = "sts"

    @property
    def module(self) -> Any:
        """The module that scores it."""
        return importlib.import_module(f"sbert_repro.evaluation.{self.measure}")


class TaskData(Protocol):
    """What a task is scored on, read and checked."""

    @property
    def task(self) -> Task:
        """Which task."""

    @property
    def facts(self) -> list[Fact]:
        """What a reader of the score must know, such as how many rows it rests on."""

    @property
    def sha256(self) -> str:
        """Of what was read."""


@dataclass(frozen=True)
class Pairs:
    """A task's scored pairs.

    Attributes:
        task: Which task.
        first: Sentence u of each pair ``[N]``.
        second: Sentence v of each pair ``[N]``.
        gold: Gold scores ``[N]``.
        subset: Name of each pair's subset ``[N]``, or ``None``.
        facts: What a reader of the score must know.
        sha256: Of what was read.
    """

    task: Task
    first: list[str]
    second: list[str]
    gold: NDArray[np.floating]
    subset: NDArray[Any] | None
    facts: list[Fact]
    sha256: str

    @cached_property
    def sentences(self) -> list[str]:
        """The distinct sentences, in order of appearance."""
        return list(dict.fromkeys([*self.first, *self.second]))


# paper: SICK-R has no size in the paper; its 72.91 comes back only on the test split, 4,927 pairs.
# here: sickr is the test split; sickr_all is MTEB's reading, all 9,927 pairs, for comparison.
# effect: table 1
_TASKS = (
    *(Task(f"sts{year}", f"sts{year}") for year in range(12, 17)),
    Task("stsb", "stsb"),
    Task("sickr", "sickr"),
    Task("stsb_dev", "stsb", ("dev",)),
    Task("sickr_all", "sickr", ("train", "dev", "test")),
    Task("korsts", "korsts"),
    Task("korsts_dev", "korsts", ("dev",)),
    Task("afs", "afs", ("all",), measure="afs"),
    Task("bws", "bws", ("all",), measure="afs"),
    *(Task(name, name, ("all",), measure="transfer") for name in ("mr", "cr", "subj", "mpqa")),
    Task("sst2", "sst2", ("train", "dev", "test"), measure="transfer"),
    Task("trec", "trec", ("train", "test"), measure="transfer"),
    Task("mrpc", "mrpc", ("train", "test"), measure="transfer"),
    Task("wikisections", "wikisections", measure="triplet_accuracy"),
    Task("wikisections_dev", "wikisections", ("dev",), measure="triplet_accuracy"),
)
TASKS = {task.name: task for task in _TASKS}
GROUPS = {
    "sts": ("sts12", "sts13", "sts14", "sts15", "sts16", "stsb", "sickr"),
    "senteval": ("mr", "cr", "subj", "mpqa", "sst2", "trec", "mrpc"),
}
"""Names for several tasks: the seven columns of Table 1, and those of Table 5."""


def resolve(names: str | Sequence[str], data_root: Path) -> list[Task]:
    """Turn names of tasks and groups into tasks, each once, in the order given.

    Args:
        names: A name, several with commas, or a list of names; ``all`` is every task whose data
            set lies in the data root. ``afs_fold_3``, ``afs_topic_dp`` and ``afs_within_dp_fold_3``
            are a fold or a topic of ``afs``, for a model trained on others.
        data_root: Where the data sets lie.

    Returns:
        list[Task]: At least one.

    Raises:
        UserError: If a name does not exist, or ``all`` finds nothing.
    """
    words = names.strip("[] ").split(",") if isinstance(names, str) else list(names)
    tasks: dict[str, Task] = {}
    for word in (word.strip() for word in words):
        if word == "all":
            tasks |= _present(data_root)
        elif word in TASKS:
            tasks[word] = TASKS[word]
        elif (part := _part(word)) is not None:
            tasks[word] = part
        elif word in GROUPS:
            tasks |= {name: TASKS[name] for name in GROUPS[word]}
        else:
            parts = ("afs_within_dp_fold_0 …", "afs_fold_0 …", "afs_topic_dp …")
            known = ", ".join([*GROUPS, *TASKS, *parts, "all"])
            found = f"there is no such task; task is one or more of: {known}"
            raise UserError(found, where=f"task={word}")
    return list(tasks.values())


def _part(name: str) -> Task | None:
    whole, _, part = name.partition("_")
    split = f"test_{part}"
    if whole not in TASKS or dataset(TASKS[whole].dataset).part(split) is None:
        return None
    return Task(name, whole, (split,))


def _present(data_root: Path) -> dict[str, Task]:
    present = {
        name: task
        for name, task in TASKS.items()
        if all((data_root / task.dataset / f"{split}.parquet").is_file() for split in task.splits)
    }
    if not present:
        raise UserError("no data set of any task", where=data_root, mend="run: make data")
    return present


def load(task: Task, data_root: Path, *, allow_partial: bool = False, **options: Any) -> TaskData:
    """Read what a task is scored on.

    Args:
        task: The task.
        data_root: Where the data sets lie.
        allow_partial: Accept fewer rows than the data set has; the facts then tell.
        **options: What some measures can be told (the ``classifier`` of SentEval's tasks, the
            reading of AFS's ten ``folds``); left out where the measure does not ask for it.

    Returns:
        TaskData: `Pairs`, or what the task's measure reads.

    Raises:
        UserError: If a file is missing, damaged or not what the data set's record says.
    """
    if task.measure != Task.measure:
        load_other = task.module.load
        wanted = inspect.signature(load_other).parameters
        chosen = {name: value for name, value in options.items() if name in wanted}
        data: TaskData = load_other(task, data_root, allow_partial=allow_partial, **chosen)
        return data
    record = dataset(task.dataset)
    paths = [split_path(record, data_root, name) for name in task.splits]
    # Asked for again with every row and seed of a table; a file that changes is read again.
    state = tuple(sha256_of(path) if path.is_file() else "" for path in paths)
    return _load_pairs(task, data_root, allow_partial, state)


@cache
def _load_pairs(task: Task, data_root: Path, allow_partial: bool, _state: tuple[str, ...]) -> Pairs:
    record = dataset(task.dataset)
    splits = [read(record, data_root, name, allow_partial=allow_partial) for name in task.splits]
    first, second = record.text_columns
    # The paper averages over topics what was trained without them, never within one model's test.
    parts = () if record.topics else splits
    subsets = [split.subset for split in parts if split.subset is not None]
    return Pairs(
        task=task,
        first=[text for split in splits for text in split.texts[first]],
        second=[text for split in splits for text in split.texts[second]],
        gold=np.concatenate([split.target for split in splits if split.target is not None]),
        subset=np.concatenate(subsets) if subsets else None,
        facts=[fact for split in splits for fact in split.facts],
        sha256=splits[0].sha256 if len(splits) == 1 else combined_sha256(splits),
    )


def combined_sha256(splits: Iterable[Split]) -> str:
    """Return the sha256 of several splits together, in their order.

    Args:
        splits: As read.

    Returns:
        str: 64 hex digits.
    """
    return hashlib.sha256("\n".join(split.sha256 for split in splits).encode()).hexdigest()
