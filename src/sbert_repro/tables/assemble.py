"""From a plan and what was computed to the cells that are printed."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sbert_repro.tables import labels
from sbert_repro.tables.commands import command
from sbert_repro.tables.outcome import Cell, averaged, mean_of_all
from sbert_repro.tables.plan import Plan
from sbert_repro.tables.render import Sheet
from sbert_repro.tables.spec import Column, Row
from sbert_repro.tables.subject import UNTRAINED, Subject

Record = dict[str, Any]
NOT_YET = "not run yet"
_SHORT = 200
_ADVICE = r"\. (?=[A-Z])|: (?:get|download|copy|set|give|use|run|delete|remove|unpack) "


@dataclass(frozen=True)
class Outcome:
    """What became of one subject of a plan.

    Attributes:
        scores: Records by task; empty when there are none.
        trained: Records of its training runs, the first stage first.
        reason: Why there are no scores.
        failed: Whether it should have worked.
    """

    scores: dict[str, Record] = field(default_factory=dict)
    trained: tuple[Record, ...] = ()
    reason: str = ""
    failed: bool = False

    @property
    def records(self) -> list[Record]:
        """All records behind its scores."""
        return [*self.trained, *self.scores.values()] if self.scores else []


Done = dict[int, Outcome]
"""Outcomes by place in `Plan.subjects`; what has not been reached is not in it."""


def sheet(plan: Plan, done: Done) -> Sheet:
    """Put together all that is printed of a table.

    Args:
        plan: The plan.
        done: What was computed so far.

    Returns:
        The sheet.
    """
    records = [record for number in sorted(done) for record in done[number].records]
    return Sheet(
        table=plan.table,
        profile=plan.request.profile,
        banner=str(plan.base.profile.banner),
        seeds=len(plan.seeds),
        changes=plan.request.of_numbers,
        cells=cells(plan, done),
        records={record["key"]: record for record in records},
    )


def cells(plan: Plan, done: Done) -> list[Cell]:
    """Build all cells of a table, in its order.

    Args:
        plan: The plan.
        done: What was computed so far.

    Returns:
        A cell for every number that the paper's table has.
    """
    found: list[Cell] = []
    for row in plan.table.rows:
        chosen = [(s, done.get(n)) for n, s in enumerate(plan.subjects) if s.row is row]
        name = _label(row, chosen)
        for column in plan.table.columns:
            if column.task is not None and column.name in row.paper:
                mine = [(s, outcome) for s, outcome in chosen if column in s.columns]
                found.append(_cell(plan, name, column, mine))
        for column in plan.table.columns:
            if column.mean_of and column.name in row.paper:
                parts = [cell for cell in found if cell.paper_row == row.name]
                found.append(averaged(column, parts, row.paper[column.name]))
    return found


Pairs = Sequence[tuple[Subject, Outcome | None]]


def _cell(plan: Plan, name: str, column: Column, pairs: Pairs) -> Cell:
    row = pairs[0][0].row
    scored = [
        (s.seed, o.scores[task])
        for s, o in pairs
        if o is not None and (task := s.task(column)) in o.scores
    ]
    records = [r for _, o in pairs if o is not None for r in o.trained]
    records += [record for _, record in scored]
    scores = _by_seed(column, pairs, scored)
    return Cell(
        row=name,
        paper_row=row.name,
        column=column.name,
        metric=column.metric,
        paper=row.paper[column.name],
        paper_sd=row.paper_sd.get(column.name),
        scores=scores,
        planned=len({subject.seed for subject, _ in pairs}),
        intervals=_intervals(column, row, (record for _, record in scored)),
        incomparable=_incomparable(plan, pairs, records) if scored else "",
        reason=_reason(pairs, len(scored)) or _undefined(scores),
        notes=_notes(name, row, pairs, records),
        keys=_keys(pairs, column),
        command=command([subject for subject, _ in pairs]),
    )


def _by_seed(
    column: Column, pairs: Pairs, scored: Sequence[tuple[int, Record]]
) -> dict[int, float | None]:
    """The score of each seed; with parts their mean, once all parts of the seed are there."""
    wanted = Counter(subject.seed for subject, _ in pairs)
    values: dict[int, list[float | None]] = {}
    for seed, record in scored:
        values.setdefault(seed, []).append(record["scores"][column.metric])
    whole = {seed: found for seed, found in values.items() if len(found) == wanted[seed]}
    return {seed: mean_of_all(found) for seed, found in whole.items()}


def _intervals(column: Column, row: Row, records: Iterable[Record]) -> list[tuple[float, float]]:
    """Ends of the intervals, which are those of a task's main score on one test set."""
    if row.parts or column.metric == "pearson":
        return []
    ends = [(r["scores"].get("ci_low"), r["scores"].get("ci_high")) for r in records]
    return [(low, high) for low, high in ends if low is not None and high is not None]


