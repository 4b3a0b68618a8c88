"""What the rest of a table would take, from what the same work took before; never a guess."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sbert_repro.config import canonical_json
from sbert_repro.tables.plan import Plan
from sbert_repro.tables.remarks import in_words, machine, seconds_of
from sbert_repro.tables.subject import Record, Stage, Subject

_OF_DATA = ("name", "split", "limit", "max_length", "sha256")
_OF_TRAINER = (
    "epochs",
    "max_steps",
    "batch_size",
    "precision",
    "evaluate_every",
    "compile",
    "devices",
)


@dataclass
class Cost:
    """Work that is left, told apart by whether its like was measured.

    Attributes:
        trainings: Distinct training runs that are left.
        scores: Scores that are left.
        blocked: How many of both need what is not there.
        seconds: Of those whose like was measured.
        unmeasured: How many others there are.
        machines: Where the measured ones ran.
    """

    trainings: int = 0
    scores: int = 0
    blocked: int = 0
    seconds: float = 0.0
    unmeasured: int = 0
    machines: set[str] = field(default_factory=set)

    def add(self, like: list[Record]) -> None:
        """Count one piece of work.

        Args:
            like: Records of the same work, with other seeds or poolings.
        """
        if like:
            self.seconds += statistics.fmean(seconds_of(record) for record in like)
            self.machines |= {machine(record) for record in like}
        else:
            self.unmeasured += 1

    def __str__(self) -> str:
        """Say it in a sentence or two."""
        if not self.trainings + self.scores:
            return "Nothing is left to do."
        said = f"Left to do: {self.trainings} trainings, {self.scores} scores"
        said += f", {self.blocked} of them blocked by what is not there." if self.blocked else "."
        if not self.machines:
            return f"{said} Nothing like them has been measured yet, so there is no estimate."
        return f"{said} {self.spent()}"

    def spent(self) -> str:
        """Say how long the measured part took."""
        rest = f"; {self.unmeasured} of them were never measured" if self.unmeasured else ""
        where = "; ".join(sorted(self.machines))
        hours = f"{self.seconds / 3600:.2f} h"
        return f"About {in_words(self.seconds)} ({hours}) as measured on {where}{rest}."


def estimate(plan: Plan, records: Iterable[Record]) -> Cost:
    """Add up what is left of a plan.

    Args:
        plan: The plan.
        records: All records of the ledger.

    Returns:
        The cost, of the rows too that cannot be run here.
    """
    cost, _ = of_trainings(missing(plan), records)
    for subject, task in unscored(plan):
        cost.scores += 1
        cost.blocked += bool(subject.reason)
        cost.add(_scored_before(plan, subject, task))
    return cost


def unscored(plan: Plan) -> list[tuple[Subject, str]]:
    """Scores of a plan that are left.

    Args:
        plan: The plan.

    Returns:
        Model and task, in the order of the table.
    """
    return [(s, task) for s in plan.subjects for task in s.tasks if not s.scores.get(task)]


def of_trainings(stages: Iterable[Stage], records: Iterable[Record]) -> tuple[Cost, list[Stage]]:
    """Add up trainings.

    Args:
        stages: Those that are left, each once.
        records: All records of the ledger.

    Returns:
        The cost; the trainings whose like was never measured.
    """
    like: dict[str, list[Record]] = {}
    for record in records:
        if record["kind"] == "train":
            like.setdefault(_kind(record["settings"]), []).append(record)
    cost, new = Cost(), []
    for stage in stages:
        cost.trainings += 1
        cost.blocked += bool(stage.needs)
        found = like.get(_kind(stage.settings), []) if stage.key else []
        cost.add(found)
        new += [] if found else [stage]
    return cost, new


def missing(plan: Plan) -> list[Stage]:
    """Training runs of a plan that are left, a shared one once.

    Args:
        plan: The plan.

    Returns:
        In the order of the table.
    """
    stages = [stage for subject in plan.subjects for stage in subject.stages]
    return list({stage.identity: stage for stage in stages if stage.record is None}.values())


def _kind(settings: dict[str, Any]) -> str:
    """What the time of a training run depends on: not its seed, pooling or objective."""
    data, trainer = settings.get("data", {}), settings.get("trainer", {})
    return canonical_json(
        [
            settings.get("encoder"),
            [data.get(name) for name in _OF_DATA],
            [trainer.get(name) for name in _OF_TRAINER],
        ]
    )


def _scored_before(plan: Plan, subject: Subject, task: str) -> list[Record]:
    """Records of this task for other models of the table with the same backbone."""
    found = [
        other.scores.get(task)
        for other in plan.subjects
        if other.config is not None
        and subject.config is not None
        and other.config.encoder.get("path") == subject.config.encoder.get("path")
    ]
    return [record for record in found if record is not None]
