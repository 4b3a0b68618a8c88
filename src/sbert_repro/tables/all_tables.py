"""What all tables together would take: a training that several of them share counts once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from sbert_repro.tables import cost, plan, spec, training_speed
from sbert_repro.tables.cost import Cost
from sbert_repro.tables.request import Request
from sbert_repro.tables.subject import Record, Stage, Work


@dataclass
class _Total:
    """What is left over the tables so far."""

    lines: list[str] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    scores: set[tuple[str, str]] = field(default_factory=set)


def shown(asked: Request, base: DictConfig, work: Work, records: Sequence[Record]) -> list[str]:
    """Plan every table that has a file, and sum up.

    Args:
        asked: What was asked for.
        base: The profile's options, from `request.check`.
        work: Training and evaluation; nothing is trained or scored.
        records: All records of the ledger.

    Returns:
        A line a table, a total, and the hours of training as far as their speed was measured.
    """
    total = _Total()
    for name in spec.existing():
        table = spec.load(name)
        if table.timed:
            total.lines.append(f"Table {name}: timed, nothing is trained.")
            continue
        made = plan.make(table, asked, base, work)
        left = cost.estimate(made, records)
        new = {stage.identity: stage for stage in cost.missing(made)}
        shared = len(new.keys() & total.stages.keys())
        total.stages |= new
        total.scores |= {(subject.model, task) for subject, task in cost.unscored(made)}
        total.lines.append(f"Table {name}: {_said(left, shared)}{_unplanned(made)}")
    stages = list(total.stages.values())
    blocked = sum(bool(stage.needs) for stage in stages)
    return [
        *total.lines,
        f"All tables, profile {asked.profile}: {len(stages)} trainings, {blocked} of them blocked, "
        f"and {len(total.scores)} scores; what tables share counts once.",
        *hours(stages, records, base, asked.profile),
    ]


def _said(left: Cost, shared: int) -> str:
    also = f" ({shared} of them shared with tables above)" if shared else ""
    return (
        f"{left.trainings} trainings{also}, {left.scores} scores, {left.blocked} of both blocked."
    )


def _unplanned(made: plan.Plan) -> str:
    """Count rows whose runs are not known: without a stand-in, or without the data's folds."""
    rows = {s.row.name for s in made.subjects if s.row.trained and s.reason and not s.stages}
    left_out = "1 row cannot" if len(rows) == 1 else f"{len(rows)} rows cannot"
    return f" {left_out} be planned here and stay uncounted (see its own dry run)." if rows else ""


def hours(
    stages: Sequence[Stage], records: Sequence[Record], base: DictConfig, profile: str
) -> list[str]:
    """Say how long trainings would take.

    Args:
        stages: Those that are left, each once.
        records: All records of the ledger.
        base: The profile's options; `paths.results` is read.
        profile: Its name.

    Returns:
        From records of the same work where there are some; the others from a measured speed.
    """
    before, new = cost.of_trainings(stages, records)
    said = [f"Training, where the like is in the ledger: {before.spent()}"]
    return [
        *(said if before.machines else []),
        *training_speed.lines(new, Path(base.paths.results), profile),
    ]
