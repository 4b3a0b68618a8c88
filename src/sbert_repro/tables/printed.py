"""Tables as they stand in `results/<profile>`, read from the records behind them, not from the CSV.

Reading takes no model, no data and no torch: what is said of the tables (claims, drift, the
summary of verdicts) can be said in a fresh clone.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sbert_repro.errors import UserError
from sbert_repro.ledger import read_committed
from sbert_repro.tables import spec
from sbert_repro.tables.cells import Cell, restored, timed, unrun
from sbert_repro.tables.plan import Reason, Record
from sbert_repro.tables.render import VERDICTS
from sbert_repro.tables.spec import Table

HEADLINE = "headline"
HEADLINE_N = 10_000
"""Sentences of the paper's headline; a headline of others is another measurement."""


@dataclass(frozen=True)
class Printed:
    """A table as it was last printed.

    Attributes:
        table: The table.
        cells: In its order; without a number where nothing was printed.
        records: Ledger records behind them, by key.
    """

    table: Table
    cells: tuple[Cell, ...]
    records: Mapping[str, Record] = field(default_factory=dict)

    def cell(self, row: str, column: str) -> Cell:
        """Return a cell by its place."""
        return next(cell for cell in self.cells if (cell.row, cell.column) == (row, column))

    def keys(self, cell: Cell, kind: str) -> tuple[str, ...]:
        """Return the keys of those records behind a cell that are of a kind."""
        return tuple(key for key in cell.keys if self.records[key]["kind"] == kind)

    def parts(self, cell: Cell) -> list[Cell]:
        """Return the cells that one is the mean of; the cell itself where it is no mean."""
        means = {column.name: column.mean_of for column in self.table.columns}
        return [self.cell(cell.row, name) for name in means.get(cell.column, ())] or [cell]

    @property
    def verdicts(self) -> Counter[str]:
        """How many cells have each verdict."""
        return Counter(cell.verdict for cell in self.cells)


def read_all(folder: Path) -> dict[str, Printed]:
    """Read every table that has a file in configs/tables.

    Args:
        folder: Usually `results/<profile>`.

    Returns:
        Name → the table; one that was not printed has cells without numbers.

    Raises:
        UserError: A file is not what this program writes.
    """
    return {name: read(spec.load(name), folder) for name in spec.existing()}


def read(table: Table, folder: Path) -> Printed:
    """Read a table.

    Args:
        table: The table.
        folder: Usually `results/<profile>`.

    Returns:
        The table as it was last printed.

    Raises:
        UserError: Its file is not what this program writes.
    """
    path = folder / "records" / f"{table.file}.json"
    columns = [(row, column) for row in table.rows for column in table.columns]
    if table.timed:
        content = _content(path)
        if content is None:
            return Printed(table, tuple(unrun(table, row, column) for row, column in columns))
        records = content["records"]
        devices = {record["scores"]["device"]: key for key, record in records.items()}
        shown = {name: records[key] for name, key in content.get("shown", devices).items()}
        return Printed(table, tuple(timed(table, shown, "")), {r["key"]: r for r in shown.values()})
    scored = [(row, column) for row, column in columns if column.name in row.scored]
    content = _content(path) or {"records": {}, "cells": []}
    kept = {(one["paper_row"], one["column"]): one for one in content.get("cells", [])}
    try:
        cells = [
            restored(table, row, column, kept[row.name, column.name])
            if (row.name, column.name) in kept
            else unrun(table, row, column)
            for row, column in scored
        ]
    except KeyError as missing:
        raise UserError(
            f"written by an earlier version: its cells have no {missing.args[0]}",
            where=path,
            mend=f"print the table again: make {table.file.replace('_', '-')}",
        ) from None
    return Printed(table, tuple(cells), content["records"])


def headline(folder: Path, paper: Mapping[str, float]) -> Printed:
    """Read the headline as a timed table with one column, seconds.

    Args:
        folder: Usually `results/<profile>`.
        paper: The paper's seconds by row.

    Returns:
        Rows as in `headline.csv`; without numbers where other than 10,000 sentences were timed.

    Raises:
        UserError: The file is not what this program writes.
    """
    content = _content(folder / "records" / f"{HEADLINE}.json")
    table = Table(HEADLINE, "The most similar pair", "", 0, 1, (), (), timed=True)
    cells = [Cell(name, "seconds", "seconds", value) for name, value in paper.items()]
    if content is None:
        return Printed(table, tuple(cells))
    (record,) = content["records"].values()
    return Printed(table, tuple(_timed_once(cell, record) for cell in cells), content["records"])


def _timed_once(cell: Cell, record: Record) -> Cell:
    scores = record["scores"]
    if scores["n"] != HEADLINE_N:
        reason = Reason("sentences", f"timed on {scores['n']:,} sentences, not {HEADLINE_N:,}")
        return Cell(cell.row, cell.column, cell.metric, cell.paper, reasons=(reason,))
    ours = next(
        point["seconds"]
        for point in scores["points"]
        if (point["what"], point["n"]) == (cell.row, HEADLINE_N)
    )
    # What is extrapolated varies as what was timed for it.
    seconds = scores["seconds"]["pairs" if cell.row == "cross-encoder" else cell.row]
    scale = ours / statistics.median(seconds)
    return Cell(
        cell.row,
        cell.column,
        cell.metric,
        cell.paper,
        ours=ours,
        n=scores["repeats"],
        interval=(scale * min(seconds), scale * max(seconds)),
        keys=(record["key"],),
    )


def _content(path: Path) -> dict[str, Any] | None:
    return read_committed(path) if path.exists() else None


def summary(tables: Iterable[Printed]) -> list[str]:
    """Sum up the verdicts of tables, each in a line.

    Args:
        tables: As read.

    Returns:
        "Table 1: 40 stand-in, 32 not run".
    """
    lines = []
    for one in tables:
        counts = [f"{one.verdicts[name]} {name}" for name in VERDICTS if one.verdicts[name]]
        lines.append(f"{short_name(one.table.name)}: {', '.join(counts)}")
    return lines


def short_name(table: str) -> str:
    """Name a table in a sentence: "Table 1", "headline"."""
    return f"Table {table}" if table.isdecimal() else table
