"""Doing the work of a plan: what is missing is trained and scored, a failure stops only its row.

The only file of this folder that calls training and evaluation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sbert_repro.data.read import read
from sbert_repro.data.schema import WHOLE, dataset, part_names
from sbert_repro.errors import UserError
from sbert_repro.ledger import Ledger
from sbert_repro.redaction import masked
from sbert_repro.tables.assemble import Done
from sbert_repro.tables.one_by_one import local
from sbert_repro.tables.plan import Plan
from sbert_repro.tables.side_by_side import SideBySide
from sbert_repro.tables.subject import Record, Work

Launcher = Callable[[Plan, Work, Callable[[Done], object]], Done]


class Here:
    """Training and evaluation in this process, through the ledger below `paths.results`.

    Args:
        config: Composed options; `paths` are read.
    """

    def __init__(self, config: DictConfig) -> None:
        self.ledger = Ledger(Path(config.paths.results) / "runs")

    def settings(self, config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
        """What the key of a training run is made of."""
        from sbert_repro.training.run import settings_of

        return settings_of(config, list(overrides))

    def parts(self, config: DictConfig, protocol: str) -> Sequence[str]:
        """The folds or topics that are there."""
        data = config.data
        whole = read(
            dataset(data.name),
            Path(config.paths.data),
            WHOLE,
            allow_partial=bool(data.allow_partial),
        )
        topics = [] if whole.subset is None else dict.fromkeys(whole.subset.tolist())
        return part_names(list(topics))[protocol]

    def check(self, config: DictConfig) -> None:
        """Read what a run would read."""
        data = config.data
        for name, split, limit in (
            (data.name, data.split, data.limit),
            (data.dev, data.dev_split, data.dev_limit),
        ):
            if name is not None:
                _check_rows(name, Path(config.paths.data), split, limit, bool(data.allow_partial))

    def check_tasks(self, config: DictConfig, tasks: Sequence[str]) -> None:
        """Read the pairs of the tasks."""
        from sbert_repro.evaluation.leaks import refuse_seen
        from sbert_repro.evaluation.tasks import resolve

        root, partial = Path(config.paths.data), bool(config.data.allow_partial)
        refuse_seen(config, resolve(list(tasks), root))
        for task in resolve(list(tasks), root):
            for split in task.splits:
                _check_rows(task.dataset, root, split, None, partial)

    def trained(self, key: str) -> Record | None:
        """The record of a run; one that diverged is refused, which says so in its cells."""
        from sbert_repro.training.divergence import refuse

        record = self.ledger.get(key)
        if record is None:
            refuse(self.ledger.folder(key))
        return record

    def records(self) -> list[Record]:
        """All records there are."""
        found = (self.ledger.get(key) for key in self.ledger.keys())
        return [record for record in found if record is not None]

    def train(self, config: DictConfig, overrides: Sequence[str]) -> Record:
        """Train, or find in the ledger."""
        from sbert_repro.training.run import train

        return train(config, list(overrides))

    def scored(
        self, config: DictConfig, run: str | None, tasks: Sequence[str]
    ) -> dict[str, Record | None]:
        """Scores that are in the ledger."""
        from sbert_repro.evaluation.run import scored

        return scored(config, run, list(tasks))

    def score(self, config: DictConfig, run: str | None, tasks: Sequence[str]) -> dict[str, Record]:
        """Score, or find in the ledger."""
        from sbert_repro.evaluation.run import score

        return score(config, run, list(tasks))


@functools.cache
def _refusal(name: str, root: Path, split: str, limit: int | None, partial: bool) -> str:
    """What is wrong with rows, "" when nothing is; many models of a table read the same ones."""
    try:
        read(dataset(name), root, split, limit=limit, allow_partial=partial)
    except UserError as error:
        return str(error)
    return ""


def _check_rows(name: str, root: Path, split: str, limit: int | None, partial: bool) -> None:
    if refusal := _refusal(name, root, split, limit, partial):
        raise UserError(refusal)


LAUNCHERS = {"local": local}


def launcher(name: str, jobs: int = 1) -> Launcher:
    """The way to work through a plan that has this name.

    Args:
        name: The word on the command line.
        jobs: How many models at a time; more than one each have a process of their own.

    Returns:
        Such as `local`.

    Raises:
        UserError: There is none of this name.
    """
    if name not in LAUNCHERS:
        known = ", ".join(sorted(LAUNCHERS))
        raise UserError(f"launcher={name}: there is no such launcher; there are: {known}")
    return LAUNCHERS[name] if jobs == 1 else SideBySide(jobs)


def track(plan: Plan, text: str) -> None:
    """Send the finished table to W&B as a table; never a reason to fail.

    Args:
        plan: The plan.
        text: The table as CSV.
    """
    import io

    import pandas as pd

    from sbert_repro.training import tracking

    name = f"table_{plan.table.name}"
    run = tracking.start(plan.base, f"{name}_{plan.request.profile}", {"table": plan.table.name})
    run.log_table(name, pd.read_csv(io.StringIO(masked(text))))
    run.finish()
