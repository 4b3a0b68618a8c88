"""A cell of a table: the paper's number, ours over seeds, and what the two together say."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sbert_repro.tables.spec import Column

VERDICTS = {
    "match": "|Δ| within the table's tolerance",
    "near": "within twice the tolerance",
    "off": "further away, also when higher",
    "stand-in": "another model or data set in the place of the paper's, not comparable",
    "partial data": "the paper's model on less data, not comparable",
    "changed": "options were changed on the command line, not comparable",
    "incomplete": "seeds are missing, for the reason given; not comparable",
    "not run": "no number, for the reason given",
}
_EXACT = 1e-9
"""78.03 - 77.03 is not quite 1 in binary; a cell on the edge of the tolerance is within it."""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        row: The row by what was run, or the paper's name when that was run or nothing was.
        paper_row: The paper's name of the row.
        column: The paper's name of the column.
        metric: Which score of the task.
        paper: The paper's number.
        paper_sd: The paper's ±, None where it prints none.
        scores: Ours × 100 by seed; None: the score is not defined (all similarities equal).
        planned: How many seeds there should be.
        intervals: Bootstrap interval over test pairs, one a seed, where there is one.
        incomparable: A verdict that takes the place of match, near and off; "" when comparable.
        reason: Why there is no number, or why seeds are missing.
        notes: What a reader must know.
        keys: Keys of the ledger records behind the number.
        command: What reproduces it.
    """

    row: str
    paper_row: str
    column: str
    metric: str
    paper: float
    paper_sd: float | None = None
    scores: Mapping[int, float | None] = field(default_factory=dict)
    planned: int = 1
    intervals: Sequence[tuple[float, float]] = ()
    incomparable: str = ""
    reason: str = ""
    notes: Sequence[str] = ()
    keys: Sequence[str] = ()
    command: str = ""

    @property
    def n(self) -> int:
        """Seeds with a defined score."""
        return sum(score is not None for score in self.scores.values())

    @property
    def ours(self) -> float | None:
        """Mean over seeds; None when a seed has no defined score, since no seed is left out."""
        found = [score for score in self.scores.values() if score is not None]
        return statistics.fmean(found) if found and self.n == len(self.scores) else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over seeds (n - 1), None for one seed."""
        # paper: sample or population sd not said / here: sample / effect: the ± of table 2
        found = [score for score in self.scores.values() if score is not None]
        return statistics.stdev(found) if self.ours is not None and len(found) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Ends of the bootstrap interval, each averaged over seeds; None without a number."""
        if self.ours is None or len(self.intervals) != len(self.scores):
            return None
        low, high = zip(*self.intervals, strict=True)
        return statistics.fmean(low), statistics.fmean(high)

    @property
    def delta(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.ours is None else self.ours - self.paper

    def verdict(self, tolerance: float) -> str:
        """What the number says about the replication; being higher is not a pass.

        Args:
            tolerance: Largest distance that counts as a match.

        Returns:
            A key of `VERDICTS`.
        """
        if self.delta is None:
            return "not run"
        if self.incomparable or self.n < self.planned:
            return self.incomparable or "incomplete"
        distance = abs(self.delta) - _EXACT
        return next(
            (v for v, limit in (("match", 1), ("near", 2)) if distance <= limit * tolerance), "off"
        )


def averaged(column: Column, parts: Sequence[Cell], paper: float) -> Cell:
    """The mean of other columns, seed by seed; no mean is built over a missing cell.

    Args:
        column: The mean's column.
        parts: Cells of the row; those that the column averages are picked out.
        paper: The paper's number.

    Returns:
        The cell; without an interval, since the test sets share no pairs to draw from.
    """
    chosen = [part for part in parts if part.column in column.mean_of]
    common = set.intersection(*(set(part.scores) for part in chosen))
    scores: dict[int, float | None] = {}
    for seed in sorted(common):
        scores[seed] = mean_of_all([part.scores[seed] for part in chosen])
    missing = [part.column for part in chosen if part.ours is None]
    return replace(
        chosen[0],
        column=column.name,
        metric=column.metric,
        paper=paper,
        paper_sd=None,
        scores=scores,
        intervals=(),
        incomparable=next((part.incomparable for part in chosen if part.incomparable), ""),
        reason=next((part.reason for part in chosen if part.reason), "")
        or (f"no mean without {', '.join(missing)}" if missing else ""),
        notes=_distinct(note for part in chosen for note in part.notes),
        keys=_distinct(key for part in chosen for key in part.keys),
    )


def mean_of_all(values: Sequence[float | None]) -> float | None:
    """The mean of scores; one that is not defined leaves it undefined.

    Args:
        values: Scores; None where one is not defined.

    Returns:
        The mean, or None.
    """
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if len(defined) == len(values) else None


def _distinct(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
