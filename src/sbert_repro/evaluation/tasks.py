"""What ``task=…`` may name: each task is a data set, its splits, and nothing else."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sbert_repro.data.read import read, split_path
from sbert_repro.data.schema import dataset
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences
from sbert_repro.storage import sha256_of


@dataclass(frozen=True)
class Task:
    """A test set and how it is scored.

    Attributes:
        name: The word on the command line and the key in the scores.
        dataset: Name of the data set.
        splits: Splits that are pooled.
        measure: The file of this folder that scores it; ``sts`` for scored pairs. Any other one has
            ``VERSION``, ``load(task, data_root, allow_partial=…)``, which gives an object with
            ``task``, ``notes`` and ``sha256``, and ``score(encoder, that, cache)``, which gives
            scores × 100.
    """

    name: str
    dataset: str
    splits: tuple[str, ...] = ("test",)
    measure: str = "sts"

    @property
    def module(self) -> Any:
        """The file that scores it."""
        return importlib.import_module(f"sbert_repro.evaluation.{self.measure}")


class TaskData(Protocol):
    """What a task's measure reads."""

    @property
    def task(self) -> Task:
        """Which task."""

    @property
    def notes(self) -> list[str]:
        """What a reader of the score must know, such as missing rows."""

    @property
    def sha256(self) -> str:
        """Of what was read."""


@dataclass(frozen=True)
class Pairs:
    """A task's pairs, read and checked.

    Attributes:
        task: Which task.
        first: Sentence u of each pair ``[N]``.
        second: Sentence v of each pair ``[N]``.
        gold: Gold scores ``[N]``.
        subset: Name of each pair's sub-set ``[N]``, or ``None``.
        notes: What a reader of the score must know, such as missing pairs.
        sha256: Of what was read.
    """

    task: Task
    first: list[str]
    second: list[str]
    gold: NDArray[np.floating]
    subset: NDArray[Any] | None
    notes: list[str]
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
            set lies in the data root.
        data_root: Where the data sets lie.

    Returns:
        list[Task]: At least one.

    Raises:
        UserError: If a name does not exist, or ``all`` finds nothing.
    """
    words = names.strip("[] ").split(",") if isinstance(names, str) else list(names)
    found: dict[str, Task] = {}
    for word in (word.strip() for word in words):
        for name in _members(word, data_root):
            found[name] = TASKS.get(name) or _part(name)
    return list(found.values())


def _part(name: str) -> Task:
    """Give the task of one fold or topic, ``afs_fold_3``, for a model trained on the rest."""
    whole, _, part = name.partition("_")
    return Task(name, whole, (f"test_{part}",))


def _is_part(name: str) -> bool:
    whole, _, part = name.partition("_")
    return whole in TASKS and dataset(TASKS[whole].dataset).part(f"test_{part}") is not None


def _members(word: str, data_root: Path) -> Sequence[str]:
    if word == "all":
        return _present(data_root)
    if word in TASKS or _is_part(word):
        return (word,)
    if word not in GROUPS:
        known = ", ".join([*GROUPS, *TASKS, "afs_fold_0 …", "afs_topic_dp …", "all"])
        raise UserError(f"task={word}: there is no such task; task is one or more of: {known}")
    return GROUPS[word]


def _present(data_root: Path) -> list[str]:
    def there(task: Task) -> bool:
        folder = data_root / task.dataset
        return all((folder / f"{split}.parquet").is_file() for split in task.splits)

    present = [name for name, task in TASKS.items() if there(task)]
    if not present:
        raise UserError(f"task=all: no data set of any task in {data_root}; run: make data")
    return present


def load(task: Task, data_root: Path, *, allow_partial: bool = False, **options: Any) -> TaskData:
    """Read what a task is scored on.

    Args:
        task: The task.
        data_root: Where the data sets lie.
        allow_partial: Accept fewer rows than the data set has; the score then carries a note.
        **options: What some measures can be told (the classifier of SentEval's tasks); left out
            where the measure does not ask for it.

    Returns:
        TaskData: `Pairs`, or what the task's measure reads.

    Raises:
        UserError: If a file is missing, damaged or not what the data set's record says.
    """
    if task.measure != Task.measure:
        by_measure = task.module.load
        wanted = inspect.signature(by_measure).parameters
        chosen = {name: value for name, value in options.items() if name in wanted}
        found: TaskData = by_measure(task, data_root, allow_partial=allow_partial, **chosen)
        return found
    record = dataset(task.dataset)
    paths = [split_path(record, data_root, name) for name in task.splits]
    # Asked for again with every row and seed of a table; a file that changes is read again.
    state = tuple(sha256_of(path) if path.is_file() else "" for path in paths)
    return _load(task, data_root, allow_partial, state)


@cache
def _load(task: Task, data_root: Path, allow_partial: bool, _state: tuple[str, ...]) -> Pairs:
    record = dataset(task.dataset)
    splits = [read(record, data_root, name, allow_partial=allow_partial) for name in task.splits]
    first, second = record.text_columns
    # The paper averages over topics what was trained without them, never within one model's test.
    parts = () if record.topics else splits
    subsets = [split.subset for split in parts if split.subset is not None]
    whole = hashlib.sha256("\n".join(split.sha256 for split in splits).encode())
    return Pairs(
        task=task,
        first=[text for split in splits for text in split.texts[first]],
        second=[text for split in splits for text in split.texts[second]],
        gold=np.concatenate([split.target for split in splits if split.target is not None]),
        subset=np.concatenate(subsets) if subsets else None,
        notes=sentences(fact for split in splits for fact in split.facts),
        sha256=splits[0].sha256 if len(splits) == 1 else whole.hexdigest(),
    )
