"""A table as files and on the screen; the sentences of its captions, reasons and notes."""

from __future__ import annotations

import csv
import io
import json
import statistics
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from sbert_repro.facts import by_data_set, fact, sentence, sentences
from sbert_repro.ledger import machine, records_in
from sbert_repro.redaction import masked
from sbert_repro.storage import write_file
from sbert_repro.tables import cells as cells_of
from sbert_repro.tables import footnotes
from sbert_repro.tables.cells import Caption, Cell, Difference, StandIn, Training
from sbert_repro.tables.footnotes import Marked, Remark
from sbert_repro.tables.plan import (
    UNTRAINED,
    AllTables,
    Cost,
    Job,
    Plan,
    Reason,
    Record,
    Results,
    Stage,
    seconds_of,
    shared,
)
from sbert_repro.tables.spec import Table

COLUMNS = (
    "table row column metric paper ours sd n ci_low ci_high delta verdict note run_keys command"
).split()
VERDICTS = {
    "match": "within the tolerance of the paper's",
    "near": "within twice the tolerance",
    "off": "further away, higher or lower",
    "stand-in": "another model or data set in place of the paper's: not comparable",
    "partial data": "the paper's model on less data: not comparable",
    "changed": "options were changed on the command line: not comparable",
    "incomplete": "seeds are missing: not comparable",
    "other machine": "a speed on another machine than the paper's: not comparable",
    "not in the paper": "nothing to compare with",
    "not run": "a note says why",
}
"""What each verdict says."""
_LONGEST_REASON = 200
_SMALLEST_P = 0.001
_TRAINED_ON = {
    "fold": "nine folds of ten of ",
    "topic": "all topics but one of ",
    "fold of a topic": "nine folds of ten of one topic of ",
}
_HOUR, _MINUTE = 3600, 60
_COLLAPSED = 10.0
"""A seed so many points below the others' median is named (a degenerate run)."""


@dataclass(frozen=True)
class Sheet:
    """All that is printed of a table, scored or timed.

    Attributes:
        table: The table.
        profile: Name of the profile.
        banner: What the profile wants said above all.
        cells: In the table's order.
        records: Ledger records behind the cells, by key.
        seeds: Seeds of each trained cell.
        changes: What was changed on the command line.
        stand_ins: Words of the profile's stand-ins, in the order of their letters.
        extra: Further columns of the Markdown table: heading → row → words.
        conditions: How a timed table was measured, in place of the lines on seeds and hardware.
    """

    table: Table
    profile: str
    banner: str
    cells: Sequence[Cell]
    records: Mapping[str, Record]
    seeds: int = 1
    changes: Sequence[str] = ()
    stand_ins: Sequence[str] = ()
    extra: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    conditions: Sequence[str] = ()


def sheet(plan: Plan, results: Results) -> Sheet:
    """Put together all that is printed of a scored table.

    Args:
        plan: The plan.
        results: What was computed so far.

    Returns:
        The sheet.
    """
    records = [record for number in sorted(results) for record in results[number].records]
    cells = cells_of.build(plan, results)
    return Sheet(
        table=plan.table,
        profile=plan.request.profile,
        banner=str(plan.base.profile.banner),
        cells=cells,
        records={record["key"]: record for record in records},
        seeds=len(plan.seeds),
        changes=plan.request.of_numbers,
        stand_ins=cells_of.letters(plan),
        extra={
            f"Δ {column}": {
                cell.row: _difference(cell.difference)
                for cell in cells
                if cell.column == column and cell.difference is not None
            }
            for column in (plan.table.shown if plan.table.compared else ())
        },
    )


def _difference(found: Difference) -> str:
    said = "—" if found.p is None else "< 0.001" if found.p < _SMALLEST_P else f"{found.p:.3f}"
    return f"{found.points:+.2f} (p {said})"


def kept_beside(record: Record, table: Table, folder: Path) -> list[Record]:
    """Find what other hardware measured of a timed table, so that no machine erases another's.

    Args:
        record: What this machine measured.
        table: The table.
        folder: As for `write`; the records that lie there count, wherever they were made.

    Returns:
        The record, then those of other devices and machines, the latest first.
    """
    there = records_in(_records_file(table, folder)).values()
    others = [one for one in there if _hardware(one) != _hardware(record)]
    return [record, *sorted(others, key=lambda one: str(one.get("started", "")), reverse=True)]


