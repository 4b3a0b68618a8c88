"""The paper's sentences as rules over the cells of its tables, checked on ours.

A rule becomes comparisons: weighted sums of cells, each of which has to exceed a threshold. Such a
sum would be another one with other seeds, and another one with other test items. For each of the
two there is a 95 % interval where it can be had. A claim holds when every interval of every
comparison lies above its threshold; it fails when all intervals of one comparison lie below.
Otherwise nothing can be said, and nothing is said where a cell is missing. Several comparisons need
no correction to hold, since all of them must.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import yaml
from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from sbert_repro.config import CONFIG_DIR
from sbert_repro.errors import UserError
from sbert_repro.tables import spec
from sbert_repro.tables.cells import Cell
from sbert_repro.tables.plan import Record
from sbert_repro.tables.printed import HEADLINE, Printed, short_name
from sbert_repro.tables.render import joined, reason_of

FILE = CONFIG_DIR / "claims.yaml"
LEVEL = 0.95
COLUMNS = (
    "claim section says rule by cells paper ours ci_low ci_high p evidence verdict of found"
).split()
HOLDS, FAILS, UNSURE = "holds", "fails", "cannot say"
_KEYS = {"id", "section", "says", "rule", "by", "cells"}
_TWO, _PLACES, _OF_GAP = 2, 3, 4
_SMALLEST_P = 0.001
_MANY = 100
"""From here on decimals say nothing."""
_EXACT = 1e-9

Ref = tuple[str, str, str]
"""Table, row and column of a cell."""


# Rules


@dataclass(frozen=True)
class Comparison:
    """A weighted sum of cells that has to exceed a threshold.

    Attributes:
        terms: Weight and cell.
        over: The threshold.
        about: The cell that tells it from the claim's other comparisons.
        logarithms: Whether logarithms are summed, so that a ratio is compared.
    """

    terms: tuple[tuple[float, Ref], ...]
    over: float
    about: Ref
    logarithms: bool = False


def _above(cells: Sequence[Ref], by: float) -> list[Comparison]:
    first, *others = cells
    return [Comparison(((1, first), (-1, other)), by, other) for other in others]


def _below(cells: Sequence[Ref], by: float) -> list[Comparison]:
    first, *others = cells
    return [Comparison(((1, other), (-1, first)), by, other) for other in others]


def _within(cells: Sequence[Ref], by: float) -> list[Comparison]:
    pairs = itertools.permutations(cells, _TWO)
    return [Comparison(((1, one), (-1, other)), -by, other) for one, other in pairs]


def _ratio(cells: Sequence[Ref], by: float) -> list[Comparison]:
    return [replace(one, over=math.log(by), logarithms=True) for one in _above(cells, by)]


def _gap(cells: Sequence[Ref], by: float) -> list[Comparison]:
    first, second, third, fourth = cells
    return [Comparison(((1, first), (-1, second), (-1, third), (1, fourth)), by, first)]


RULES: dict[str, Callable[[Sequence[Ref], float], list[Comparison]]] = {
    "above": _above,
    "below": _below,
    "within": _within,
    "ratio": _ratio,
    "gap": _gap,
}
"""The word in configs/claims.yaml → its comparisons, all of which have to hold."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper.

    Attributes:
        id: A short name.
        section: Where the paper says it.
        says: What it says, in our words.
        rule: One of `RULES`.
        by: The rule's number.
        cells: What the rule is applied to; all of them have to comply.
    """

    id: str
    section: str
    says: str
    rule: str
    by: float
    cells: tuple[tuple[Ref, ...], ...]

    @property
    def comparisons(self) -> list[Comparison]:
        """All that has to hold."""
        return [one for cells in self.cells for one in RULES[self.rule](cells, self.by)]

    @property
    def refs(self) -> list[Ref]:
        """The cells that it reads, each once."""
        return list(dict.fromkeys(itertools.chain.from_iterable(self.cells)))


def load(path: Path = FILE) -> tuple[list[Claim], dict[str, float]]:
    """Read and check the claims.

    Args:
        path: The YAML file.

    Returns:
        The claims in its order, and the paper's headline: seconds by row.

    Raises:
        UserError: A claim is not one, or names a cell that no table has.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        paper = {str(name): float(value) for name, value in content[HEADLINE].items()}
        claims = [_claim(one) for one in content["claims"]]
        _check(claims, paper)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{type(error).__name__} {error}", where=path) from error
    return claims, paper


