"""A profile's results as one page: `results/<profile>/report.html`, which opens from disk.

The page holds everything it shows and asks for nothing from anywhere. It is made from the files
that `sbert_repro.report.results` reads, without torch: the same files give the same page.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from sbert_repro.config import CONFIG_DIR
from sbert_repro.facts import duration
from sbert_repro.ledger import machine
from sbert_repro.redaction import masked
from sbert_repro.report import plots, results
from sbert_repro.storage import write_file
from sbert_repro.tables import spec
from sbert_repro.tables.plan import seconds_of
from sbert_repro.tables.printed import short_name
from sbert_repro.tables.render import VERDICTS, code_of, in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "report.html"
FIGURES = "figures"
MARKS = {
    "match": "●",
    "near": "◐",
    "off": "○",
    "stand-in": "◇",
    "partial data": "◇",
    "changed": "◇",
    "incomplete": "◌",
    "other machine": "◇",
    "not in the paper": "✚",
    "not run": "—",
}
"""A sign for each verdict, so that nobody depends on its colour."""


def write(profile: str, results_folder: Path) -> Path:
    """Make the page of a profile, and each of its figures as a file.

    Args:
        profile: "paper", "lite" or "demo".
        results_folder: `paths.results`.

    Returns:
        The page; the figures are in the folder `FIGURES` beside it, as SVG and as PNG.

    Raises:
        UserError: No table was made yet, a file is damaged, or the page cannot be written.
    """
    folder = results.folder_of(profile, results_folder)
    path = folder / FILE
    cells, seeds = results.cells(folder), results.seeds(folder)
    drawn = _drawn(cells, seeds)
    write_file(path, masked(_page(profile, folder, cells, seeds, drawn)))
    for of_table in drawn.values():
        for stem, figure in of_table.items():
            write_file(folder / FIGURES / f"{stem}.svg", plots.as_svg(figure))
            write_file(folder / FIGURES / f"{stem}.png", plots.as_png(figure))
    return path


def as_html(profile: str, folder: Path) -> str:
    """Return the page.

    Args:
        profile: Name of the profile.
        folder: `results/<profile>`.

    Returns:
        One HTML document.

    Raises:
        UserError: A file is damaged.
    """
    cells, seeds = results.cells(folder), results.seeds(folder)
    return _page(profile, folder, cells, seeds, _drawn(cells, seeds))


def _drawn(cells: pd.DataFrame, seeds: pd.DataFrame) -> dict[str, dict[str, Figure]]:
    """Return the figures of each table."""
    return {
        str(name): figures(spec.load(str(name)), mine, seeds)
        for name, mine in cells.groupby("table", sort=False)
    }


def _page(
    profile: str,
    folder: Path,
    cells: pd.DataFrame,
    seeds: pd.DataFrame,
    drawn: Mapping[str, Mapping[str, Figure]],
) -> str:
    records = results.records(folder)
    counted = results.verdicts(cells)
    environment = Environment(
        loader=PackageLoader("sbert_repro.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        profile=profile,
        banner=_banner(profile),
        summary=[
            {"name": name, "heading": spec.load(str(name)).heading, "counts": dict(counts)}
            for name, counts in counted.iterrows()
        ],
        verdicts={name: VERDICTS[name] for name in counted.columns},
        marks=MARKS,
        tables=[_table(name, cells, of_table) for name, of_table in drawn.items()],
        headline=_headline(folder, records),
        claims=results.claims(folder).to_dict("records"),
        missing=_missing(cells),
        origin=_origin(records, seeds),
    )


def _banner(profile: str) -> str:
    """Return what the profile wants said above all."""
    content = yaml.safe_load((CONFIG_DIR / "profile" / f"{profile}.yaml").read_text("utf-8"))
    return str(content["profile"].get("banner") or "").strip()


def _table(name: str, cells: pd.DataFrame, drawn: Mapping[str, Figure]) -> dict[str, Any]:
    table = spec.load(name)
    mine = cells[cells["table"] == name]
    shown = [column for column in table.shown if column in set(mine["column"])]
    form = "{:,.0f}" if table.timed else "{:.2f}"
    return {
        "name": name,
        "id": f"table-{name}",
        "heading": table.heading,
        "caption": table.caption,
        "tolerance": "" if table.timed else f"{table.tolerance:g}",
        "columns": shown,
        "rows": [
            {
                "name": row,
                "section": part["section"].iloc[0],
                "cells": [_cell(part[part["column"] == column], form) for column in shown],
                "runs": _runs(part),
            }
            for row, part in mine.groupby("row", sort=False)
        ],
        "figures": [_svg(figure) for figure in drawn.values()],
    }


def _cell(found: pd.DataFrame, form: str) -> dict[str, str] | None:
    """Return the words of a cell; None where the table has none."""
    if found.empty:
        return None
    cell = found.iloc[0]
    numbers = {
        name: "" if pd.isna(cell[name]) else form.format(cell[name]) for name in ("ours", "paper")
    }
    return {
        **numbers,
        "sd": "" if pd.isna(cell["sd"]) else form.format(cell["sd"]),
        "delta": "" if pd.isna(cell["delta"]) else _signed(cell["delta"], form),
        "verdict": cell["verdict"],
    }


def _signed(number: float, form: str) -> str:
    return form.replace(":", ":+").format(number).replace("-", "−")


def _runs(row: pd.DataFrame) -> list[dict[str, str]]:
    """Return each distinct command and note of a row with the columns that it is about."""
    found = []
    for (command, note), part in row.groupby(["command", "note"], sort=False):
        keys = dict.fromkeys(key for keys in part["run_keys"] for key in keys.split())
        columns = "" if len(part) == len(row) else ", ".join(part["column"])
        found.append(
            {
                "columns": columns,
                "command": str(command),
                "note": str(note),
                "run_keys": " ".join(keys),
            }
        )
    return found


def figures(table: spec.Table, cells: pd.DataFrame, seeds: pd.DataFrame) -> dict[str, Figure]:
    """Draw the figures that go with a table.

    Args:
        table: The table.
        cells: Its cells, as `results.cells` reads them.
        seeds: What `results.seeds` returned.

    Returns:
        File name without its ending → figure; none of a table without a number.
    """
    measured = cells.dropna(subset=["ours"])
    if measured.empty:
        return {}
    means = cells[cells["metric"] == "mean"]
    if table.name == "1":
        return {
            "table_1_average": plots.against_the_paper(means, "Table 1: average of the seven sets"),
            "table_1_sets": plots.by_year(
                cells[cells["metric"] != "mean"], "Table 1: from STS12 to SICK-R"
            ),
        }
    if table.name == "2":
        return {table.file: plots.seed_strips(cells, seeds, "Table 2: STSb test set")}
    if table.name == "6":
        return {table.file: plots.ablation(cells, seeds, "Table 6")}
    shown = measured if table.timed or means.empty else means.dropna(subset=["ours"])
    drawn = {}
    for number, (column, part) in enumerate(shown.groupby("column", sort=False), start=1):
        title = f"{short_name(table.name)}: {column}"
        whole = cells[cells["column"] == column]
        drawn[f"{table.file}_{number}"] = (
            plots.throughput(part, title) if table.timed else plots.against_the_paper(whole, title)
        )
    return drawn


def _svg(figure: Figure) -> str:
    return plots.as_svg(figure, ink="currentColor")


def _headline(folder: Path, records: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    points = results.headline(folder)
    if points.empty:
        return None
    made = [record for record in records.values() if "pairs_per_second" in record["scores"]]
    where = "; ".join(dict.fromkeys(machine(record) for record in made))
    lines = [
        {
            "n": f"{point['n']:,.0f}",
            "what": point["what"],
            "seconds": duration(point["seconds"]),
            "paper": "" if pd.isna(point["paper"]) else duration(point["paper"]),
            "kind": point["kind"],
        }
        for point in points.to_dict("records")
    ]
    figure = plots.headline(points.to_dict("records"), where)
    return {"where": where, "lines": lines, "figure": _svg(figure)}


def _missing(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each reason for a missing number with the rows that it concerns."""
    without = cells[cells["ours"].isna()]
    return [
        {
            "reason": reason or "no reason was given",
            "rows": [
                f"{short_name(str(table))}: {row}"
                for table, row in dict.fromkeys(zip(part["table"], part["row"], strict=True))
            ],
            "cells": len(part),
        }
        for reason, part in without.groupby("note", sort=False)
    ]


