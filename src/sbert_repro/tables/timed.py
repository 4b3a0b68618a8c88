"""Table 7 as files: sentences a second, with what of the machine's arithmetic each row gets."""

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
from sbert_repro.tables.render import COLUMNS, machine, timed_banner
from sbert_repro.tables.spec import Row, Table

VERDICT = "other machine"
_DIGITS = 2


@dataclass(frozen=True)
class TimedSheet:
    """All that is printed of a timed table.

    Attributes:
        table: The table.
        profile: Name of the profile.
        banner: What the profile wants said above all speeds.
        record: Of the ledger.
        changes: Options as typed.
    """

    table: Table
    profile: str
    banner: str
    record: Mapping[str, Any]
    changes: tuple[str, ...]

    @property
    def found(self) -> Mapping[str, Any]:
        """What was measured."""
        scores: Mapping[str, Any] = self.record["scores"]
        return scores

    @property
    def command(self) -> str:
        """What measures it again."""
        words = [f"table={self.table.name}", f"profile={self.profile}", *self.changes]
        return f"python scripts/table.py {' '.join(words)}"

    def reason(self, row: Row, column: str) -> str:
        """Say why a cell has no number; "" when it has one."""
        figures = self.found["rows"][row.name]
        if column != self.found["device"]:
            return f"measured on a machine's {self.found['device']} only"
        return str(figures.get("reason", ""))

    def note(self, row: Row) -> str:
        """Say what a reader must know of a row."""
        figures = self.found["rows"][row.name]
        said = [figures.get("label", ""), *figures.get("notes", []), row.note or ""]
        if figures.get("gflops"):
            said.append(
                f"{figures['gflops']:.0f} useful GFLOP/s, {100 * figures['share']:.0f} % of the "
                f"product ceiling in {figures['precision']}"
            )
        return "; ".join(filter(None, said))


def write(sheet: TimedSheet, folder: Path) -> list[Path]:
    """Write the CSV, the Markdown and the record; the same record gives the same bytes.

    Args:
        sheet: The table.
        folder: Usually ``results/<profile>``.

    Returns:
        list[Path]: The files.

    Raises:
        UserError: The folder cannot be written.
    """
    name = f"table_{sheet.table.name}"
    contents = {
        folder / f"{name}.csv": as_csv(sheet),
        folder / f"{name}.md": as_markdown(sheet),
        folder / "records" / f"{name}.json": as_json([sheet.record]),
    }
    for path, text in contents.items():
        write_file(path, masked(text))
    return list(contents)