def _hardware(record: Record) -> tuple[str, object]:
    # Records from before a machine's instructions were known are of another machine than any now:
    # two processors of one name would else take each other's place.
    return record["scores"]["device"], record["hardware"]


def timed_sheet(table: Table, profile: str, banner: str, records: Sequence[Record]) -> Sheet:
    """Put together all that is printed of a timed table; nothing is measured for it.

    Args:
        table: The table.
        profile: Name of the profile.
        banner: What the profile wants said above all speeds.
        records: Of `sbert_repro.benchmarks.table_7`, from the ledger or from a committed file, 1 or
            more. The first one of a device fills its column; the others are only kept.

    Returns:
        The sheet.
    """
    shown: dict[str, Record] = {}
    for record in records:
        shown.setdefault(record["scores"]["device"], record)
    shown = {column.name: shown[column.name] for column in table.columns if column.name in shown}
    cells = cells_of.timed(table, shown, profile)
    several = len(shown) > 1
    machines = [machine(one) + (f" ({name})" if several else "") for name, one in shown.items()]
    speed = fact("speed_only", machine=" and ".join(machines), timed=[])  # the legend says what
    extra: dict[str, dict[str, str]] = {}
    for name in shown:
        mine = [cell for cell in cells if cell.column == name and cell.gflops]
        for heading in _ARITHMETIC:
            words = {cell.row: _arithmetic(cell)[heading] for cell in mine}
            extra[f"{name}: {heading}" if several else heading] = words
    others = [one for one in records if one not in shown.values()]
    kept = [f"{one['scores']['device']} of {machine(one)} (`{one['key']}`)" for one in others]
    return Sheet(
        table=table,
        profile=profile,
        banner=" ".join(filter(None, [banner.strip(), f"{sentence(speed)}."])),
        cells=cells,
        records={record["key"]: record for record in records},
        extra=extra,
        conditions=[
            *(line for one in shown.values() for line in _conditions(one)),
            "Useful GFLOP/s count no padding; the share is of the ceiling in a row's precision.",
            "The command below with `again=true` times the column of this machine's device again.",
            *([f"Kept in its records and not shown: {'; '.join(kept)}."] if kept else []),
        ],
    )


_ARITHMETIC = ("useful GFLOP/s", "of the ceiling")


def _arithmetic(cell: Cell) -> dict[str, str]:
    """Return the further columns of a speed by their headings, where its arithmetic is counted.

    A peer may compute in a precision that this machine has no ceiling of: it has no share.
    """
    if cell.gflops is None:
        return {}
    share = "" if cell.share is None else f"{100 * cell.share:.0f} %"
    return dict(zip(_ARITHMETIC, (f"{cell.gflops:,.0f}", share), strict=True))


def _conditions(record: Record) -> list[str]:
    """Say how the column of a device was measured."""
    scores, versions = record["scores"], record["versions"]
    disturbed = [one for one in record["facts"] if one["code"] == "busy"]
    of_texts = [one for one in record["facts"] if one["code"] != "busy"]
    ceilings = sorted(scores["ceiling_gflops"].items(), reverse=True)
    ceiling = ", ".join(f"{gflops:,.0f} in {precision}" for precision, gflops in ceilings)
    libraries = ("python", "torch", "transformers", "numpy")
    device = scores["device"]
    return [
        f"{device}: {'; '.join(sentences(of_texts))}, tokenisation included; "
        f"{scores['repeats']} repeats of each row, in turns, after a warm-up.",
        f"{device}: {machine(record)}; {scores['threads']} threads; "
        f"{', '.join(f'{name} {versions[name]}' for name in libraries)}.",
        f"{device}, ceiling: the four matrix products of a BERT layer alone, timed in the same "
        f"turns, in GFLOP/s: {ceiling}.",
        *(f"{device}: {sentence(one)}." for one in disturbed),
    ]


# Files


