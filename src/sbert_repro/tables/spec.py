"""One YAML file a table: columns, rows in the paper's order, the paper's numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sbert_repro.config import CONFIG_DIR
from sbert_repro.errors import UserError

TABLES = CONFIG_DIR / "tables"

_TABLE_KEYS = {"number", "title", "caption", "tolerance", "seeds", "timed", "columns", "rows"}
_COLUMN_KEYS = {"name", "task", "metric", "overrides", "mean_of"}
_ROW_KEYS = {"name", "section", "train", "encoder", "quoted", "parts", "paper", "paper_sd", "note"}
_PARTS = ("folds", "topics")


@dataclass(frozen=True)
class Column:
    """A column: one score of one task, or the mean of other columns.

    Attributes:
        name: The paper's heading.
        task: What the model is scored on; None for a mean.
        metric: Which score of the task.
        overrides: What all runs of this column have in common, added to the row's.
        mean_of: Names of the columns that are averaged, empty for a task.
    """

    name: str
    task: str | None
    metric: str
    overrides: tuple[str, ...]
    mean_of: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A row: what is trained or encoded, and the paper's numbers.

    Attributes:
        name: The paper's name of the row.
        section: The paper's block of rows, "" when there are none.
        trained: Whether `overrides` are those of `train.py` or those of `scripts/evaluate.py`.
        overrides: The words one would type.
        parts: "folds" or "topics" when each part of the data set is a training run of its own, on
            all other parts, and a cell is the mean over the parts; else "".
        quoted: Whose number the paper repeats, for a row without a model; else "".
        paper: The paper's number by column; a column that is missing here has no cell.
        paper_sd: The paper's ± by column, where it prints one.
        note: What has to be known about the paper's row.
        instead_of: The paper's encoder where a profile trains another one in its place, else "".
    """

    name: str
    section: str
    trained: bool
    overrides: tuple[str, ...]
    parts: str
    quoted: str
    paper: dict[str, float]
    paper_sd: dict[str, float]
    note: str
    instead_of: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        name: The word on the command line, the file's name without `table_`.
        title: Heading.
        caption: What the numbers are.
        tolerance: Largest |ours - paper| that counts as a match.
        seeds: Runs of each trained cell.
        columns: In the paper's order.
        rows: In the paper's order.
        timed: Whether its rows are timed side by side, in place of each being scored.
    """

    name: str
    title: str
    caption: str
    tolerance: float
    seeds: int
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    timed: bool = False

    def column(self, name: str) -> Column:
        """The column of this name (a KeyError is a bug: `load` has checked all names)."""
        return {column.name: column for column in self.columns}[name]


def existing(folder: Path = TABLES) -> list[str]:
    """Tables there are, as they are named on the command line.

    Args:
        folder: Where the YAML files lie.

    Returns:
        Names in the order of the paper.
    """
    names = [path.stem.removeprefix("table_") for path in folder.glob("table_*.yaml")]
    return sorted(names, key=lambda name: (len(name), name))


def load(name: str, folder: Path = TABLES) -> Table:
    """Read and check a table.

    Args:
        name: "1", "2", ….
        folder: Where the YAML files lie.

    Returns:
        The table.

    Raises:
        UserError: There is no such table, or its file does not hold one.
    """
    if name not in existing(folder):
        raise UserError(
            f"table={name}: there is no such table; there are: {_list(existing(folder))}"
        )
    path = folder / f"table_{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error
    try:
        return _table(name, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: {type(error).__name__} {error}") from error


def _table(name: str, content: dict[str, Any]) -> Table:
    _only(content, _TABLE_KEYS, "table")
    columns = tuple(_column(column) for column in content["columns"])
    names = [column.name for column in columns]
    for column in columns:
        if unknown := set(column.mean_of) - set(names):
            raise ValueError(f"column {column.name} averages {_list(unknown)}, which do not exist")
    rows = tuple(_row(row, names) for row in content["rows"])
    labels = [(row.section, row.name) for row in rows]
    if len(set(labels)) < len(labels) or len(set(names)) < len(names):
        raise ValueError("two rows or two columns have the same name")
    return Table(
        name=name,
        title=str(content["title"]),
        caption=str(content["caption"]),
        tolerance=float(content["tolerance"]),
        seeds=int(content["seeds"]),
        columns=columns,
        rows=rows,
        timed=bool(content.get("timed", False)),
    )


def _column(content: dict[str, Any]) -> Column:
    _only(content, _COLUMN_KEYS, f"column {content.get('name')}")
    if ("task" in content) == ("mean_of" in content):
        raise ValueError(f"column {content['name']} needs either task or mean_of")
    return Column(
        name=str(content["name"]),
        task=content.get("task"),
        metric=content["metric"] if "task" in content else "mean",
        overrides=tuple(content.get("overrides", ())),
        mean_of=tuple(content.get("mean_of", ())),
    )


def _row(content: dict[str, Any], columns: list[str]) -> Row:
    what = f"row {content.get('name')}"
    _only(content, _ROW_KEYS, what)
    kinds = [kind for kind in ("train", "encoder", "quoted") if kind in content]
    if len(kinds) != 1:
        raise ValueError(f"{what} needs one of train, encoder and quoted")
    parts = str(content.get("parts", ""))
    if parts and (parts not in _PARTS or kinds != ["train"]):
        raise ValueError(f"{what}: parts is one of {_list(_PARTS)}, for a row with train")
    quoted = kinds == ["quoted"]
    return Row(
        name=str(content["name"]),
        section=str(content.get("section", "")),
        trained=kinds == ["train"],
        overrides=() if quoted else tuple(content[kinds[0]]),
        parts=parts,
        quoted=str(content["quoted"]) if quoted else "",
        paper=_numbers(content["paper"], columns, what),
        paper_sd=_numbers(content.get("paper_sd", [None] * len(columns)), columns, what),
        note=str(content.get("note", "")).strip(),
    )


def _numbers(values: list[float | None], columns: list[str], what: str) -> dict[str, float]:
    """Numbers by column; null stands where the paper has none."""
    if len(values) != len(columns):
        raise ValueError(f"{what}: {len(values)} numbers for {len(columns)} columns")
    pairs = zip(columns, values, strict=True)
    return {column: float(value) for column, value in pairs if value is not None}


def _only(content: dict[str, Any], allowed: set[str], what: str) -> None:
    if unknown := set(content) - allowed:
        raise ValueError(f"{what}: unknown {_list(unknown)}; known: {_list(allowed)}")


def _list(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
