"""What has to be made and measured for a table, and who makes and measures it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from omegaconf import DictConfig

from sbert_repro.config import canonical_json
from sbert_repro.errors import Diverged, UserError
from sbert_repro.tables.spec import Column, Row

Record = dict[str, Any]
UNTRAINED = 0
"""Stands where a seed would: an encoder that is used as it is has none."""


def failure(error: Exception) -> str:
    """What went wrong, in one line for a cell.

    Args:
        error: What was raised.

    Returns:
        "failed: …", with the kind of error when it is not one of the user's.
    """
    text = " ".join(str(error).split())
    if isinstance(error, Diverged):
        return text
    known = isinstance(error, UserError)
    return f"failed: {text if known else f'{type(error).__name__}: {text}'}"


class Work(Protocol):
    """What a table asks of training and evaluation (`launch.Here`; a fake one in tests)."""

    def settings(self, config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
        """What a training run's key is made of; a UserError says what is missing to know it."""

    def parts(self, config: DictConfig, protocol: str) -> Sequence[str]:
        """Folds or topics that the data set of a run has; a UserError when it is not there."""

    def check(self, config: DictConfig) -> None:
        """Raise a UserError when the rows that a training run reads are not there or not whole."""

    def check_tasks(self, config: DictConfig, tasks: Sequence[str]) -> None:
        """Raise a UserError when the pairs of a task are not there or not whole."""

    def trained(self, key: str) -> Record | None:
        """Record of a finished training run; a UserError says that it diverged."""

    def train(self, config: DictConfig, overrides: Sequence[str]) -> Record:
        """Train, or find in the ledger."""

    def scored(
        self, config: DictConfig, run: str | None, tasks: Sequence[str]
    ) -> dict[str, Record | None]:
        """Finished scores by task; a UserError says which data or model is missing."""

    def score(self, config: DictConfig, run: str | None, tasks: Sequence[str]) -> dict[str, Record]:
        """Score a model: that of a run, or the encoder that the options name."""


@dataclass(frozen=True)
class Stage:
    """One training run.

    Attributes:
        overrides: What one would type after `train.py`.
        config: Composed from them.
        settings: What its key is made of, as far as that is known.
        key: None when it cannot be known yet.
        needs: What is missing to run it, "" when nothing is.
        record: Its record, when it was finished before the plan was made.
    """

    overrides: tuple[str, ...]
    config: DictConfig
    settings: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    needs: str = ""
    record: Record | None = None

    @property
    def identity(self) -> str:
        """The key, or the options in its place while it is not known; equal for equal runs."""
        return self.key or canonical_json([self.config, self.config.parent and self.overrides])


@dataclass(frozen=True)
class Subject:
    """One model of a row, and the columns it is measured in.

    Attributes:
        row: The row.
        columns: Its columns that are measured on this model.
        seed: Of the training; `UNTRAINED` without one.
        overrides: What one would type.
        config: Options of the last stage, or of the encoder; None when they cannot be composed.
        stages: Training runs, the first one first.
        instead_of: The paper's encoder when another one takes its place, else "".
        task_names: Task of a column → the task in its place, where another data set stands in.
        part: The fold or topic it is tested on, "" when a row has no parts.
        parts: How many parts are run of how many, as in "2 of 10 folds"; "" when all are.
        reason: Why it cannot be run; "" when it can.
        broken: Whether the reason is a failure of the program, not something that is not there.
        scores: Records by task that were there when the plan was made, None for those to be made.
    """

    row: Row
    columns: tuple[Column, ...]
    seed: int
    overrides: tuple[str, ...] = ()
    config: DictConfig | None = None
    stages: tuple[Stage, ...] = ()
    instead_of: str = ""
    task_names: Mapping[str, str] = field(default_factory=dict)
    part: str = ""
    parts: str = ""
    reason: str = ""
    broken: bool = False
    scores: dict[str, Record | None] = field(default_factory=dict)

    @property
    def data_instead_of(self) -> str:
        """The paper's data set when another one takes its place, else ""."""
        return next(iter(self.task_names), "")

    @property
    def tasks(self) -> list[str]:
        """Tasks of its columns, each once."""
        return list(dict.fromkeys(map(self.task, self.columns)))

    def task(self, column: Column) -> str:
        """The task that this model is scored on for a column.

        Args:
            column: One of its columns.

        Returns:
            Its name.
        """
        name = self.task_names.get(str(column.task), str(column.task))
        return f"{name}_{self.part}" if self.part else name

    @property
    def run(self) -> str | None:
        """Key of the run whose model is scored; None for an encoder that is used as it is."""
        return self.stages[-1].key if self.stages else None

    @property
    def model(self) -> str:
        """What is scored; equal for equal models, of whichever row or table."""
        if self.stages:
            return self.stages[-1].identity
        if self.config is None:
            return self.row.name
        return canonical_json([self.config.encoder, self.config.get("pooling")])

    @property
    def done(self) -> bool:
        """Whether nothing was left to do when the plan was made."""
        trained = all(stage.record is not None for stage in self.stages)
        return trained and bool(self.scores) and None not in self.scores.values()
