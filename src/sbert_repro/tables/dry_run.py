"""The plan of a table on the screen: what is done, what is left, what cannot be run and why."""

from __future__ import annotations

from collections import Counter

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sbert_repro.tables.cost import Cost
from sbert_repro.tables.plan import Plan, shared
from sbert_repro.tables.subject import Stage, Subject


def shown(plan: Plan, cost: Cost) -> Group:
    """Lay a plan out for the screen.

    Args:
        plan: The plan.
        cost: What is left.

    Returns:
        A line for every model of every row, reasons in full and sums below.
    """
    table = Table(
        title=f"Table {plan.table.name}: {plan.table.title}, profile {plan.request.profile}",
        box=box.SIMPLE_HEAD,
    )
    for name in ("row", "columns", "seed", "training run", "scores", "state"):
        table.add_column(name, overflow="fold", no_wrap=name != "columns")
    reasons = list(dict.fromkeys(s.reason for s in plan.subjects if s.reason))
    for alike in _alike(plan):
        table.add_row(*(escape(word) for word in _words(alike, reasons)))
    below = [f"({number}) {reason}" for number, reason in enumerate(reasons, 1)]
    return Group(table, Text("\n".join([*below, *_sums(plan, cost)])))


def _alike(plan: Plan) -> list[list[Subject]]:
    """Seeds of a row that cannot be told apart, because no key is known, on one line."""
    groups: dict[object, list[Subject]] = {}
    for number, subject in enumerate(plan.subjects):
        unknown = subject.reason and not any(stage.key for stage in subject.stages)
        same = (subject.row.name, subject.columns, subject.reason, subject.part)
        groups.setdefault(same if unknown else number, []).append(subject)
    return list(groups.values())


def _words(alike: list[Subject], reasons: list[str]) -> list[str]:
    subject = alike[0]
    seeds = f"{subject.seed}" if len(alike) == 1 else f"{subject.seed}–{alike[-1].seed}"
    return [
        f"{subject.row.name} {subject.part}".rstrip(),
        ", ".join(column.name for column in subject.columns),
        seeds if subject.row.trained else "–",
        "\n".join(_stage(stage) for stage in subject.stages) or "–",
        _scores(subject),
        _state(subject, reasons),
    ]


def _stage(stage: Stage) -> str:
    if stage.key is None:
        return "not known yet"
    return f"{stage.key} {'done' if stage.record is not None else 'missing'}"


def _scores(subject: Subject) -> str:
    """Keys where there are a few, else how many are done."""
    finished = [record for record in subject.scores.values() if record is not None]
    if len(finished) == len(subject.tasks) == 1:
        return f"{finished[0]['key']} done"
    return f"{len(finished)} of {len(subject.tasks)} done"


def _state(subject: Subject, reasons: list[str]) -> str:
    if not subject.reason:
        return "done" if subject.done else "missing"
    return f"{'needs' if subject.config is not None else '—'} ({reasons.index(subject.reason) + 1})"


def _sums(plan: Plan, cost: Cost) -> list[str]:
    states: Counter[str] = Counter()
    for subject in plan.subjects:
        state = "cannot be run" if subject.reason else "done" if subject.done else "missing"
        states[state] += len(subject.columns)
    cells = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    seeds = f"{len(plan.seeds)} of the table's {plan.table.seeds} seeds"
    lines = [f"Cells, seed by seed: {cells} ({seeds} in this profile).", str(cost)]
    lines += [
        f"Shared, trained once: {n} of {', '.join(rows)}." for rows, n in shared(plan).items()
    ]
    return lines