def _incomparable(plan: Plan, pairs: Pairs, records: Sequence[Record]) -> str:
    if pairs[0][0].instead_of or pairs[0][0].data_instead_of:
        return "stand-in"
    if pairs[0][0].parts or any(labels.is_partial(record) for record in records):
        return "partial data"
    return "changed" if plan.request.of_numbers else ""


def _reason(pairs: Pairs, scored: int) -> str:
    """Why there is no number, or which runs are missing; each distinct reason once."""
    if scored == len(pairs):
        return ""
    why = [outcome.reason if outcome else subject.reason or NOT_YET for subject, outcome in pairs]
    distinct = "; ".join(dict.fromkeys(in_short(reason) for reason in why if reason))
    runs = "runs" if pairs[0][0].part else "seeds"
    return f"{scored} of {len(pairs)} {runs}; {distinct}" if scored else distinct


def _undefined(scores: Mapping[int, float | None]) -> str:
    """Which seeds gave no correlation, so that no mean over them is built."""
    seeds = [str(seed) for seed, score in scores.items() if score is None]
    # An encoder that is not trained has no seeds to name.
    whose = f"seed {', '.join(seeds)}: " if seeds != [str(UNTRAINED)] else ""
    return f"{whose}all similarities are equal, no correlation is defined" if seeds else ""


def in_short(reason: str) -> str:
    """A refusal without its advice, which the dry run gives in full.

    Args:
        reason: What a UserError says.

    Returns:
        What was found.
    """
    return textwrap.shorten(re.split(_ADVICE, reason)[0], _SHORT, placeholder=" …")


def _notes(name: str, row: Row, pairs: Pairs, records: Sequence[Record]) -> list[str]:
    subject = pairs[0][0]
    training = _training(pairs) if subject.instead_of else ""
    notes = [] if training in name else [training]
    notes += [f"{used} in the place of {paper}" for paper, used in _data_instead(subject)]
    notes += [subject.parts] if subject.parts else []
    notes += [note for record in records for note in record.get("notes", [])]
    return list(dict.fromkeys([*notes, *([row.note] if row.note else [])]))


def _data_instead(subject: Subject) -> list[tuple[str, str]]:
    """Titles of the paper's data sets and of those in their place."""
    pairs = subject.task_names.items()
    return [(labels.title_of(paper), labels.title_of(used)) for paper, used in pairs]


def _keys(pairs: Pairs, column: Column) -> list[str]:
    """Keys behind a cell: of the training runs and of this column's scores."""
    found: list[str] = []
    for subject, outcome in pairs:
        if outcome is not None and (task := subject.task(column)) in outcome.scores:
            found += [record["key"] for record in (*outcome.trained, outcome.scores[task])]
    return list(dict.fromkeys(found))


def _training(pairs: Pairs) -> str:
    """What the model was fine-tuned on, with counts once its records are there."""
    subject, outcome = next((p for p in pairs if p[1] is not None and p[1].scores), pairs[0])
    records: Sequence[Record | None] = outcome.trained if outcome else ()
    records = records or [None] * len(subject.stages)
    stages = zip((stage.config for stage in subject.stages), records, strict=True)
    return labels.fine_tuning(list(stages))


def _label(row: Row, pairs: Pairs) -> str:
    """The paper's name, unless another encoder took its place: then what that one is."""
    subject = pairs[0][0]
    if not subject.instead_of or subject.config is None:
        on = " and ".join(used for _, used in _data_instead(subject))
        return f"{row.name} (on {on})" if on and subject.config is not None else row.name
    kinds = {_training([pair for pair in pairs if pair[0].columns == s.columns]) for s, _ in pairs}
    # In Table 6 a row is trained on NLI in one column and on STSb in another: see the cells' notes.
    training = kinds.pop() if len(kinds) == 1 else "fine-tuned"
    return f"{labels.whole(subject.config, training)} (in the place of {row.name})"