def write(sheet: Sheet, folder: Path) -> list[Path]:
    """Write CSV, Markdown and the records behind them; the same sheet gives the same bytes.

    Args:
        sheet: The table.
        folder: Usually `results/<profile>`.

    Returns:
        The files.

    Raises:
        UserError: The folder cannot be written.
    """
    name = sheet.table.file
    contents = {
        folder / f"{name}.csv": as_csv(sheet),
        folder / f"{name}.md": as_markdown(sheet),
        _records_file(sheet.table, folder): as_json(sheet),
    }
    for path, text in contents.items():
        write_file(path, masked(text))
    return list(contents)


def _records_file(table: Table, folder: Path) -> Path:
    return folder / "records" / f"{table.file}.json"


def numbers_lost(sheet: Sheet, folder: Path) -> str:
    """Say in how many numbers a table falls short of the file that it would replace.

    Args:
        sheet: The table.
        folder: As for `write`.

    Returns:
        "0 numbers, and the file has 13"; "" when none is lost.
    """
    path = folder / f"{sheet.table.file}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            there = sum(bool(line.get("ours")) for line in csv.DictReader(stream))
    except (OSError, ValueError, csv.Error):
        return ""
    now = sum(cell.ours is not None for cell in sheet.cells)
    return f"{now} numbers, and the file has {there}" if now < there else ""


def mends(sheet: Sheet) -> list[str]:
    """List, each once, what would fill the cells whose models, data or libraries are not here."""
    reasons = [reason for cell in sheet.cells for reason in cell.reasons]
    return list(dict.fromkeys(one.mend for one in reasons if one.code == "missing" and one.mend))


def as_csv(sheet: Sheet) -> str:
    """Return one line per cell, with the columns `COLUMNS`; what does not exist is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    digits = 2 if sheet.table.timed else 4
    for cell in sheet.cells:
        low, high = cell.interval or (None, None)
        numbers = {
            "paper": cell.paper,
            "ours": cell.ours,
            "sd": cell.sd,
            "ci_low": low,
            "ci_high": high,
            "delta": cell.delta,
        }
        writer.writerow(
            {
                "table": sheet.table.name,
                "row": cell.row,
                "column": cell.column,
                "metric": cell.metric,
                **{n: "" if v is None else round(v, digits) for n, v in numbers.items()},
                "n": "" if sheet.table.timed and cell.ours is None else cell.n,
                "verdict": cell.verdict,
                "note": "; ".join(
                    filter(
                        None,
                        [
                            reason_of(cell),
                            _stand_in(cell),
                            *notes_of(cell),
                            *_extra(cell),
                        ],
                    )
                ),
                "run_keys": " ".join(cell.keys),
                "command": cell.command,
            }
        )
    return text.getvalue()


def _extra(cell: Cell) -> list[str]:
    """Return the further columns of the Markdown table as words: "48 % of the ceiling"."""
    if cell.difference is not None:
        return [f"{_difference(cell.difference)} from the first row of its block"]
    return [f"{words} {heading}" for heading, words in _arithmetic(cell).items() if words]


def as_json(sheet: Sheet) -> str:
    """Return cells seed by seed and the records behind them: what makes a number checkable."""
    content: dict[str, Any] = {"records": dict(sheet.records)}
    if not sheet.table.timed:
        content |= {"table": sheet.table.name, "profile": sheet.profile}
        content["cells"] = [
            {"paper_row": cell.row, "column": cell.column, **cells_of.stored(cell)}
            for cell in sheet.cells
        ]
    else:
        shown = {cell.column: cell.keys[0] for cell in sheet.cells if cell.keys}
        if len(shown) < len(sheet.records):
            content["shown"] = shown  # the others are kept for when their machine measures again
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def as_markdown(sheet: Sheet) -> str:
    """Return heading, banner, the paper's shape, legend, notes, and how to get each row again."""
    banner = [f"> **{sheet.banner.strip()}**", ""] if sheet.banner.strip() else []
    if sheet.changes:
        banner += [f"> Changed on the command line: `{' '.join(sheet.changes)}`", ""]
    legend = [f"- {line}" for line in legend_of(sheet)]
    return "\n".join(
        [
            f"# {sheet.table.heading} (profile {sheet.profile})",
            "",
            *banner,
            f"{sheet.table.caption} {_how_to_read(sheet)}",
            "",
            *_markdown_grid(sheet),
            "",
            *([_what_letters_say(sheet), "", *legend, ""] if legend else []),
            *_section("Notes", notes(sheet)),
            *_section("How it was made", [f"- {line}" for line in origin_of(sheet)]),
            "<details>",
            "<summary>Commands and runs</summary>",
            "",  # without it GitHub shows what follows as it is typed
            *_commands(sheet),
            "",
            "</details>",
            "",
        ]
    )