def as_json(records: Sequence[Mapping[str, Any]]) -> str:
    """Ledger records behind speeds, every repeat among them: what makes a time checkable.

    Args:
        records: Of the ledger.

    Returns:
        str: JSON, the records by key.
    """
    content = {"records": {record["key"]: record for record in records}}
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def as_csv(sheet: TimedSheet) -> str:
    """One line a cell in the columns of every table; ``n`` counts repeats, ``ci`` is their range.

    Args:
        sheet: The table.

    Returns:
        str: The text.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in sheet.table.rows:
        for column in sheet.table.columns:
            writer.writerow(_line(sheet, row, column.name, column.metric))
    return text.getvalue()


def _line(sheet: TimedSheet, row: Row, column: str, metric: str) -> dict[str, Any]:
    reason, paper = sheet.reason(row, column), row.paper.get(column)
    line: dict[str, Any] = {
        "table": sheet.table.name,
        "row": row.name,
        "column": column,
        "metric": metric,
        "paper": "" if paper is None else paper,
        "verdict": "not run" if reason else VERDICT,
        "note": reason or sheet.note(row),
        "command": sheet.command,
    }
    if not reason:
        figures = sheet.found["rows"][row.name]
        ours = round(figures["sentences_per_second"], _DIGITS)
        line |= {
            "ours": ours,
            "n": sheet.found["repeats"],
            "ci_low": round(figures["lowest"], _DIGITS),
            "ci_high": round(figures["highest"], _DIGITS),
            "delta": "" if paper is None else round(ours - paper, _DIGITS),
            "run_keys": sheet.record["key"],
        }
    return line


def as_markdown(sheet: TimedSheet) -> str:
    """The paper's shape, then what each row gets of the machine, and how it was measured.

    Args:
        sheet: The table.

    Returns:
        str: The text.
    """
    found = sheet.found
    # In the table's order: a record read from the disk has its keys sorted.
    labels = filter(None, (found["rows"][row.name].get("label") for row in sheet.table.rows))
    names = [column.name for column in sheet.table.columns]
    lines = [
        f"# Table {sheet.table.name}: {sheet.table.title} (profile {sheet.profile})",
        "",
        f"> **{timed_banner(sheet.banner, dict(sheet.record), labels)}**",
        "",
        f"{sheet.table.caption} Each cell: ours [slowest, fastest repeat] (the paper's); — was not "
        "run.",
        "",
        _joined(["", *names, "useful GFLOP/s", "of the ceiling"]),
        _joined(["---", *(["---:"] * (len(names) + 2))]),
    ]
    section = ""
    for row in sheet.table.rows:
        if row.section and row.section != section:
            section = row.section
            lines.append(_joined([f"**{section}**", *([""] * (len(names) + 2))]))
        lines.append(
            _joined([row.name, *(_shown(sheet, row, n) for n in names), *_gets(found, row)])
        )
    return "\n".join([*lines, "", "## Notes", "", *(f"- {n}" for n in notes(sheet)), ""])


def _shown(sheet: TimedSheet, row: Row, column: str) -> str:
    paper = row.paper.get(column)
    beside = "" if paper is None else f" ({paper:,.0f})"
    if sheet.reason(row, column):
        return f"—{beside}"
    figures = sheet.found["rows"][row.name]
    low, high = figures["lowest"], figures["highest"]
    return f"{figures['sentences_per_second']:,.0f} [{low:,.0f}, {high:,.0f}]{beside}"


def _gets(found: Mapping[str, Any], row: Row) -> list[str]:
    figures = found["rows"][row.name]
    if not figures.get("gflops"):
        return ["", ""]
    return [f"{figures['gflops']:,.0f}", f"{100 * figures['share']:.0f} %"]


def notes(sheet: TimedSheet) -> list[str]:
    """Say under which conditions the numbers hold.

    Args:
        sheet: The table.

    Returns:
        list[str]: One paragraph each.
    """
    found, record = sheet.found, dict(sheet.record)
    rows = [(row.name, found["rows"][row.name].get("reason")) for row in sheet.table.rows]
    of_rows = [(row.name, sheet.note(row)) for row in sheet.table.rows]
    ceilings = sorted(found["ceiling_gflops"].items(), reverse=True)
    ceiling = ", ".join(f"{gflops:,.0f} in {precision}" for precision, gflops in ceilings)
    versions = record["versions"]
    libraries = ", ".join(
        f"{n} {versions[n]}" for n in ("python", "torch", "transformers", "numpy")
    )
    return [
        *(f"{name}: {note}" for name, note in of_rows if note),
        *(f"{name}: not run: {reason}" for name, reason in rows if reason),
        f"Measured on {'; '.join(found['notes'])}: {found['repeats']} repeats of each row, in "
        f"turns, after a warm-up, tokenisation included, on the {found['device']}.",
        f"Hardware: {machine(record)}; {found['threads']} threads; {libraries}.",
        f"Ceiling: the four matrix products of a layer, measured in the same turns, GFLOP/s: "
        f"{ceiling}. Useful arithmetic counts no padding.",
        f"Verdict: {VERDICT} (a speed on another machine than the paper's, not comparable).",
        f"Again: `{sheet.command} again=true`; record `{record['key']}`.",
    ]


def _joined(words: list[str]) -> str:
    return f"| {' | '.join(words)} |"