def _origin(records: dict[str, dict[str, Any]], seeds: pd.DataFrame) -> list[tuple[str, str]]:
    """Say on what, with what and for how long the numbers were made."""
    if not records:
        return []
    made = list(records.values())
    versions: dict[str, list[str]] = {}
    for record in made:
        for library, version in (record.get("versions") or {}).items():
            versions.setdefault(library, []).append(version)
    spent = {
        word: sum(seconds_of(record) for record in made if record["kind"] == kind)
        for kind, word in (("train", "training"), ("evaluate", "evaluation"))
    }
    started = sorted(str(record["started"])[:10] for record in made if record.get("started"))
    trained = {record["seed"] for record in made if record["kind"] == "train"}
    return [
        ("Hardware", "; ".join(dict.fromkeys(map(machine, made)))),
        ("Time", ", ".join(f"{word} {in_words(time)}" for word, time in spent.items() if time)),
        ("Seeds", ", ".join(map(str, sorted(trained))) or "nothing was trained"),
        ("Records", f"{len(made)}, made from {started[0]} to {started[-1]}" if started else "0"),
        ("Code", ", ".join(dict.fromkeys(map(code_of, made)))),
        (
            "Versions",
            ", ".join(f"{name} {' / '.join(dict.fromkeys(v))}" for name, v in versions.items()),
        ),
    ]