def _what_letters_say(sheet: Sheet) -> str:
    if sheet.table.timed:
        return "What was timed:"
    return (
        "What ran in place of the paper's (a letter means the same in all tables of the profile):"
    )


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""] if lines else []


def _how_to_read(sheet: Sheet) -> str:
    cell = "ours [slowest, fastest repeat] (the paper's)"
    if not sheet.table.timed:
        spread = f" ± sd over {sheet.seeds} seeds" if sheet.seeds > 1 else ""
        cell = f"ours{spread} (the paper's)"
    marks = "".join(_marked(sheet).marks.values())
    letters = "a letter marks what stands in for the paper's model or data"
    letters = "a letter says what was timed" if sheet.table.timed else letters
    said = [letters] if any(mark.isalpha() for mark in marks.split()) else []
    said += ["a number leads to a note"] if any(mark.isdigit() for mark in marks.split()) else []
    return "; ".join([f"Each cell: {cell}", "— means not run", *said]) + "."


def _markdown_grid(sheet: Sheet) -> list[str]:
    names = _headings(sheet)
    lines = [joined(["", *names]), joined(["---", *("---:" for _ in names)])]
    for label, words in _grid(sheet):
        label = label if words else f"**{label}**"
        lines.append(joined([label, *(words or [""] * len(names))]))
    return lines


def _headings(sheet: Sheet) -> list[str]:
    marks = _marked(sheet).marks
    return [*(f"{name}{marks.get(('', name), '')}" for name in sheet.table.shown), *sheet.extra]


def _grid(sheet: Sheet) -> list[tuple[str, list[str]]]:
    """Return label and cells of each line; a section's heading has no cells."""
    lines: list[tuple[str, list[str]]] = []
    section, marks = "", _marked(sheet).marks
    for row in sheet.table.rows:
        if row.section and row.section != section:
            section = row.section
            lines.append((section, []))
        mine = {cell.column: cell for cell in sheet.cells if cell.row == row.name}
        words = [
            f"{shown(mine.get(name), timed=sheet.table.timed)}{marks.get((row.name, name), '')}"
            for name in sheet.table.shown
        ]
        words += [of_rows.get(row.name, "") for of_rows in sheet.extra.values()]
        lines.append((f"{row.prints or row.name}{marks.get((row.name, ''), '')}", words))
    return lines


def shown(cell: Cell | None, *, timed: bool = False) -> str:
    """Return a cell as `ours ± sd (paper)`, a speed as `ours [slowest, fastest] (paper)`.

    Args:
        cell: The cell; None where the paper has none.
        timed: Whether it is a speed.

    Returns:
        The words.
    """
    if cell is None:
        return ""
    form = ",.0f" if timed else ".2f"
    ours = "—" if cell.ours is None else f"{cell.ours:{form}}"
    if timed and cell.interval is not None:
        ours += f" [{cell.interval[0]:,.0f}, {cell.interval[1]:,.0f}]"
    ours += "" if cell.sd is None else f" ± {cell.sd:.2f}"
    if cell.paper is None:
        return ours
    paper = f"{cell.paper:{form}}" + ("" if cell.paper_sd is None else f" ± {cell.paper_sd:.2f}")
    return f"{ours} ({paper})"