def _claim(content: Mapping[str, Any]) -> Claim:
    name, rule = str(content["id"]), str(content["rule"])
    if unknown := set(content) - _KEYS:
        raise ValueError(f"claim {name}: unknown {sorted(unknown)}; known: {sorted(_KEYS)}")
    if rule not in RULES:
        raise ValueError(f"claim {name}: there is no rule {rule}; there are: {', '.join(RULES)}")
    places = [_expanded(place, name) for place in content["cells"]]
    if (len(places) != _OF_GAP) if rule == "gap" else (len(places) < _TWO):
        raise ValueError(
            f"claim {name}: {len(places)} cells; gap compares 4, other rules 2 or more"
        )
    times = max(map(len, places))
    if {len(place) for place in places} - {1, times}:
        raise ValueError(f"claim {name}: its lists differ in length")
    by = float(content.get("by", 1 if rule == "ratio" else 0))
    if rule == "ratio" and by <= 0:
        raise ValueError(f"claim {name}: a ratio is above 0")
    cells = zip(*(place * (times // len(place)) for place in places), strict=True)
    return Claim(name, str(content["section"]), str(content["says"]).strip(), rule, by, (*cells,))


def _expanded(place: Sequence[Any], claim: str) -> list[Ref]:
    """Return a place's cells: one, or one for each entry of its list."""
    parts = [list(map(str, part)) if isinstance(part, list) else [str(part)] for part in place]
    if len(parts) != _PLACES or sum(len(part) > 1 for part in parts) > 1:
        raise ValueError(f"claim {claim}: expected [table, row, column] with one list at most")
    return [(table, row, column) for table, row, column in itertools.product(*parts)]


def _check(claims: Sequence[Claim], paper: Mapping[str, float]) -> None:
    """Refuse a name used twice, and cells that the paper has not or that a rule is not for."""
    names = Counter(claim.id for claim in claims)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"two claims are called {twice[0]}")
    tables = [spec.load(name) for name in spec.existing()]
    timed = {(HEADLINE, row, "seconds") for row in paper}
    scored = set[Ref]()
    for table in tables:
        cells = timed if table.timed else scored
        cells |= {(table.name, row.name, column) for row in table.rows for column in row.paper}
    for claim in claims:
        for ref in claim.refs:
            if ref not in timed | scored:
                raise ValueError(f"claim {claim.id}: the paper has no {cell_name(ref)}")
            if (claim.rule == "ratio") != (ref in timed):
                raise ValueError(
                    f"claim {claim.id}: ratio is for times, all other rules for scores"
                )


# How sure a sum of cells is


Term = tuple[float, str, tuple[str, ...]]
"""Weight and metric of a score, and the keys of the evaluations that it is the mean of."""


class Resampled(Protocol):
    """The paired bootstrap (`launch.LedgerWork.resampled`, or a made-up one in tests)."""

    def __call__(
        self, sums: Sequence[Sequence[Term]]
    ) -> tuple[list[tuple[float, float]], Record] | None:
        """Return the interval of each sum over resampled test items, and the record of them.

        None where what was said of the items is not kept.
        """


def without_items(sums: Sequence[Sequence[Term]]) -> None:
    """Stand for the paired bootstrap where there is none."""


@dataclass(frozen=True)
class Evidence:
    """An interval of a sum, and what it rests on.

    Attributes:
        kind: `seeds` (Welch), `items` (paired bootstrap over test items), `intervals` (of each cell
            alone) or `repeats` (the slowest and the fastest).
        count: How many of them; 0 for `intervals`.
        low: Lower end.
        high: Upper end.
        p: Two-sided, of the seeds against the threshold.
    """

    kind: str
    count: int
    low: float
    high: float
    p: float | None = None


@dataclass(frozen=True)
class Sum:
    """A comparison's cells as they were printed.

    Attributes:
        over: The threshold.
        fixed: The part that nothing can change: numbers that the paper quotes from others.
        cells: Weight, cell and table of the rest.
    """

    over: float
    fixed: float
    cells: tuple[tuple[float, Cell, Printed], ...]

    def by_repeats(self) -> Evidence | None:
        """Return the interval of a ratio from the slowest repeats and the fastest."""
        low = high = 0.0
        for weight, cell, _ in self.cells:
            if cell.interval is None:
                return None
            ends = [weight * math.log(end) for end in cell.interval]
            low, high = low + min(ends), high + max(ends)
        return Evidence("repeats", min(cell.n for _, cell, _ in self.cells), low, high)

    def by_seeds(self) -> Evidence | None:
        """Return Welch's interval; None without two seeds of each trained model."""
        fixed, systems = self.fixed, dict[tuple[str, ...], dict[int, float]]()
        for weight, cell, table in self.cells:
            trained = table.keys(cell, "train")
            if not trained:
                fixed += weight * _number(cell)
                continue
            # Scores of one model belong together seed by seed, and two cells may be the same runs.
            system = systems.setdefault(trained, {})
            for seed, score in cell.scores.items():
                system[seed] = system.get(seed, 0.0) + weight * (score or 0.0)
        samples = [list(system.values()) for system in systems.values()]
        if not samples or min(map(len, samples)) < _TWO:
            return None
        of_means = [(statistics.variance(sample) / len(sample), len(sample)) for sample in samples]
        variance = sum(one for one, _ in of_means)
        if variance == 0:
            return None
        from scipy.stats import t

        freedom = variance**2 / sum(one**2 / (n - 1) for one, n in of_means)
        middle, error = fixed + sum(map(statistics.fmean, samples)), math.sqrt(variance)
        half = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
        p = 2 * float(t.sf(abs(middle - self.over) / error, freedom))
        return Evidence("seeds", min(n for _, n in of_means), middle - half, middle + half, p)

    @property
    def one_seed(self) -> bool:
        """Whether a model in it was trained from one seed only."""
        return any(table.keys(cell, "train") and cell.n == 1 for _, cell, table in self.cells)

    @property
    def scores(self) -> list[tuple[float, Cell, Printed]]:
        """The sum with means taken apart, and with equal scores put together."""
        weights: dict[tuple[tuple[str, ...], str], float] = {}
        parts: dict[tuple[tuple[str, ...], str], tuple[Cell, Printed]] = {}
        for weight, mean, table in self.cells:
            cells = table.parts(mean)
            for cell in cells:
                key = cell.keys or (cell.row, cell.column), cell.metric
                weights[key] = weights.get(key, 0.0) + weight / len(cells)
                parts[key] = cell, table
        return [(weight, *parts[key]) for key, weight in weights.items() if abs(weight) > _EXACT]

    @property
    def terms(self) -> list[Term]:
        """What the paired bootstrap draws."""
        return [(w, cell.metric, table.keys(cell, "evaluate")) for w, cell, table in self.scores]

    @property
    def items(self) -> int:
        """How many test items there are in all of its test sets."""
        records = [
            table.records[k] for _, c, table in self.scores for k in table.keys(c, "evaluate")
        ]
        return sum({r["settings"]["task"]: int(r["scores"]["n"]) for r in records}.values())

    def by_intervals(self) -> Evidence | None:
        """Return the interval that the cells' own give, as if they shared no test item."""
        middle, square = self.fixed, 0.0
        for weight, cell, _ in self.scores:
            if cell.interval is None:
                return None
            low, high = cell.interval
            middle += weight * _number(cell)
            square += (weight * (high - low) / 2) ** 2
        return Evidence("intervals", 0, middle - math.sqrt(square), middle + math.sqrt(square))


def _number(cell: Cell) -> float:
    assert cell.ours is not None, f"{cell.row}, {cell.column}: no number"
    return cell.ours


# Verdicts


@dataclass(frozen=True)
class Finding:
    """A comparison on our cells.

    Attributes:
        comparison: The comparison.
        paper: The sum of the paper's cells.
        ours: The sum of ours; None while a cell of the claim is missing.
        evidence: Its intervals.
        one_seed: Whether a model in it was trained from one seed only.
    """

    comparison: Comparison
    paper: float
    ours: float | None = None
    evidence: tuple[Evidence, ...] = ()
    one_seed: bool = False

    @property
    def low(self) -> float:
        """The lowest end of its intervals."""
        return min((one.low for one in self.evidence), default=-math.inf)

    @property
    def high(self) -> float:
        """Their highest end."""
        return max((one.high for one in self.evidence), default=math.inf)

    @property
    def verdict(self) -> str:
        """Whether the sum is surely above its threshold."""
        if self.low > self.comparison.over:
            return HOLDS
        return FAILS if self.high < self.comparison.over else UNSURE

    def shortfall(self) -> tuple[float, float]:
        """Order comparisons, those first that fail most surely or hold least surely."""
        over = self.comparison.over
        end = self.high if self.verdict == FAILS else self.low
        return end - over, (self.paper if self.ours is None else self.ours) - over


@dataclass(frozen=True)
class Judged:
    """A claim and what became of it.

    Attributes:
        claim: The claim.
        findings: Of its comparisons.
        cells: Ours, by place.
        record: Of its bootstrap, where there is one.
    """

    claim: Claim
    findings: tuple[Finding, ...]
    cells: Mapping[Ref, Cell]
    record: Record | None = None

    @property
    def missing(self) -> list[Ref]:
        """The places of cells without a number."""
        return [ref for ref in self.claim.refs if self.cells[ref].ours is None]

    @property
    def deciding(self) -> Finding:
        """The comparison that fails most surely, or else the one that holds least surely."""
        failed = [one for one in self.findings if one.verdict == FAILS]
        return min(failed or self.findings, key=Finding.shortfall)

    @property
    def verdict(self) -> str:
        """Whether the claim holds."""
        return UNSURE if self.missing else self.deciding.verdict

    @property
    def of(self) -> str:
        """What it was found of, where that is not what the paper measured."""
        cells = [self.cells[ref] for ref in self.claim.refs]
        verdicts = {cell.verdict for cell in cells}
        if any(fact["code"] == "demo_model" for cell in cells for fact in cell.facts):
            verdicts.add("stand-in")  # a speed that is not even that of the paper's shape
        return next((words for verdict, words in _OF.items() if verdict in verdicts), "")


_OF = {
    "stand-in": "of the stand-ins",
    "partial data": "on part of the data",
    "changed": "with changed options",
    "incomplete": "with seeds missing",
    "other machine": "on this machine",
}
"""A verdict of a cell → what a claim that reads it says of itself."""


def judge(
    claim: Claim, tables: Mapping[str, Printed], resampled: Resampled = without_items
) -> Judged:
    """Check a claim on tables.

    Args:
        claim: The claim.
        tables: As they were printed, by name, the headline among them.
        resampled: The paired bootstrap.

    Returns:
        What was found.
    """
    cells = {ref: _cell(tables, ref) for ref in claim.refs}
    papers = {ref: cell.paper for ref, cell in cells.items()}
    ours = {ref: cell.ours for ref, cell in cells.items()}
    findings = [Finding(one, _total(one, papers)) for one in claim.comparisons]
    if None in ours.values():
        return Judged(claim, tuple(findings), cells)
    sums = [_sum(one, cells, tables) for one in claim.comparisons]
    timed = claim.rule == "ratio"
    drawn = None if timed or not _whole(sums) else resampled([one.terms for one in sums])
    for number, (one, found) in enumerate(zip(sums, findings, strict=True)):
        known = [one.by_repeats()] if timed else [one.by_seeds()]
        if drawn is not None:
            low, high = (one.fixed + end for end in drawn[0][number])
            known.append(Evidence("items", one.items, low, high))
        if known == [None]:
            known = [] if timed else [one.by_intervals()]
        evidence = tuple(kind for kind in known if kind is not None)
        total = _total(found.comparison, ours)
        findings[number] = Finding(found.comparison, found.paper, total, evidence, one.one_seed)
    return Judged(claim, tuple(findings), cells, None if drawn is None else drawn[1])


def _cell(tables: Mapping[str, Printed], ref: Ref) -> Cell:
    """Return a cell; of a row that the paper quotes from others, the number is theirs."""
    table, row, column = ref
    cell = tables[table].cell(row, column)
    if _is_quoted(tables[table], row):
        return replace(cell, ours=cell.paper, planned=0, reasons=())
    return cell


def _is_quoted(table: Printed, row: str) -> bool:
    return any(one.quoted for one in table.table.rows if one.name == row)


def _total(comparison: Comparison, values: Mapping[Ref, float | None]) -> float:
    total = 0.0
    for weight, ref in comparison.terms:
        value = values[ref]
        assert value is not None, f"{cell_name(ref)}: no number"
        total += weight * (math.log(value) if comparison.logarithms else value)
    return total


def _sum(comparison: Comparison, cells: Mapping[Ref, Cell], tables: Mapping[str, Printed]) -> Sum:
    fixed, rest = 0.0, []
    for weight, ref in comparison.terms:
        if _is_quoted(tables[ref[0]], ref[1]):
            fixed += weight * _number(cells[ref])
        else:
            rest.append((weight, cells[ref], tables[ref[0]]))
    return Sum(comparison.over, fixed, tuple(rest))


def _whole(sums: Sequence[Sum]) -> bool:
    """Tell whether no cell lacks runs, so that its evaluations' mean is its number."""
    return all(c.runs[0] == c.runs[1] for one in sums for _, c, _ in one.scores)


# Words


def cell_name(ref: Ref) -> str:
    """Name a cell: "MEAN (Table 6, NLI)"."""
    table, row, column = ref
    return f"{row} ({short_name(table)}, {column})"


def not_run(judged: Judged) -> str:
    """Say which rows are missing; of Table 7's, on which device."""
    named = [
        f"{row} on {column}" if judged.claim.rule == "ratio" and table != HEADLINE else row
        for table, row, column in judged.missing
    ]
    return f"{', '.join(dict.fromkeys(named))} not run" if named else ""


def shown(value: float, rule: str) -> str:
    """Write a comparison's sum: "+1.23", "1.89 ×", or for `within` how far apart two cells are."""
    if rule == "ratio":
        return f"{_plain(math.exp(value))} ×"
    return f"{abs(value):.2f}" if rule == "within" else f"{value:+.2f}"


def _ours(judged: Judged) -> str:
    found, rule = judged.deciding, judged.claim.rule
    if judged.missing or found.ours is None:
        return "—"
    said = shown(found.ours, rule)
    if not found.evidence:
        return said
    if rule == "ratio":  # repeats spread more to the slow side
        return f"{said} [{', '.join(_plain(math.exp(end)) for end in (found.low, found.high))}]"
    return f"{said} ± {_plain((found.high - found.low) / 2)}"


def _plain(value: float) -> str:
    return f"{value:,.{0 if value >= _MANY else 2}f}"


def needed(claim: Claim) -> str:
    """Say what the rule wants of the number."""
    if claim.rule == "within":
        return f"at most {claim.by:g}"
    return f"over {claim.by:,g}{' ×' if claim.rule == 'ratio' else ''}"


def evidence_of(judged: Judged) -> str:
    """Say what a verdict rests on, and of several comparisons which one decided."""
    found = judged.deciding
    if judged.missing:
        return ""
    said = ["1 seed"] if found.one_seed else []
    for one in found.evidence:
        p = "" if one.p is None else f" (p {_p(one.p)})"
        said.append(f"{one.count:,} {_KINDS[one.kind]}{p}" if one.count else _KINDS[one.kind])
    if not found.evidence:
        said.append("no interval")
    about = ""
    if len(judged.findings) > 1 and judged.claim.rule != "within":
        about = f"{found.comparison.about[1]} [{found.comparison.about[2]}]: "
    elif len(judged.findings) > _TWO:
        pair = [f"{ref[1]} [{ref[2]}]" for _, ref in found.comparison.terms]
        about = f"{', '.join(pair)}: "
    return f"{about}{', '.join(said)}"


_KINDS = {
    "seeds": "seeds",
    "items": "test items",
    "intervals": "the cells' own intervals",
    "repeats": "repeats",
}


def _p(p: float) -> str:
    return f"< {_SMALLEST_P}" if p < _SMALLEST_P else f"{p:.3f}"


def verdict_of(judged: Judged) -> str:
    """Say the verdict: "holds of the stand-ins", "cannot say: … not run"."""
    if missing := not_run(judged):
        return f"{UNSURE}: {missing}"
    return " ".join(filter(None, [judged.verdict, judged.of]))


def found_of(judged: Judged) -> str:
    """Say what was found: "+0.68 ± 0.31 (the paper: +0.68; needed: over 0); 10 seeds"."""
    if missing := not_run(judged):
        return missing
    paper = shown(judged.deciding.paper, judged.claim.rule)
    beside = f"the paper: {paper}; needed: {needed(judged.claim)}"
    return f"{_ours(judged)} ({beside}); {evidence_of(judged)}"


def counts(judged: Sequence[Judged]) -> str:
    """Say how many claims there are of each verdict, and of what."""
    found = Counter(one.verdict for one in judged)
    said = [f"{found[verdict]} {words}" for verdict, words in _COUNTED.items()]
    return f"{len(judged)} claims: {', '.join(said)}."


_COUNTED = {HOLDS: "hold", FAILS: "fail", UNSURE: "cannot be said"}
_READING = (
    "The paper's and ours: a difference of cells, or the ratio of two speeds. Of a claim with "
    "several comparisons, the one that decides it; “from” names its cell.",
    "± is half of the 95 % interval, from what “from” lists: seeds (Welch), test items (a "
    "bootstrap that draws them once for all systems), or where neither can be had the cells' own "
    "intervals. Of several it spans all. A model of 1 seed says nothing of other seeds. A ratio of "
    "speeds has its interval in brackets: slowest repeat by fastest, and fastest by slowest.",
    "holds: the whole interval is above what is needed. fails: all of it is below. cannot say: it "
    "is on both sides, or there is none. More than the paper's figure is not less true.",
    "of the stand-ins: other models or data stand in for the paper's, so nothing is said of those.",
)


# Files


def as_csv(judged: Sequence[Judged]) -> str:
    """Return a line for each claim, with the columns `COLUMNS`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_line, judged))
    return text.getvalue()


def _line(judged: Judged) -> dict[str, object]:
    claim, found = judged.claim, judged.deciding
    told = not judged.missing and bool(found.evidence)
    numbers = {
        "paper": found.paper,
        "ours": None if judged.missing else found.ours,
        "ci_low": found.low if told else None,
        "ci_high": found.high if told else None,
    }
    if claim.rule == "ratio":
        numbers = {name: None if v is None else math.exp(v) for name, v in numbers.items()}
    p = next((one.p for one in found.evidence if one.p is not None), None)
    return {
        "claim": claim.id,
        "section": claim.section,
        "says": claim.says,
        "rule": claim.rule,
        "by": f"{claim.by:g}",
        "cells": "; ".join(map(cell_name, claim.refs)),
        **{name: "" if v is None else round(v, 4) for name, v in numbers.items()},
        "p": "" if p is None else f"{p:.3g}",
        "evidence": evidence_of(judged),
        "verdict": judged.verdict,
        "of": judged.of,
        "found": found_of(judged),
    }


def as_json(judged: Sequence[Judged], profile: str) -> str:
    """Return every comparison of every claim, and the records of the bootstrap."""
    content = {
        "profile": profile,
        "claims": [
            {
                "claim": one.claim.id,
                "verdict": one.verdict,
                "of": one.of,
                "run_keys": sorted({key for ref in one.claim.refs for key in one.cells[ref].keys}),
                "comparisons": [
                    {
                        "terms": [[weight, *ref] for weight, ref in found.comparison.terms],
                        "over": found.comparison.over,
                        "logarithms": found.comparison.logarithms,
                        "paper": found.paper,
                        "ours": found.ours,
                        "evidence": [asdict(evidence) for evidence in found.evidence],
                    }
                    for found in one.findings
                ],
            }
            for one in judged
        ],
        "records": {one.record["key"]: one.record for one in judged if one.record is not None},
    }
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


_HEADINGS = ("§", "the paper says", "the paper's", "needed", "ours", "verdict", "from")


def _rows(judged: Sequence[Judged]) -> Iterator[tuple[str, ...]]:
    for one in judged:
        yield (
            one.claim.section,
            one.claim.says,
            shown(one.deciding.paper, one.claim.rule),
            needed(one.claim),
            _ours(one),
            verdict_of(one),
            evidence_of(one),
        )


def as_markdown(judged: Sequence[Judged], profile: str, banner: str, tables: list[str]) -> str:
    """Return what a reader wants to know: the claims, their verdicts, and how to read them.

    Args:
        judged: The claims.
        profile: Name of the profile.
        banner: What the profile wants said above all.
        tables: The verdicts of the tables, a line each.

    Returns:
        The file.
    """
    reasons: dict[str, dict[str, None]] = {}
    for one in judged:
        for ref in one.missing:
            reasons.setdefault(reason_of(one.cells[ref]), {})[
                f"{ref[1]} ({short_name(ref[0])})"
            ] = None
    return "\n".join(
        [
            f"# What the paper says, checked (profile {profile})",
            "",
            *([f"> **{banner.strip()}**", ""] if banner.strip() else []),
            counts(judged),
            "",
            joined(_HEADINGS),
            joined(["---", "---", "---:", "---", "---:", "---", "---"]),
            *map(joined, _rows(judged)),
            "",
            "## How to read it",
            "",
            *(f"- {line}" for line in _READING),
            "",
            *(["## Not run", ""] if reasons else []),
            *(f"- {'; '.join(cells)}: {reason}" for reason, cells in reasons.items()),
            *([""] if reasons else []),
            "## The tables behind it",
            "",
            *(f"- {line}" for line in tables),
            "",
            f"Again: `make claims PROFILE={profile}`.",
            "",
        ]
    )


def on_screen(judged: Sequence[Judged]) -> Group:
    """Lay the claims out for the screen."""
    grid = Grid(title="What the paper says, checked", box=box.SIMPLE_HEAD)
    for name in _HEADINGS[:-1]:
        grid.add_column(name, justify="right" if name in ("the paper's", "ours") else "left")
    for words in _rows(judged):
        grid.add_row(*map(escape, words[:-1]))
    return Group(grid, Text(counts(judged)))
