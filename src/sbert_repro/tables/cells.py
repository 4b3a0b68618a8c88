"""The cells of a table: the number, its verdict, what the model was, the command that repeats it.

Everything here is fields. A verdict is decided by fields alone, and sentences are made from them by
`sbert_repro.facts` and `sbert_repro.tables.render`.
"""

from __future__ import annotations

import shlex
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sbert_repro.compose import word_of
from sbert_repro.data.schema import dataset
from sbert_repro.facts import Fact, fact, is_partial
from sbert_repro.redaction import masked
from sbert_repro.tables.plan import (
    Job,
    Plan,
    Reason,
    Record,
    Result,
    Results,
    is_neutral,
    label_of,
)
from sbert_repro.tables.spec import Column, Row, Table

NOT_YET = Reason("not_yet", "not run yet")
NOT_TIMED = Reason("not_yet", "not timed with the other rows; again=true times all of them")
_PARTS = {(True, False): "fold", (False, True): "topic", (True, True): "fold of a topic"}
"""Whether a part is a fold, whether it is of one topic → what it is called."""
_EXACT = 1e-9
"""78.03 - 77.03 is not quite 1 in binary; a cell on the edge of the tolerance is within it."""


@dataclass(frozen=True)
class Training:
    """What one stage trained on, and how.

    Attributes:
        data: Title of the data set.
        unit: What its rows are, in the plural.
        rows: How many rows were used; None while there is no record that says so.
        part: "fold", "topic" or "fold of a topic" if it was trained to be tested on one, else "".
        steps: Where the number of steps was limited.
        loss: The objective's word.
        concatenation: What the objective's softmax sees, where it has one.
        from_scratch: Whether the network began with random weights.
    """

    data: str
    unit: str
    rows: int | None
    part: str
    steps: int | None
    loss: str
    concatenation: tuple[str, ...]
    from_scratch: bool


@dataclass(frozen=True)
class Caption:
    """What stands in for the paper's model or data.

    Attributes:
        encoder: The encoder, or the network that the training began with.
        trainings: Its stages, the first one first; empty for an encoder that is used as it is.
        pooling: The pooling's word; "" where the model pools in its own way.
        layer: The layer that is pooled.
        instead_of_data: Title of the data set that is used → title of the paper's.
    """

    encoder: str
    trainings: tuple[Training, ...] = ()
    pooling: str = ""
    layer: str = "last"
    instead_of_data: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class StandIn:
    """What ran in place of a model or a data set of the paper's.

    Attributes:
        word: The option that chose it; equal for equal stand-ins, of whichever table.
        ran: Its name.
        paper: The name of what it stands for; "" where that goes without saying.
        of_data: Whether it is a data set.
        trainings: Of a model that the profile trains itself, where the paper uses one as published.
        pooling: Of such a model.
    """

    word: str
    ran: str
    paper: str = ""
    of_data: bool = False
    trainings: tuple[Training, ...] = ()
    pooling: str = ""


@dataclass(frozen=True)
class Difference:
    """How far the mean over seeds is from another row's.

    Attributes:
        points: The difference.
        p: Of Welch's t-test over the seeds of both; None where there are too few.
    """

    points: float
    p: float | None


