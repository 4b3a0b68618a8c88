"""A plan worked through in this process, a model at a time; a failure stops only its row."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from omegaconf import DictConfig

from sbert_repro.errors import Diverged, UserError
from sbert_repro.tables.assemble import Done, Outcome
from sbert_repro.tables.plan import Plan
from sbert_repro.tables.subject import Record, Subject, Work, failure

_log = logging.getLogger(__name__)


class Does(Protocol):
    """The part of `Work` that takes long."""

    def train(self, config: DictConfig, overrides: Sequence[str]) -> Record:
        """Train, or find in the ledger."""

    def score(self, config: DictConfig, run: str | None, tasks: Sequence[str]) -> dict[str, Record]:
        """Score a model: that of a run, or the encoder that the options name."""


def local(plan: Plan, work: Work, finished: Callable[[Done], object]) -> Done:
    """Work through a plan in this process, one model after the other.

    Args:
        plan: The plan.
        work: Training and evaluation.
        finished: Called with all outcomes so far, at the start and after each row that had
            something to do, so that an interrupted table can be read.

    Returns:
        The outcome of every subject.
    """
    todo = left(plan)
    done = known(plan)
    finished(done)
    broken: dict[str, Outcome] = {}
    for row in plan.table.rows:
        mine = [number for number in todo if plan.subjects[number].row is row]
        for number in mine:
            _log.info("%s", title(plan, number))
            done[number] = outcome(plan.subjects[number], work, broken)
        if mine:
            finished(done)
    return done


def left(plan: Plan) -> list[int]:
    """Places in `Plan.subjects` of what is neither done nor impossible."""
    return [n for n, s in enumerate(plan.subjects) if not s.reason and not s.done]


def known(plan: Plan) -> Done:
    """The outcomes of what needs no work: it is done, or cannot be done."""
    todo = set(left(plan))
    return {n: _known(s) for n, s in enumerate(plan.subjects) if n not in todo}


def _known(subject: Subject) -> Outcome:
    if subject.reason:
        return Outcome(reason=subject.reason, failed=subject.broken)
    trained = tuple(stage.record for stage in subject.stages if stage.record is not None)
    return Outcome({t: r for t, r in subject.scores.items() if r is not None}, trained)


def title(plan: Plan, number: int) -> str:
    """Name a subject of a plan for a line of the log.

    Args:
        plan: The plan.
        number: Its place in `Plan.subjects`.

    Returns:
        Table, place, row, columns, seed and part.
    """
    subject = plan.subjects[number]
    columns = ", ".join(column.name for column in subject.columns)
    seed = f", seed {subject.seed}" if subject.stages else ""
    seed += f", {subject.part}" if subject.part else ""
    place = f"table {plan.table.name} [{number + 1}/{len(plan.subjects)}]"
    return f"{place} {subject.row.name} ({columns}{seed})"


def outcome(subject: Subject, work: Does, broken: dict[str, Outcome]) -> Outcome:
    """Train and score one model; whatever goes wrong is said in its cells.

    Args:
        subject: The model.
        work: Training and evaluation.
        broken: Keys of runs that failed, with what became of them; a shared run is not tried twice.

    Returns:
        Scores, or the reason why there are none.
    """
    trained: list[Record] = []
    key = ""
    try:
        for stage in subject.stages:
            key = str(stage.key)
            if key in broken:
                return broken[key]
            trained.append(work.train(stage.config, stage.overrides))
        key = ""
        assert subject.config is not None, "a subject without options has a reason"
        run = trained[-1]["key"] if trained else None
        return Outcome(work.score(subject.config, run, subject.tasks), tuple(trained))
    except Exception as error:
        reason = failure(error)
        _log.error("%s: %s", subject.row.name, reason, exc_info=not isinstance(error, UserError))
        # A run that diverged is a result: the next call shows it as one that cannot be run.
        found = Outcome(reason=reason, failed=not isinstance(error, Diverged))
        if key:
            broken[key] = found
        return found
