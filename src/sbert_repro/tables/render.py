"""A table as files: tidy CSV for programs, Markdown in the paper's shape for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbert_repro.redaction import masked
from sbert_repro.storage import write_file
from sbert_repro.tables import remarks
from sbert_repro.tables.outcome import Cell
from sbert_repro.tables.spec import Table

COLUMNS = (
    "table row column metric paper ours sd n ci_low ci_high delta verdict note run_keys command"
).split()
_DIGITS = 4


@dataclass(frozen=True)
class Sheet:
    """All that is printed of a table.

    Attributes:
        table: The table.
        profile: Name of the profile.
        banner: What the profile wants said above all.
        seeds: Seeds of each trained cell.
        changes: What was changed on the command line.
        cells: In the table's order.
        records: Ledger records behind the cells, by key.
    """

    table: Table
    profile: str
    banner: str
    seeds: int
    changes: Sequence[str]
    cells: Sequence[Cell]
    records: Mapping[str, dict[str, Any]]


def write(sheet: Sheet, folder: Path) -> list[Path]:
    """Write the CSV, the Markdown and the records behind them; the same sheet gives the same bytes.

    Args:
        sheet: The table.
        folder: Usually `results/<profile>`.

    Returns:
        The files.

    Raises:
        UserError: The folder cannot be written.
    """
    name = f"table_{sheet.table.name}"
    contents = {
        folder / f"{name}.csv": as_csv(sheet),
        folder / f"{name}.md": as_markdown(sheet),
        folder / "records" / f"{name}.json": as_json(sheet),
    }
    for path, text in contents.items():
        write_file(path, masked(text))
    return list(contents)


def as_csv(sheet: Sheet) -> str:
    """One line a cell, with the columns `COLUMNS`; what does not exist is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cell in sheet.cells:
        writer.writerow(_line(sheet, cell))
    return text.getvalue()


def _line(sheet: Sheet, cell: Cell) -> dict[str, Any]:
    low, high = cell.interval or (None, None)
    numbers = {
        "paper": cell.paper,
        "ours": cell.ours,
        "sd": cell.sd,
        "ci_low": low,
        "ci_high": high,
        "delta": cell.delta,
    }
    return {
        "table": sheet.table.name,
        "row": cell.row,
        "column": cell.column,
        "metric": cell.metric,
        **{name: _rounded(value) for name, value in numbers.items()},
        "n": cell.n,
        "verdict": cell.verdict(sheet.table.tolerance),
        "note": "; ".join([*([cell.reason] if cell.reason else []), *cell.notes]),
        "run_keys": " ".join(cell.keys),
        "command": cell.command,
    }


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, _DIGITS)


def as_json(sheet: Sheet) -> str:
    """Cells seed by seed and the ledger records behind them: what makes a number checkable."""
    content = {
        "table": sheet.table.name,
        "profile": sheet.profile,
        "cells": [
            {
                "paper_row": cell.paper_row,
                "column": cell.column,
                "scores": {str(seed): score for seed, score in sorted(cell.scores.items())},
                "run_keys": list(cell.keys),
            }
            for cell in sheet.cells
        ],
        "records": dict(sorted(sheet.records.items())),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def as_markdown(sheet: Sheet) -> str:
    """Heading, banner, the paper's shape, notes, and how to get each row again."""
    banner = [f"> **{sheet.banner.strip()}**", ""] if sheet.banner.strip() else []
    if sheet.changes:
        banner += [f"> Changed on the command line: `{' '.join(sheet.changes)}`", ""]
    parts = [
        f"# Table {sheet.table.name}: {sheet.table.title} (profile {sheet.profile})",
        "",
        *banner,
        f"{sheet.table.caption} Each cell: ours{_spread(sheet)} (the paper's); — was not run.",
        "",
        *_grid(sheet),
        "",
        "## Notes",
        "",
        *(f"- {line}" for line in remarks.lines(sheet)),
        "",
        "## Commands and runs",
        "",
        *_commands(sheet),
    ]
    return "\n".join(parts) + "\n"


def _spread(sheet: Sheet) -> str:
    return f", mean ± sd over {sheet.seeds} seeds" if sheet.seeds > 1 else ""


def _grid(sheet: Sheet) -> list[str]:
    names = [column.name for column in sheet.table.columns]
    lines = [_joined(["", *names]), _joined(["---", *("---:" for _ in names)])]
    section = ""
    for row in sheet.table.rows:
        if row.section and row.section != section:
            section = row.section
            lines.append(_joined([f"**{section}**", *("" for _ in names)]))
        mine = {cell.column: cell for cell in sheet.cells if cell.paper_row == row.name}
        label = next(iter(mine.values())).row
        lines.append(_joined([label, *(shown(mine.get(name)) for name in names)]))
    return lines


def shown(cell: Cell | None) -> str:
    """A cell as `ours ± sd (paper)`; empty where the paper has none.

    Args:
        cell: The cell.

    Returns:
        The words.
    """
    if cell is None:
        return ""
    ours = "—" if cell.ours is None else f"{cell.ours:.2f}"
    spread = "" if cell.sd is None else f" ± {cell.sd:.2f}"
    paper_spread = "" if cell.paper_sd is None else f" ± {cell.paper_sd:.2f}"
    return f"{ours}{spread} ({cell.paper:.2f}{paper_spread})"


def _joined(words: Sequence[str]) -> str:
    # A bar inside a cell, as in |u-v|, would end the cell.
    return f"| {' | '.join(word.replace('|', '&#124;') for word in words)} |"


def _commands(sheet: Sheet) -> list[str]:
    """Each command of each row once, and the keys of the records behind its cells."""
    lines: list[str] = []
    for row in sheet.table.rows:
        mine = [cell for cell in sheet.cells if cell.paper_row == row.name and cell.command]
        for command in dict.fromkeys(cell.command for cell in mine):
            keys = [key for cell in mine if cell.command == command for key in cell.keys]
            runs = " ".join(f"`{key}`" for key in dict.fromkeys(keys)) or "none yet"
            lines += [f"- {mine[0].row}", f"  - `{command}`", f"  - runs: {runs}"]
    return lines or ["No row of this table can be run yet."]