@dataclass(frozen=True)
class Cell:
    """One number of a table beside the paper's: a score over seeds, or a speed over repeats.

    Attributes:
        row: The paper's short name of the row.
        column: The paper's name of the column.
        metric: Which score of the task.
        paper: The paper's number; None in rows that the paper has not.
        paper_sd: The paper's ±, None where it prints none.
        ours: Mean over seeds, or median over repeats; None: not run, or not defined for a seed.
        sd: Sample standard deviation over seeds (n - 1); None for one seed.
        n: Seeds with a defined score, or repeats.
        interval: A score's bootstrap interval over test pairs, a speed's slowest and fastest.
        scores: Ours by seed; None: not defined, since all similarities are equal.
        planned: How many seeds there should be.
        tolerance: Largest distance that counts as a match; None: not to be compared (a speed).
        stand_in: Whether another model or data set stands in for the paper's.
        partial: Whether part of a data set, or of its folds or topics, was used.
        changed: Whether options were changed on the command line.
        caption: What the model is, where that is not the paper's.
        stand_ins: What of it stands in for what; of a speed, what was timed.
        facts: What is true of the records behind the number.
        note: What a reader has to know about the paper's row.
        reasons: Why there is no number, or why runs are missing.
        runs: How many runs are done, and how many there should be.
        of_parts: Whether the runs are those of folds or topics.
        mean_without: Columns without a number, over which no mean is taken.
        keys: Keys of the ledger records behind the number.
        command: What reproduces it.
        difference: From the first row of its section, in a table that compares rows.
        gflops: Of a speed: useful arithmetic a second, where it is counted.
        share: Of a speed: of the machine's ceiling in the same precision.
    """

    row: str
    column: str
    metric: str
    paper: float | None
    paper_sd: float | None = None
    ours: float | None = None
    sd: float | None = None
    n: int = 0
    interval: tuple[float, float] | None = None
    scores: Mapping[int, float | None] = field(default_factory=dict)
    planned: int = 1
    tolerance: float | None = None
    stand_in: bool = False
    partial: bool = False
    changed: bool = False
    caption: Caption | None = None
    stand_ins: tuple[StandIn, ...] = ()
    facts: tuple[Fact, ...] = ()
    note: str = ""
    reasons: tuple[Reason, ...] = ()
    runs: tuple[int, int] = (0, 0)
    of_parts: bool = False
    mean_without: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    command: str = ""
    difference: Difference | None = None
    gflops: float | None = None
    share: float | None = None

    @property
    def delta(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.ours is None or self.paper is None else self.ours - self.paper

    @property
    def verdict(self) -> str:
        """What the number says about the replication; being higher is not a pass."""
        if self.ours is None:
            return "not run"
        if self.tolerance is None:
            return "other machine"
        if self.stand_in:
            return "stand-in"
        if self.partial:
            return "partial data"
        if self.changed:
            return "changed"
        if self.n < self.planned:
            return "incomplete"
        if self.delta is None:
            return "not in the paper"
        distance = abs(self.delta) - _EXACT
        if distance <= self.tolerance:
            return "match"
        return "near" if distance <= 2 * self.tolerance else "off"


def stored(cell: Cell) -> dict[str, Any]:
    """Return what is kept of a scored cell beside the records behind it.

    Args:
        cell: The cell.

    Returns:
        Plain fields, from which `restored` makes the cell again.
    """
    return {
        "scores": {str(seed): score for seed, score in sorted(cell.scores.items())},
        "run_keys": list(cell.keys),
        "interval": None if cell.interval is None else list(cell.interval),
        "planned": cell.planned,
        "stand_in": cell.stand_in,
        "partial": cell.partial,
        "changed": cell.changed,
        "reasons": [[reason.code, reason.found] for reason in cell.reasons],
        "mean_without": list(cell.mean_without),
        "runs": list(cell.runs),
    }


def restored(table: Table, row: Row, column: Column, fields: Mapping[str, Any]) -> Cell:
    """Make a scored cell of what `stored` kept: its number and verdict, without its captions.

    Args:
        table: The table.
        row: The cell's row.
        column: Its column.
        fields: As kept.

    Returns:
        The cell.
    """
    interval = fields["interval"]
    scores = {int(seed): score for seed, score in fields["scores"].items()}
    return replace(
        unrun(table, row, column),
        **over_seeds(scores) | {"interval": None if interval is None else tuple(interval)},
        planned=fields["planned"],
        stand_in=fields["stand_in"],
        partial=fields["partial"],
        changed=fields["changed"],
        reasons=tuple(Reason(code, found) for code, found in fields["reasons"]),
        mean_without=tuple(fields["mean_without"]),
        runs=tuple(fields["runs"]),
        of_parts=bool(row.parts),
        keys=tuple(fields["run_keys"]),
    )


def unrun(table: Table, row: Row, column: Column) -> Cell:
    """Return a cell of a table that was not made.

    Args:
        table: The table.
        row: The cell's row.
        column: Its column.

    Returns:
        The cell, with the paper's number and no other.
    """
    return Cell(
        row=row.name,
        column=column.name,
        metric=column.metric,
        paper=row.paper.get(column.name),
        paper_sd=row.paper_sd.get(column.name),
        tolerance=None if table.timed else table.tolerance,
        reasons=(NOT_YET,),
    )


def over_seeds(
    scores: Mapping[int, float | None], intervals: Sequence[tuple[float, float]] = ()
) -> dict[str, Any]:
    """Sum up the scores of some seeds.

    Args:
        scores: By seed; None where a score is not defined.
        intervals: Of each seed's score; used if all have one.

    Returns:
        The fields `scores`, `ours`, `sd`, `n` and `interval` of a `Cell`. There is no mean while a
        seed is undefined, since no seed is left out.
    """
    defined = [score for score in scores.values() if score is not None]
    ours = mean(list(scores.values())) if scores else None
    interval = None
    if ours is not None and len(intervals) == len(scores):
        low, high = zip(*intervals, strict=True)
        interval = statistics.fmean(low), statistics.fmean(high)
    # paper: does not say whether ± is the sample or the population sd / here: sample /
    # effect: the ± of table 2
    sd = statistics.stdev(defined) if ours is not None and len(defined) > 1 else None
    return {"scores": scores, "ours": ours, "sd": sd, "n": len(defined), "interval": interval}


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, None if any value is."""
    defined = [value for value in values if value is not None]
    return statistics.fmean(defined) if len(defined) == len(values) else None


def mean_cell(column: Column, others: Sequence[Cell], paper: float | None) -> Cell:
    """Average other columns, seed by seed; no mean is taken over a missing cell.

    Args:
        column: The mean's column.
        others: Cells of the row; those that the column averages are picked out.
        paper: The paper's number, if it has one.

    Returns:
        The cell; without an interval, since the test sets share no pairs to draw from.
    """
    chosen = [cell for cell in others if cell.column in column.mean_of]
    common = set.intersection(*(set(cell.scores) for cell in chosen))
    scores = {seed: mean([cell.scores[seed] for cell in chosen]) for seed in sorted(common)}
    missing = next((cell for cell in chosen if cell.reasons), chosen[0])
    return replace(
        chosen[0],
        column=column.name,
        metric=column.metric,
        paper=paper,
        paper_sd=None,
        **over_seeds(scores),
        stand_in=any(cell.stand_in for cell in chosen),
        partial=any(cell.partial for cell in chosen),
        facts=_distinct_facts(one for cell in chosen for one in cell.facts),
        reasons=missing.reasons,
        runs=missing.runs,
        mean_without=tuple(cell.column for cell in chosen if cell.ours is None),
        keys=_distinct(key for cell in chosen for key in cell.keys),
    )


Pairs = Sequence[tuple[Job, Result | None]]
"""Jobs of a row, each with its result; None: not reached yet."""


def build(plan: Plan, results: Results) -> list[Cell]:
    """Build all cells of a table.

    Args:
        plan: The plan.
        results: What was computed so far.

    Returns:
        A cell for every number that the paper's table has, row by row.
    """
    found: list[Cell] = []
    for row in plan.table.rows:
        pairs = [(job, results.get(job.number)) for job in plan.jobs if job.row is row]
        cells = [
            _cell(plan, column, [(job, result) for job, result in pairs if column in job.columns])
            for column in plan.table.columns
            if column.task is not None and column.name in row.scored
        ]
        means = [
            mean_cell(column, cells, row.paper.get(column.name))
            for column in plan.table.columns
            if column.mean_of and column.name in row.scored
        ]
        found += [*cells, *means]
    return _compared(plan.table, found) if plan.table.compared else found


def _compared(table: Table, cells: Sequence[Cell]) -> list[Cell]:
    """Add to each cell how far it is from the first row of its section."""
    sections = {row.name: row.section for row in table.rows}
    first: dict[tuple[str, str], Cell] = {}
    found = []
    for cell in cells:
        reference = first.setdefault((sections[cell.row], cell.column), cell)
        if reference is not cell and cell.ours is not None and reference.ours is not None:
            p = welch(list(cell.scores.values()), list(reference.scores.values()))
            cell = replace(cell, difference=Difference(cell.ours - reference.ours, p))
        found.append(cell)
    return found


def welch(ours: Sequence[float | None], others: Sequence[float | None]) -> float | None:
    """Return the p of Welch's two-sided t-test, which takes no variances to be equal.

    Args:
        ours: A score for each seed.
        others: Of another row.

    Returns:
        The p; None when a score is not defined, there are fewer than two, or none differ.
    """
    samples = [[score for score in scores if score is not None] for scores in (ours, others)]
    if [*map(len, samples)] != [len(ours), len(others)] or min(map(len, samples)) < 2:  # noqa: PLR2004
        return None
    if all(len(set(sample)) == 1 for sample in samples):
        return None
    from scipy.stats import ttest_ind

    return float(ttest_ind(*samples, equal_var=False).pvalue)


def _cell(plan: Plan, column: Column, pairs: Pairs) -> Cell:
    first, row = pairs[0][0], pairs[0][0].row
    done = [
        (job, result)
        for job, result in pairs
        if result is not None and job.task(column) in result.scores
    ]
    scored = [(job.seed, result.scores[job.task(column)]) for job, result in done]
    records = [
        record
        for job, result in done
        for record in (*result.trained, result.scores[job.task(column)])
    ]
    facts = _distinct_facts(one for record in records for one in record.get("facts", []))
    some_parts = first.parts_run < first.parts_all
    if some_parts:
        parts = fact("parts", run=first.parts_run, all=first.parts_all, unit=row.parts)
        facts = (parts, *facts)
    finished = {job.number for job, _ in done}
    missing = [
        (result.reason if result else job.reason) or NOT_YET
        for job, result in pairs
        if job.number not in finished
    ]
    return Cell(
        row=row.name,
        column=column.name,
        metric=column.metric,
        paper=row.paper.get(column.name),
        paper_sd=row.paper_sd.get(column.name),
        **over_seeds(_by_seed(column, pairs, scored), _intervals(column, row, scored)),
        planned=len({job.seed for job, _ in pairs}),
        tolerance=plan.table.tolerance,
        stand_in=bool(first.instead_of or first.task_names),
        partial=some_parts or is_partial(facts),
        changed=bool(plan.request.of_numbers),
        caption=_caption(done or pairs),
        stand_ins=_stand_ins(plan, done or pairs),
        facts=facts,
        note=row.note,
        reasons=tuple(dict.fromkeys(missing)),
        runs=(len(done), len(pairs)),
        of_parts=bool(row.parts),
        keys=_distinct(record["key"] for record in records),
        command=command([job for job, _ in pairs]),
    )


def timed(table: Table, records: Mapping[str, Record], profile: str) -> list[Cell]:
    """Build the cells of a timed table; all of a column are one record.

    Args:
        table: The table.
        records: Column → record of `sbert_repro.benchmarks.table_7`.
        profile: Name of the profile, for the command that measures a column again.

    Returns:
        A cell for every row and column, row by row.
    """
    elsewhere = Reason("device", f"only a {' and a '.join(records)} was timed")
    found = []
    for row in table.rows:
        for column in table.columns:
            record = records.get(column.name)
            cell = Cell(
                row=row.name,
                column=column.name,
                metric=column.metric,
                paper=row.paper.get(column.name),
                command=timing_command(table, record or next(iter(records.values())), profile),
            )
            if record is None:
                cell = replace(cell, reasons=(elsewhere,))
            elif (figures := _figures(row, record)) is None:
                cell = replace(cell, reasons=(NOT_TIMED,))
            elif "reason" in figures:
                cell = replace(cell, reasons=(Reason(figures["code"], figures["reason"]),))
            else:
                cell = replace(
                    cell,
                    ours=figures["sentences_per_second"],
                    n=record["scores"]["repeats"],
                    interval=(figures["lowest"], figures["highest"]),
                    caption=Caption(figures["label"]),
                    stand_ins=(StandIn(figures["label"], figures["label"]),),
                    facts=tuple(figures["facts"]),
                    note=row.note,
                    keys=(record["key"],),
                    gflops=figures["gflops"],
                    share=figures.get("share"),
                )
            found.append(cell)
    return found


def _figures(row: Row, record: Record) -> dict[str, Any] | None:
    """Return what a record has of a row's options, whatever the row was called then."""
    for name, words in record["settings"]["options"].items():
        if tuple(words) == row.overrides:
            figures: dict[str, Any] | None = record["scores"]["rows"].get(name)
            return figures
    return None


def timing_command(table: Table, record: Record, profile: str) -> str:
    """Write the command that measures a record again.

    Args:
        table: The table.
        record: Of `sbert_repro.benchmarks.table_7`.
        profile: Name of the profile.

    Returns:
        The line.
    """
    scores = record["scores"]
    measured = {"sentences": scores["sentences"], "repeats": scores["repeats"]}
    measured["batch_size"] = record["settings"]["batch_size"]
    words = [f"table={table.name}", f"profile={profile}"]
    return _line("python scripts/table.py", [*words, *(f"{n}={v}" for n, v in measured.items())])


def _by_seed(
    column: Column, pairs: Pairs, scored: Sequence[tuple[int, Record]]
) -> dict[int, float | None]:
    """Return the score of each seed; with parts their mean, once all parts of the seed are done."""
    wanted = Counter(job.seed for job, _ in pairs)
    values: dict[int, list[float | None]] = {}
    for seed, record in scored:
        values.setdefault(seed, []).append(record["scores"][column.metric])
    return {seed: mean(found) for seed, found in values.items() if len(found) == wanted[seed]}


def _intervals(
    column: Column, row: Row, scored: Sequence[tuple[int, Record]]
) -> list[tuple[float, float]]:
    """Return the intervals, which are those of a task's main score on one test set."""
    if row.parts or column.metric == "pearson":
        return []
    ends = [(r["scores"].get("ci_low"), r["scores"].get("ci_high")) for _, r in scored]
    return [(low, high) for low, high in ends if low is not None and high is not None]


def _caption(pairs: Pairs) -> Caption | None:
    """Describe what stands in for the paper's model, with counts once its records are there."""
    job, result = pairs[0]
    if job.config is None or not (job.instead_of or job.task_names):
        return None
    records: Sequence[Record | None] = (result.trained if result else ()) or [None] * len(
        job.stages
    )
    stages = zip((stage.config for stage in job.stages), records, strict=True)
    return caption(
        job.config,
        [training(config, record) for config, record in stages],
        [(dataset(used).title, dataset(paper).title) for paper, used in job.task_names.items()],
    )


def letters(plan: Plan) -> tuple[str, ...]:
    """Return the words of all stand-ins of a profile, so that one has the same letter everywhere.

    Args:
        plan: Of any table in the profile.

    Returns:
        `StandIn.word` of each, in the profile's order.
    """
    profile = plan.base.profile
    used = [word for paper, word in profile.stand_ins.items() if word != paper]
    return _distinct([*used, *profile.trained_stand_ins])


def _stand_ins(plan: Plan, pairs: Pairs) -> tuple[StandIn, ...]:
    job, _ = pairs[0]
    made = _caption(pairs)
    if job.config is None or made is None:
        return ()
    found = []
    if job.instead_of:
        own = bool(job.row.instead_of)
        found.append(
            StandIn(
                word=job.instead_of if own else plan.base.profile.stand_ins[job.instead_of],
                ran=made.encoder,
                paper=label_of(job.instead_of),
                trainings=made.trainings if own else (),
                pooling=made.pooling if own else "",
            )
        )
    for paper, used in job.task_names.items():
        found.append(StandIn(used, dataset(used).title, dataset(paper).title, of_data=True))
    return tuple(found)


def caption(
    config: DictConfig,
    trainings: Sequence[Training] = (),
    instead_of_data: Sequence[tuple[str, str]] = (),
) -> Caption:
    """Describe a model by its options.

    Args:
        config: Options of its last stage, or of the encoder.
        trainings: From `training`, one per stage.
        instead_of_data: Titles of the data set that is used, and of the paper's.

    Returns:
        The caption.
    """
    encoder = config.encoder
    label = str(encoder.get("label") or Path(str(encoder.get("path", "model"))).name)
    pooling = config.get("pooling")
    return Caption(
        encoder=masked(label),
        trainings=tuple(trainings),
        pooling="" if pooling is None else word_of(pooling),
        layer=str(encoder.get("layer", "last")),
        instead_of_data=tuple(instead_of_data),
    )


def training(config: DictConfig, record: Record | None) -> Training:
    """Describe a stage by its options and its record.

    Args:
        config: The stage's options.
        record: Its record; without one no number of rows is claimed.

    Returns:
        The description.
    """
    name, split = str(config.data.name), str(config.data.split)
    data = dataset(name)
    part, loss = data.part(split), config.loss
    return Training(
        data=data.title,
        unit=data.unit,
        rows=None if record is None or part else _rows_used(record, name, split),
        part="" if part is None else _PARTS[part.fold is not None, part.topic is not None],
        steps=config.trainer.max_steps,
        loss=word_of(loss),
        concatenation=tuple(loss.get("concatenation") or ()),
        from_scratch="hidden" in config.encoder,
    )


def _rows_used(record: Record, name: str, split: str) -> int | None:
    for one in record.get("facts", []):
        if one["code"] == "rows" and (one["dataset"], one["split"]) == (name, split):
            return int(one["used"])
        if one["code"] == "facts_of_before":
            return None
    return dataset(name).splits[split]


def _distinct(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def _distinct_facts(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    found: list[Fact] = []
    for one in facts:
        if one not in found:
            found.append(one)
    return tuple(found)


def command(jobs: Sequence[Job]) -> str:
    """Write the command that gives a cell's number again, outside of any table.

    Args:
        jobs: Of the same columns of the same row, one for each seed and part.

    Returns:
        The line; "" when the options do not compose.
    """
    first = jobs[0]
    if first.config is None:
        return ""
    words = [word for word in first.overrides if not is_neutral(word)]
    tasks = ",".join(first.tasks)
    if not first.stages:
        return _line("python scripts/evaluate.py", [*words, f"task={tasks}"])
    words = [word for word in words if not word.startswith(("seed=", "data.split="))]
    seeds = list(dict.fromkeys(job.seed for job in jobs))
    if first.part:
        # experiment=afs scores each model on the part that it was not trained on.
        splits = ",".join(dict.fromkeys(f"train_{job.part}" for job in jobs))
        words += [f"data.split={splits}", f"seed={','.join(map(str, seeds))}"]
        return _line("python train.py -m", words)
    many = len(seeds) > 1
    choice = f"seed=range({seeds[0]},{seeds[-1] + 1})" if many else f"seed={seeds[0]}"
    start = "python train.py -m" if many else "python train.py"
    return _line(start, [*words, choice, f"evaluate=[{tasks}]"])


def _line(start: str, words: Sequence[str]) -> str:
    return " ".join([start, *(shlex.quote(word) for word in words)])
