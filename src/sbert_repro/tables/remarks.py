"""What stands below a table: where its numbers come from and how they are to be read."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sbert_repro.tables.outcome import VERDICTS, Cell

if TYPE_CHECKING:
    from sbert_repro.tables.render import Sheet

_HOUR, _MINUTE = 3600, 60
_COLLAPSED = 10.0
"""A seed so many points below the others' median is shown by itself (a degenerate run)."""


def lines(sheet: Sheet) -> list[str]:
    """All remarks on a table.

    Args:
        sheet: The table.

    Returns:
        One paragraph each.
    """
    return [
        *_grouped("", sheet.cells, lambda cell: cell.notes),
        *_grouped("no number: ", sheet.cells, lambda cell: [cell.reason] if cell.reason else []),
        *_collapsed(sheet.cells),
        _seeds(sheet),
        *_made(list(sheet.records.values())),
        _verdicts(sheet),
    ]


def _grouped(start: str, cells: Sequence[Cell], said: Any) -> list[str]:
    """Each distinct remark once, with the rows, or cells, that it is about."""
    about: dict[str, list[Cell]] = {}
    for cell in cells:
        for remark in said(cell):
            about.setdefault(remark, []).append(cell)
    return [f"{_places(mine, cells)}: {start}{remark}" for remark, mine in about.items()]


def _places(mine: Sequence[Cell], cells: Sequence[Cell]) -> str:
    """Rows by name where the whole row is meant, otherwise rows with their columns."""
    names = []
    for row in dict.fromkeys(cell.paper_row for cell in mine):
        columns = [cell.column for cell in mine if cell.paper_row == row]
        total = sum(cell.paper_row == row for cell in cells)
        names.append(row if len(columns) == total else f"{row} [{', '.join(columns)}]")
    whole = len(mine) == len(cells) and len(names) > 1
    return "All rows" if whole else ", ".join(names)


def _collapsed(cells: Iterable[Cell]) -> list[str]:
    found = []
    for cell in cells:
        defined = {seed: score for seed, score in cell.scores.items() if score is not None}
        middle = statistics.median(defined.values()) if defined else 0.0
        for seed, score in cell.scores.items():
            where = f"{cell.paper_row} [{cell.column}]: seed {seed}"
            if score is None:
                found.append(f"{where} gave equal similarities for all pairs: no correlation.")
            elif middle - score > _COLLAPSED:
                found.append(f"{where} scored {score:.2f}, the median is {middle:.2f}; it counts.")
    return found


def _seeds(sheet: Sheet) -> str:
    wanted = sheet.table.seeds
    few = f" ({wanted} in profile paper)" if sheet.seeds < wanted else ""
    spread = (
        "± is the sample standard deviation over them." if sheet.seeds > 1 else "No ± from one."
    )
    plural = "seeds" if sheet.seeds > 1 else "seed"
    return f"Trained cells: {sheet.seeds} {plural}{few}. {spread}"


def _made(records: Sequence[dict[str, Any]]) -> list[str]:
    """Hardware, time and code of the records."""
    if not records:
        return ["Nothing has been run yet."]
    machines = dict.fromkeys(machine(record) for record in records)
    said = [f"Hardware: {'; '.join(machines)}."]
    spent = [f"{_duration(records, kind)}" for kind in ("train", "evaluate")]
    said.append(f"Time: training {spent[0]}, evaluation {spent[1]}.")
    said.append(f"Code: {'; '.join(dict.fromkeys(_code(record) for record in records))}.")
    return said


def machine(record: dict[str, Any]) -> str:
    """Where a record was made.

    Args:
        record: Of the ledger.

    Returns:
        "AMD EPYC, 2 cores, 24 GiB"; threads are named where they are not as many as the cores.
    """
    here = record.get("hardware", {})
    gpus = Counter(here.get("gpus") or [])
    cards = "".join(f", {count} × {name}" for name, count in gpus.items())
    memory = f", {here['ram_gib']:.0f} GiB" if here.get("ram_gib") else ""
    count = here.get("cores", "?")
    cores = "1 core" if count == 1 else f"{count} cores"
    number = record.get("threads", count)
    threads = "" if number == count else ", 1 thread" if number == 1 else f", {number} threads"
    return f"{here.get('cpu') or 'unknown CPU'}, {cores}{memory}{cards}{threads}"


def timed_banner(said: str, record: dict[str, Any], labels: Iterable[str]) -> str:
    """What stands above speeds: they are of a machine, and of networks that are named here.

    Args:
        said: What the profile wants said of all speeds, or nothing.
        record: Of the ledger.
        labels: Encoders that were timed.

    Returns:
        A line of Markdown.
    """
    own = (
        f"SPEED ONLY: no number here is a score. Measured on {machine(record)}, not on the paper's "
        f"hardware. What was timed: {'; '.join(dict.fromkeys(labels))}."
    )
    return f"> **{' '.join(filter(None, [said.strip(), own]))}**"


def _duration(records: Sequence[dict[str, Any]], kind: str) -> str:
    times = [seconds_of(record) for record in records if record["kind"] == kind]
    return f"{in_words(sum(times))} ({len(times)} records)"


def seconds_of(record: dict[str, Any]) -> float:
    """How long a record took; the time before an interruption counts too.

    Args:
        record: Of the ledger.

    Returns:
        Seconds.
    """
    # The wall clock starts anew when a run goes on; the steps are timed over all its parts.
    return max(record.get("wall_seconds") or 0.0, record.get("train_seconds") or 0.0)


def in_words(seconds: float) -> str:
    """A duration as a person says it.

    Args:
        seconds: The duration.

    Returns:
        "2.5 h", "12 min" or "40 s".
    """
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _MINUTE:.0f} min" if seconds >= _MINUTE else f"{seconds:.0f} s"


def _code(record: dict[str, Any]) -> str:
    state = record.get("git") or {}
    commit = str(state.get("commit") or "no commit")[:12]
    return f"{commit} with changes" if state.get("dirty") else commit


def _verdicts(sheet: Sheet) -> str:
    counts = Counter(cell.verdict(sheet.table.tolerance) for cell in sheet.cells)
    said = [f"{name} {counts[name]} ({VERDICTS[name]})" for name in VERDICTS if counts[name]]
    return f"Verdicts, tolerance {sheet.table.tolerance:g}: {'; '.join(said)}."
