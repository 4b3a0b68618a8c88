"""What a profile's results folder holds, as data frames: for the page, the notebooks and the plots.

Reads only files that the commands write (`table_N.csv`, `records/*.json`, `headline.csv`,
`claims.csv`): no model, no data set, no torch.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sbert_repro.aliases import name_of
from sbert_repro.errors import UserError
from sbert_repro.ledger import read_committed
from sbert_repro.tables import spec
from sbert_repro.tables.cells import welch

PROFILES = ("paper", "lite", "demo")
_CELLS = (
    "table row column metric paper ours sd n ci_low ci_high delta verdict note run_keys command"
).split()
_NUMBERS = "paper ours sd n ci_low ci_high delta".split()
_SEEDS = ["table", "row", "column", "seed", "score"]
_CLAIMS = "says section verdict of found".split()
_POINTS = "n what seconds kind paper".split()


def folder_of(profile: str, results: Path) -> Path:
    """Return the folder of a profile.

    Args:
        profile: "paper", "lite" or "demo".
        results: `paths.results`.

    Returns:
        The folder, in which at least one table lies.

    Raises:
        UserError: No table was made yet.
    """
    folder = results / profile
    if not any(folder.glob("*.csv")):
        raise UserError(
            "holds no table yet",
            where=folder,
            mend=f"make one with `make table-6 PROFILE={profile}`, all with "
            f"`make reproduce-all PROFILE={profile}`",
            code="missing",
        )
    return folder


def cells(folder: Path) -> pd.DataFrame:
    """Read the cells of all tables that were made.

    Args:
        folder: `results/<profile>`.

    Returns:
        The CSV columns of a table, one line a cell, in the paper's order, and `section`, the
        paper's block of rows. Words that a file leaves empty are "", numbers NaN.

    Raises:
        UserError: A file is not the CSV of a table.
    """
    frames = []
    for name in spec.existing():
        table = spec.load(name)
        path = folder / f"{table.file}.csv"
        if not path.is_file():
            continue
        frame = _read(path, _CELLS, _NUMBERS)
        sections = {row.name: row.section for row in table.rows}
        frames.append(frame.assign(table=name, section=frame["row"].map(sections).fillna("")))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=_CELLS)


def seeds(folder: Path) -> pd.DataFrame:
    """Read the score of each seed behind the cells.

    Args:
        folder: `results/<profile>`.

    Returns:
        `table`, `row`, `column`, `seed` and `score`; a run without a score is left out. An encoder
        that is used as it is has the seed "0".

    Raises:
        UserError: A file is damaged.
    """
    lines = []
    for path in _record_files(folder):
        content = read_committed(path)
        for cell in content.get("cells", []):
            for seed, score in cell["scores"].items():
                if score is not None:
                    lines.append([content["table"], cell["paper_row"], cell["column"], seed, score])
    return pd.DataFrame(lines, columns=_SEEDS)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the ledger records behind all tables and timings, by key.

    Args:
        folder: `results/<profile>`.

    Returns:
        The records.

    Raises:
        UserError: A file is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in _record_files(folder):
        found |= read_committed(path)["records"]
    return found


def headline(folder: Path) -> pd.DataFrame:
    """Read the points of the headline's plot.

    Args:
        folder: `results/<profile>`.

    Returns:
        `n` sentences, `what` ("encode", "search", "cross-encoder"), `seconds`, `kind` ("measured",
        "extrapolated") and `paper`, seconds or NaN; empty when the headline was not measured.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / "headline.csv"
    if not path.is_file():
        return pd.DataFrame(columns=_POINTS)
    return _read(path, _POINTS, ["n", "seconds", "paper"])


def claims(folder: Path) -> pd.DataFrame:
    """Read what became of the paper's claims.

    Args:
        folder: `results/<profile>`.

    Returns:
        The lines of `claims.csv` as words; empty when the claims were not checked.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / "claims.csv"
    return _read(path, _CLAIMS, []) if path.is_file() else pd.DataFrame(columns=_CLAIMS)


def verdicts(frame: pd.DataFrame) -> pd.DataFrame:
    """Count the verdicts of each table.

    Args:
        frame: What `cells` returned.

    Returns:
        A line for each table, a column for each verdict that occurs.
    """
    from sbert_repro.tables.render import VERDICTS

    counted = pd.crosstab(frame["table"], frame["verdict"])
    tables = list(dict.fromkeys(frame["table"]))
    return counted.reindex(index=tables, columns=[v for v in VERDICTS if v in counted.columns])


def grid(table: pd.DataFrame) -> pd.DataFrame:
    """Lay the cells of one table out as the paper does.

    Args:
        table: Cells of one table.

    Returns:
        Rows and columns in the paper's order; each cell is "ours ± sd (the paper's)", "—" for ours
        where it was not run, "" where the table has no such cell.
    """

    def shown(cell: pd.Series) -> str:
        ours = "—" if pd.isna(cell["ours"]) else f"{cell['ours']:,.2f}"
        spread = "" if pd.isna(cell["sd"]) else f" ± {cell['sd']:.2f}"
        return ours + spread + ("" if pd.isna(cell["paper"]) else f" ({cell['paper']:,.2f})")

    words = table.assign(shown=table.apply(shown, axis=1))
    laid_out = words.pivot(index="row", columns="column", values="shown").fillna("")
    return laid_out.reindex(index=table["row"].unique(), columns=table["column"].unique())


def scores(frame: pd.DataFrame, table: str, column: str) -> dict[str, list[float]]:
    """Return the score of each seed by row.

    Args:
        frame: What `seeds` returned.
        table: Its name, such as "6".
        column: One of its columns.

    Returns:
        Row → scores × 100.
    """
    mine = frame[(frame["table"] == table) & (frame["column"] == column)]
    return {str(row): list(part["score"]) for row, part in mine.groupby("row", sort=False)}


def compared(scores: Mapping[str, Sequence[float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare rows pair by pair over their seeds.

    Args:
        scores: Row → the score of each seed.

    Returns:
        Differences of the means (row minus column) and the p of Welch's t-test, NaN where one of
        the two has a single seed.
    """
    rows = list(scores)
    means = pd.Series({row: sum(scores[row]) / len(scores[row]) for row in rows}, dtype=float)
    difference = pd.DataFrame({other: means - means[other] for other in rows})
    p = pd.DataFrame(
        {other: {row: welch(scores[row], scores[other]) for row in rows} for other in rows},
        dtype=float,
    )
    return difference, p


def curves(records: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[list[float]]]]:
    """Return the learning curves of trainings.

    Args:
        records: What `records` returned.

    Returns:
        "nli classification mean, seed 1 (key)" → ``loss`` and ``dev``, each a list of (step,
        value). Trainings that were recorded before curves were are left out.
    """
    found = {}
    for key, record in records.items():
        if record["kind"] == "train" and "curves" in record:
            settings = record["settings"]
            words = (
                settings["data"]["name"],
                name_of(settings["loss"]),
                name_of(settings["pooling"]),
            )
            found[f"{' '.join(words)}, seed {record['seed']} ({key[:6]})"] = record["curves"]
    return found


def _record_files(folder: Path) -> list[Path]:
    return sorted((folder / "records").glob("*.json"))


def _read(path: Path, columns: list[str], numbers: list[str]) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            found = next(csv.reader(stream), [])
        if missing := [name for name in columns if name not in found]:
            raise UserError(f"lacks the column {', '.join(missing)}", where=path)
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        for name in numbers:
            frame[name] = pd.to_numeric(frame[name].replace("", None))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"not readable as CSV: {error}", where=path) from error
    return frame
