"""Drift: what each cell gave when it was last accepted, and what has moved since.

`results/<profile>/expected.yaml` is written from the ledger's records behind the printed tables. A
cell may move by the tolerance of its kind, or by its own in `cells`, which people write and which
stays when results are accepted again.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sbert_repro.errors import UserError
from sbert_repro.ledger import machine
from sbert_repro.tables.cells import Cell
from sbert_repro.tables.printed import Printed, short_name
from sbert_repro.tables.render import reason_of

NAME = "expected.yaml"
TOLERANCES: dict[str, dict[str, Any]] = {
    "fixed": {
        "points": 0.02,
        "reason": "an encoder that is used as it is: other processors and libraries sum in another "
        "order, which moves the third digit at most",
    },
    "classified": {
        "points": 0.5,
        "reason": "classifiers are trained on its vectors: two seeds of them are up to half a "
        "point apart on the small tasks",
    },
    "trained": {
        "points": 1.0,
        "reason": "a training ends elsewhere on another processor or library, as with another "
        "seed: seeds, hardware and versions together move a score by about a point",
    },
    "timed": {
        "share": 0.25,
        "reason": "a speed, compared on the machine it was measured on only",
    },
}
"""What a new file begins with."""
_HEAD = """\
# What each cell gave when it was last accepted; `make accept-results` writes it from the records
# behind the tables, `make verify-results` compares. Tolerances may be changed here, and single
# cells may get one of their own under cells: [{table, row, column, points, reason}].
"""
_EXACT = 1e-4
"""Accepted numbers have four digits."""
Place = tuple[str, str, str]
"""Table, row and column of a cell."""


@dataclass(frozen=True)
class Moved:
    """A cell that is no longer as it was accepted.

    Attributes:
        place: The cell.
        accepted: The number then; None: there was none.
        now: The number now; None: there is none.
        allowed: How far it may move.
        reason: Why so far; of a cell without a number, why it has none.
    """

    place: Place
    accepted: float | None
    now: float | None
    allowed: float = 0.0
    reason: str = ""

    @property
    def counts(self) -> bool:
        """Whether it moved further than it may; a new number is no move."""
        if self.accepted is None:
            return False
        return self.now is None or abs(self.now - self.accepted) > self.allowed + _EXACT

    def __str__(self) -> str:
        """Say it in a line."""
        table, row, column = self.place
        name = f"{short_name(table)}, {row} [{column}]"
        if self.now is None:
            return f"{name}: {self.accepted:,.2f} accepted, no number now: {self.reason}"
        if self.accepted is None:
            return f"{name}: {self.now:,.2f} now, none accepted"
        moved = f"{self.now - self.accepted:+,.2f}, allowed {self.allowed:,.2f}: {self.reason}"
        return f"{name}: {self.accepted:,.2f} accepted, {self.now:,.2f} now ({moved})"


def accepted(tables: Mapping[str, Printed], before: Mapping[str, Any]) -> str:
    """Write down what the tables' records give.

    Args:
        tables: As they were printed, by name.
        before: What the file held; its tolerances stay.

    Returns:
        The new file.

    Raises:
        UserError: A table's cells are not what its records give.
    """
    content: dict[str, Any] = {
        "tolerances": before.get("tolerances", TOLERANCES),
        "cells": before.get("cells", []),
        "machines": {name: _machines(one) for name, one in tables.items() if one.table.timed},
        "tables": {},
    }
    for name, one in tables.items():
        rows: dict[str, dict[str, float]] = {}
        for cell in one.cells:
            if cell.ours is not None:
                rows.setdefault(cell.row, {})[cell.column] = round(of_records(one, cell), 4)
        if rows:
            content["tables"][name] = rows
    return _HEAD + yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=100)


def of_records(table: Printed, cell: Cell) -> float:
    """Compute a cell's number from the ledger's records alone.

    Args:
        table: The table.
        cell: One with a number.

    Returns:
        The number.

    Raises:
        UserError: It is not the one that was printed, so that one of the two was changed by hand.
    """
    assert cell.ours is not None
    if table.table.timed or cell.runs[0] < cell.runs[1]:
        return cell.ours  # read from its record; or not the mean of all that is there
    parts = table.parts(cell)
    found = [
        statistics.fmean(table.records[key]["scores"][part.metric] for key in keys)
        for part in parts
        if (keys := table.keys(part, "evaluate"))
    ]
    if len(found) < len(parts) or abs(statistics.fmean(found) - cell.ours) > _EXACT:
        where = f"{short_name(table.table.name)}, {cell.row} [{cell.column}]"
        raise UserError(
            f"{cell.ours:.4f} is not what the records behind it give",
            where=where,
            mend="print the table again",
        )
    return statistics.fmean(found)


def read(path: Path) -> dict[str, Any]:
    """Read what was accepted.

    Args:
        path: The file.

    Returns:
        Its content; empty when there is none.

    Raises:
        UserError: It cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not set(TOLERANCES) <= set(content["tolerances"]) or "tables" not in content:
            raise KeyError("tolerances or tables")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"not readable: {error}", where=path) from error
    return dict(content)


def compare(tables: Mapping[str, Printed], before: Mapping[str, Any]) -> Iterator[Moved]:
    """Compare what is printed now with what was accepted.

    Args:
        tables: As they were printed, by name.
        before: What was accepted.

    Yields:
        Every cell that has a number now or had one; that of a speed only where it was measured on
        the machine of then.
    """
    own = {(str(c["table"]), c["row"], c["column"]): c for c in before.get("cells") or ()}
    known = {
        (name, row, column): float(value)
        for name, rows in before.get("tables", {}).items()
        for row, columns in rows.items()
        for column, value in columns.items()
    }
    for place, value in known.items():
        one = tables.get(place[0])
        if one is None or all((cell.row, cell.column) != place[1:] for cell in one.cells):
            yield Moved(place, value, None, reason="there is no such cell any more")
    for name, one in tables.items():
        elsewhere = _machines(one).items() - before.get("machines", {}).get(name, {}).items()
        for cell in one.cells:
            if one.table.timed and cell.column in dict(elsewhere):
                continue
            place = (name, cell.row, cell.column)
            then = known.get(place)
            if cell.ours is None:
                if then is not None:
                    yield Moved(place, then, None, reason=reason_of(cell))
                continue
            rule = own.get(place) or before["tolerances"][kind_of(one, cell)]
            allowed = rule.get("points", (then or 0.0) * rule.get("share", 0.0))
            yield Moved(place, then, of_records(one, cell), allowed, rule["reason"])


def _machines(table: Printed) -> dict[str, str]:
    """Return the machine of each column of a timed table."""
    if not table.table.timed:
        return {}
    return {cell.column: machine(table.records[key]) for cell in table.cells for key in cell.keys}


def kind_of(table: Printed, cell: Cell) -> str:
    """Name the kind of a cell's tolerance."""
    if table.table.timed:
        return "timed"
    if table.keys(cell, "train"):
        return "trained"
    settings = [table.records[key]["settings"] for key in table.keys(cell, "evaluate")]
    return "classified" if any("classifier" in one for one in settings) else "fixed"