def joined(words: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    # A bar inside a cell, as in |u-v|, would end the cell.
    return f"| {' | '.join(word.replace('|', '&#124;') for word in words)} |"


def _commands(sheet: Sheet) -> list[str]:
    """Return each command once, with its rows and the keys of the records behind their cells."""
    lines: list[str] = []
    for command in dict.fromkeys(cell.command for cell in sheet.cells if cell.command):
        mine = [cell for cell in sheet.cells if cell.command == command]
        keys = dict.fromkeys(key for cell in mine for key in cell.keys)
        runs = " ".join(f"`{key}`" for key in keys) or "none yet"
        lines += [f"- {_named(mine, sheet.cells)}", f"  - `{command}`", f"  - runs: {runs}"]
    return lines or ["No row of this table can be run yet."]


def _named(mine: Sequence[Cell], cells: Sequence[Cell]) -> str:
    """Name rows, with their columns where those are not all of the row."""
    columns = dict.fromkeys(cell.column for cell in mine)
    several = len({cell.row for cell in mine}) > 1
    if several and len(mine) == sum(cell.column in columns for cell in cells):
        return "All rows" if len(mine) == len(cells) else f"All rows, {_columns(columns)}"
    names = []
    for row in dict.fromkeys(cell.row for cell in mine):
        own = [cell.column for cell in mine if cell.row == row]
        total = sum(cell.row == row for cell in cells)
        names.append(row if len(own) == total else f"{row}, {_columns(own)}")
    return "; ".join(names)


def _columns(names: Collection[str]) -> str:
    return f"{'column' if len(names) == 1 else 'columns'} {', '.join(names)}"


# The screen


def on_screen(sheet: Sheet) -> Group:
    """Lay a table out for the screen, with its legend and notes below."""
    grid = Grid(title=sheet.table.heading, box=box.SIMPLE_HEAD)
    grid.add_column("ours (the paper's)", overflow="fold")
    for name in _headings(sheet):
        grid.add_column(name, justify="right")
    for label, words in _grid(sheet):
        grid.add_row(
            escape(label) if words else f"[bold]{escape(label)}[/bold]", *map(escape, words)
        )
    said = [sheet.banner.strip(), *legend_of(sheet), *notes(sheet), *origin_of(sheet)]
    return Group(grid, Text("\n".join(line for line in said if line)))


def dry_run(plan: Plan, cost: Cost) -> Group:
    """Lay a plan out for the screen: what is done, what is left, what cannot be run and why.

    Args:
        plan: The plan.
        cost: What is left.

    Returns:
        A line for every model of every row, reasons in full and sums below.
    """
    grid = Grid(
        title=f"{plan.table.heading}, profile {plan.request.profile}",
        box=box.SIMPLE_HEAD,
    )
    for name in ("row", "columns", "seed", "training run", "scores", "state"):
        grid.add_column(name, overflow="fold", no_wrap=name != "columns")
    reasons = list(dict.fromkeys(job.reason.advice for job in plan.jobs if job.reason))
    for jobs in _alike(plan):
        grid.add_row(*(escape(word) for word in _planned(jobs, reasons)))
    below = [f"({number}) {reason}" for number, reason in enumerate(reasons, 1)]
    states: Counter[str] = Counter()
    for job in plan.jobs:
        state = "cannot be run" if job.reason else "done" if job.done else "missing"
        states[state] += len(job.columns)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    seeds = f"seeds of a trained row: {len(plan.seeds)}, in profile paper {plan.table.seeds}"
    below += [f"Cells, seed by seed: {counts} ({seeds}).", left(cost)]
    below += [
        f"Shared, trained once: {count} of {', '.join(rows)}."
        for rows, count in shared(plan).items()
    ]
    return Group(grid, Text("\n".join(below)))


def _alike(plan: Plan) -> list[list[Job]]:
    """Group the seeds of a row that cannot be told apart, because no key is known."""
    groups: dict[object, list[Job]] = {}
    for job in plan.jobs:
        unknown = job.reason and not any(stage.key for stage in job.stages)
        same = (job.row.name, job.columns, job.reason, job.part)
        groups.setdefault(same if unknown else job.number, []).append(job)
    return list(groups.values())


def _planned(jobs: list[Job], reasons: list[str]) -> list[str]:
    job = jobs[0]
    seeds = f"{job.seed}" if len(jobs) == 1 else f"{job.seed}–{jobs[-1].seed}"
    finished = [record for record in job.scores.values() if record is not None]
    scores = f"{len(finished)} of {len(job.tasks)} done"
    if len(finished) == len(job.tasks) == 1:
        scores = f"{finished[0]['key']} done"
    state = "done" if job.done else "missing"
    if job.reason:
        number = reasons.index(job.reason.advice) + 1
        state = f"{'needs' if job.config is not None else '—'} ({number})"
    return [
        f"{job.row.name} {job.part}".rstrip(),
        ", ".join(column.name for column in job.columns),
        seeds if job.row.trained else "–",
        "\n".join(_run(stage) for stage in job.stages) or "–",
        scores,
        state,
    ]


def _run(stage: Stage) -> str:
    if stage.key is None:
        return "not known yet"
    if stage.record is None:
        return f"{stage.key} missing"
    return f"{stage.record['key']} done"  # an earlier version may have stored it under another key


def left(cost: Cost) -> str:
    """Say what is left of a table, and how long its like took."""
    if not cost.trainings + cost.scores:
        return "Nothing is left to do."
    said = f"Left to do: {cost.trainings} trainings, {cost.scores} scores"
    said += (
        f", {cost.blocked} of them blocked because something is missing." if cost.blocked else "."
    )
    if not cost.like:
        return f"{said} Nothing like them has been measured yet, so there is no estimate."
    return f"{said} {spent(cost)}"


def spent(cost: Cost) -> str:
    """Say how long the like of what is left took, and of how much of it that can be said.

    Args:
        cost: What is left, some of it measured.

    Returns:
        A sentence.
    """
    counts = (
        (cost.known_trainings, cost.trainings, "trainings"),
        (cost.known_scores, cost.scores, "scores"),
    )
    of = " and ".join(f"{known} of {total} {what}" for known, total, what in counts if total)
    where = "; ".join(sorted({machine(record) for record in cost.like}))
    hours = f"{in_words(cost.seconds)} ({cost.seconds / _HOUR:.2f} h)"
    rest = "; nothing like the others has been measured" if cost.unmeasured else ""
    return f"About {hours} for {of}, as measured on {where}{rest}."


def all_tables(total: AllTables, trainings: Cost, profile: str) -> list[str]:
    """Say what all tables together would take.

    Args:
        total: What is left.
        trainings: What is left of trainings.
        profile: The profile's name.

    Returns:
        One line per table, then the sum, the hours of trainings whose like was measured, and what
        is missing on this machine with the command that gets it.
    """
    lines = []
    for name, cost, shares, unplanned in total.tables:
        if cost is None:
            lines.append(f"Table {name}: timed, nothing is trained.")
            continue
        also = f" ({shares} of them shared with tables above)" if shares else ""
        rows = (
            "1 row is not counted: it"
            if unplanned == 1
            else f"{unplanned} rows are not counted: they"
        )
        rest = f" {rows} cannot be planned here (see its own dry run)."
        lines.append(
            f"Table {name}: {cost.trainings} trainings{also}, {cost.scores} scores, "
            f"{cost.blocked} of both blocked.{rest if unplanned else ''}"
        )
    lines.append(
        f"All tables, profile {profile}: {trainings.trainings} trainings, {trainings.blocked} of "
        f"them blocked, and {len(total.scores)} scores; what tables share counts once."
    )
    if trainings.like:
        lines.append(f"{spent(trainings)} Scores are not in it.")
    if total.missing:
        lines.append("Missing (in front: how many models of rows wait for it):")
        lines += [f"  {count:5} {found}" for found, count in total.missing.most_common()]
        lines.append("`make data` gets all of it, or says at its end what to fetch by hand.")
    return lines


# Sentences


def caption_of(caption: Caption) -> str:
    """Say what a model is: "all-MiniLM-L6-v2 fine-tuned on 4,000 NLI pairs, classification …".

    Args:
        caption: Its fields.

    Returns:
        The words.
    """
    said = caption.encoder
    if caption.trainings:
        verb = "trained" if caption.trainings[0].from_scratch else "fine-tuned"
        said += f" {verb} on {', then on '.join(map(_training, caption.trainings))}"
    if caption.pooling:
        said += f", {caption.pooling}"
        said += "" if caption.layer == "last" else f" of layer {caption.layer}"
    instead = [f"on {used} instead of {paper}" for used, paper in caption.instead_of_data]
    return ", ".join([said, *instead])


def _training(stage: Training) -> str:
    said = _TRAINED_ON.get(stage.part, "") + (
        stage.data if stage.rows is None else f"{stage.rows:,} {stage.data} {stage.unit}"
    )
    said += f" for {stage.steps:,} steps" if stage.steps else ""
    parts = f" ({', '.join(stage.concatenation)})" if stage.concatenation else ""
    return f"{said}, {stage.loss}{parts}"


def legend_of(sheet: Sheet) -> list[str]:
    """Return a line for each letter: what ran, and in place of what."""
    run = [cell for cell in _in_sight(sheet) if cell.ours is not None]
    lines, stand_ins = [], footnotes.by_word(run)
    for word, letter in footnotes.letters(run, sheet.stand_ins).items():
        one = stand_ins[word][0][0]
        known = footnotes.fact_of_model([cell for _, cell in stand_ins[word]])
        ran = sentence(known) if known else _what_ran(one)
        papers = " and ".join(dict.fromkeys(one.paper for one, _ in stand_ins[word] if one.paper))
        lines.append(f"{letter} {ran}{f', in place of {papers}' if papers else ''}")
    return lines


def _what_ran(one: StandIn) -> str:
    if not one.trainings:
        return one.ran
    stages = ", then on ".join(map(_training, one.trainings))
    return f"{one.ran}, trained here on {stages}, {one.pooling} pooling"


def _in_sight(sheet: Sheet) -> list[Cell]:
    return [cell for cell in sheet.cells if cell.column in sheet.table.shown]


def _marked(sheet: Sheet) -> Marked:
    seen = _in_sight(sheet)
    return footnotes.marked(seen, sheet.table.shown, sheet.stand_ins, _remarks(sheet, seen))


def _remarks(sheet: Sheet, seen: Sequence[Cell]) -> list[Remark]:
    """Collect what is to be said of cells, each sentence once."""
    run = tuple(cell for cell in seen if cell.ours is not None)
    # Of a timed row one column has a number, so a note on that is a note on the row.
    noted = run if sheet.table.timed else tuple(seen)
    known = [one for cell in run for one in cell.facts]
    of_cells: list[tuple[tuple[Cell, ...], Callable[[Cell], list[str]]]] = [
        (run, lambda cell: by_data_set(footnotes.other_facts(cell, known))),
        (noted, lambda cell: [cell.note] if cell.note else []),
        (tuple(seen), _no_number),
        (tuple(seen), _collapsed),
    ]
    found = []
    for among, say in of_cells:
        about: dict[str, list[Cell]] = {}
        for cell in among:
            for words in say(cell):
                about.setdefault(words, []).append(cell)
        found += [Remark(_ended(words), tuple(mine), among) for words, mine in about.items()]
    return found


def _ended(words: str) -> str:
    return words if words.endswith((".", "…")) else f"{words}."


def _stand_in(cell: Cell) -> str:
    if cell.caption is None:
        return ""
    return f"{'stand-in: ' if cell.stand_in else ''}{caption_of(cell.caption)}"


def notes_of(cell: Cell) -> list[str]:
    """Return what a reader has to know about a cell, beside its caption and its reason."""
    return [*sentences(cell.facts), *filter(None, [cell.note])]


def reason_of(cell: Cell) -> str:
    """Say why a cell has no number, or why runs are missing; "" when all is there."""
    done, wanted = cell.runs
    if cell.reasons:
        distinct = "; ".join(dict.fromkeys(_reason(reason) for reason in cell.reasons))
        runs = f"{done} of {wanted} {'runs' if cell.of_parts else 'seeds'}; " if done else ""
        return runs + distinct
    if undefined := [seed for seed, score in cell.scores.items() if score is None]:
        # An encoder that is used as it is has no seeds to name.
        whose = f"seed {', '.join(map(str, undefined))}: " if undefined != [UNTRAINED] else ""
        return f"{whose}all similarities are equal, no correlation is defined"
    return f"no mean without {', '.join(cell.mean_without)}" if cell.mean_without else ""


def _reason(reason: Reason) -> str:
    said = f"failed: {reason.found}" if reason.failed else reason.found
    return textwrap.shorten(said, _LONGEST_REASON, placeholder=" …")


def notes(sheet: Sheet) -> list[str]:
    """Return what has to be known of single rows, columns and cells, then of the whole table.

    Args:
        sheet: The table.

    Returns:
        "1. …" for the mark ¹, and so on; "- …" without a mark.
    """
    found = _marked(sheet)
    unseen = [cell for cell in sheet.cells if cell.column not in sheet.table.shown]
    hidden = [
        f"{_named([cell], sheet.cells)}: {said}" for cell in unseen for said in _collapsed(cell)
    ]
    return [
        *(f"{number}. {note}" for number, note in enumerate(found.notes, 1)),
        *(f"- {note}" for note in [*found.on_all, *hidden]),
    ]


def origin_of(sheet: Sheet) -> list[str]:
    """Return the verdicts, and where the numbers come from.

    Args:
        sheet: The table.

    Returns:
        A line each.
    """
    made = sheet.conditions or [_seeds(sheet), *_provenance(list(sheet.records.values()))]
    return [_verdicts(sheet), *made]


def _no_number(cell: Cell) -> list[str]:
    if not (said := reason_of(cell)):
        return []
    if cell.ours is None and cell.reasons == (cells_of.NOT_YET,):
        return ["Not run yet"]
    without = "Not run" if cell.reasons else "No score"
    return [f"{without if cell.ours is None else 'Incomplete'}: {said}"]


def _collapsed(cell: Cell) -> list[str]:
    found = []
    defined = [score for score in cell.scores.values() if score is not None]
    middle = statistics.median(defined) if defined else 0.0
    for seed, score in cell.scores.items():
        if score is None and cell.reasons:  # otherwise the reason says so
            found.append(f"Seed {seed} gave equal similarities for all pairs: no correlation.")
        elif score is not None and middle - score > _COLLAPSED:
            found.append(
                f"Seed {seed} scored {score:.2f}, where the median is {middle:.2f}; it counts."
            )
    return found


def _seeds(sheet: Sheet) -> str:
    wanted = sheet.table.seeds
    few = f" ({wanted} in profile paper)" if sheet.seeds < wanted else ""
    if sheet.seeds == 1:
        return f"Seeds: 1 for each trained row{few}, hence no ±."
    spread = "± is the sample standard deviation over them."
    return f"Seeds: {sheet.seeds} for each trained row{few}; {spread}"


def _provenance(records: Sequence[Record]) -> list[str]:
    """Say on what hardware, in what time and by which code the records were made."""
    if not records:
        return ["Nothing has been run yet."]
    spent = []
    for kind, work, unit in (("train", "training", "run"), ("evaluate", "evaluation", "score")):
        times = [seconds_of(record) for record in records if record["kind"] == kind]
        count = f"{len(times):,} {unit}{'' if len(times) == 1 else 's'}"
        spent += [f"{in_words(sum(times))} of {work} ({count})"] if times else []
    code = [f"`{one}`" for one in dict.fromkeys(map(code_of, records))]
    return [
        f"Time: {', '.join(spent)}.",
        f"Hardware: {'; '.join(dict.fromkeys(map(machine, records)))}.",
        f"Code: {'commit' if len(code) == 1 else 'commits'} {', '.join(code)}.",
    ]


def in_words(seconds: float) -> str:
    """Say a duration: "2.5 h", "12 min" or "40 s"."""
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _MINUTE:.0f} min" if seconds >= _MINUTE else f"{seconds:.0f} s"


def code_of(record: Record) -> str:
    """Name the commit that a record was made with, and say when the code differed from it."""
    state = record.get("git") or {}
    commit = str(state.get("commit") or "no commit")[:12]
    return f"{commit} with changes" if state.get("dirty") else commit


def _verdicts(sheet: Sheet) -> str:
    counts = Counter(cell.verdict for cell in sheet.cells)
    said = [f"{counts[name]} {name} ({VERDICTS[name]})" for name in VERDICTS if counts[name]]
    compared = any(counts[name] for name in ("match", "near", "off"))
    tolerance = f" The tolerance is {sheet.table.tolerance:g}." if compared else ""
    return f"Verdicts: {'; '.join(said)}.{tolerance}"
