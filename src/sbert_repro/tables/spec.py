"""A table as one YAML file: its columns, its rows, the paper's numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sbert_repro.config import CONFIG_DIR
from sbert_repro.errors import UserError

TABLES = CONFIG_DIR / "tables"

_TABLE_KEYS = {"number", "title", "caption", "tolerance", "seeds", "timed"}
_TABLE_KEYS |= {"compared", "columns", "rows"}
_COLUMN_KEYS = {"name", "task", "metric", "overrides", "mean_of", "shown"}
_ROW_KEYS = {"name", "section", "train", "recipe", "encoder", "quoted", "parts"}
_ROW_KEYS |= {"paper", "paper_sd", "scored", "note", "prints"}
_PARTS = ("folds", "topics")


@dataclass(frozen=True)
class Column:
    """One score of one task, or the mean of other columns.

    Attributes:
        name: The paper's heading.
        task: What a model is scored on; None for a mean.
        metric: Which score of the task.
        overrides: Options that all runs of this column share, added to the row's.
        mean_of: The columns that are averaged; empty for a task.
        shown: Whether it is printed; its cells are in the CSV in any case.
    """

    name: str
    task: str | None
    metric: str
    overrides: tuple[str, ...]
    mean_of: tuple[str, ...]
    shown: bool = True


@dataclass(frozen=True)
class Row:
    """What is trained or encoded, and the paper's numbers for it.

    Attributes:
        name: The paper's short name of the row.
        section: The paper's block of rows; "" where there are no blocks.
        trained: Whether `overrides` are words of `train.py` or of `scripts/evaluate.py`.
        overrides: The words one would type.
        parts: "folds" or "topics" if each part of the data set is a training run of its own, on
            all other parts, and a cell is the mean over the parts; else "".
        quoted: Whose number the paper repeats, for a row without a model; else "".
        paper: The paper's number by column, where it has one.
        paper_sd: The paper's ± by column, where it prints one.
        note: What a reader has to know about the paper's row.
        instead_of: The paper's encoder, where a profile trains another one instead; else "".
        recipe: Options in which the paper's training of this row differs from that of most rows,
            instead of those of the same name; for profiles with `row_recipes`.
        scored: The columns that it has a cell in.
        prints: What the paper's first column says, where that is the name of several rows; else "".
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
    recipe: tuple[str, ...] = ()
    scored: tuple[str, ...] = ()
    prints: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the paper, or one of our own in its form.

    Attributes:
        name: The word on the command line: the file's name without `table_`.
        title: Heading.
        caption: What the numbers are.
        tolerance: Largest |ours - paper| that counts as a match.
        seeds: Runs of each trained cell.
        columns: In the paper's order.
        rows: In the paper's order.
        timed: Whether its rows are timed side by side instead of being scored one by one.
        compared: Whether each row is compared with the first one of its section.
    """

    name: str
    title: str
    caption: str
    tolerance: float
    seeds: int
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    timed: bool = False
    compared: bool = False

    @property
    def file(self) -> str:
        """What its files are called: those of the paper are numbered."""
        return f"table_{self.name}" if self.name.isdecimal() else self.name

    @property
    def heading(self) -> str:
        """What stands above it."""
        return f"Table {self.name}: {self.title}" if self.name.isdecimal() else self.title

    @property
    def shown(self) -> list[str]:
        """Names of the columns that are printed."""
        return [column.name for column in self.columns if column.shown]


def existing(folder: Path = TABLES) -> list[str]:
    """Return the names of the tables in a folder: the paper's in its order, then ours."""
    names = [path.stem.removeprefix("table_") for path in folder.glob("*.yaml")]
    return sorted(names, key=lambda name: (not name.isdecimal(), len(name), name))


def load(name: str, folder: Path = TABLES) -> Table:
    """Read and check a table.

    Args:
        name: "1", "2", …, or "recipes".
        folder: Where the YAML files are.

    Returns:
        The table.

    Raises:
        UserError: There is no such table, or its file does not describe one.
    """
    if name not in existing(folder):
        known = ", ".join(existing(folder)) or "none"
        raise UserError(f"there is no such table; there are: {known}", where=f"table={name}")
    path = folder / (f"table_{name}.yaml" if name.isdecimal() else f"{name}.yaml")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"not readable as YAML: {error}", where=path) from error
    try:
        return _table(name, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{type(error).__name__} {error}", where=path) from error


def _table(name: str, content: dict[str, Any]) -> Table:
    _refuse_unknown(content, _TABLE_KEYS, "table")
    columns = tuple(_column(column) for column in content["columns"])
    names = [column.name for column in columns]
    for column in columns:
        if unknown := set(column.mean_of) - set(names):
            raise ValueError(f"column {column.name} averages {_list(unknown)}, which do not exist")
    compared = bool(content.get("compared", False))
    rows = tuple(_row(row, names, compared) for row in content["rows"])
    if len({row.name for row in rows}) < len(rows) or len(set(names)) < len(names):
        raise ValueError("two rows or two columns have the same name")
    return Table(
        name=name,
        title=str(content["title"]),
        caption=str(content["caption"]).strip(),
        tolerance=float(content["tolerance"]),
        seeds=int(content["seeds"]),
        columns=columns,
        rows=rows,
        timed=bool(content.get("timed", False)),
        compared=compared,
    )


def _column(content: dict[str, Any]) -> Column:
    _refuse_unknown(content, _COLUMN_KEYS, f"column {content.get('name')}")
    if ("task" in content) == ("mean_of" in content):
        raise ValueError(f"column {content['name']} needs either task or mean_of")
    return Column(
        name=str(content["name"]),
        task=content.get("task"),
        metric=content["metric"] if "task" in content else "mean",
        overrides=tuple(content.get("overrides", ())),
        mean_of=tuple(content.get("mean_of", ())),
        shown=bool(content.get("shown", True)),
    )


def _row(content: dict[str, Any], columns: list[str], compared: bool) -> Row:
    what = f"row {content.get('name')}"
    _refuse_unknown(content, _ROW_KEYS, what)
    kinds = [kind for kind in ("train", "encoder", "quoted") if kind in content]
    if len(kinds) != 1:
        raise ValueError(f"{what} needs one of train, encoder and quoted")
    parts = str(content.get("parts", ""))
    if parts and (parts not in _PARTS or kinds != ["train"]):
        raise ValueError(f"{what}: parts is one of {_list(_PARTS)}, for a row with train")
    if "recipe" in content and kinds != ["train"]:
        raise ValueError(f"{what}: recipe is for a row with train")
    quoted = kinds == ["quoted"]
    paper = _numbers(content["paper"], columns, what)
    scored = tuple(content.get("scored", columns if compared else paper))
    if unknown := set(scored) - set(columns):
        raise ValueError(f"{what}: scored has {_list(unknown)}, which are no columns")
    return Row(
        name=str(content["name"]),
        section=str(content.get("section", "")),
        trained=kinds == ["train"],
        overrides=() if quoted else tuple(content[kinds[0]]),
        parts=parts,
        quoted=str(content["quoted"]) if quoted else "",
        paper=paper,
        paper_sd=_numbers(content.get("paper_sd", [None] * len(columns)), columns, what),
        note=str(content.get("note", "")).strip(),
        recipe=tuple(content.get("recipe", ())),
        scored=scored,
        prints=str(content.get("prints", "")),
    )


def _numbers(values: list[float | None], columns: list[str], what: str) -> dict[str, float]:
    """Return numbers by column; null stands where the paper has none."""
    if len(values) != len(columns):
        raise ValueError(f"{what}: {len(values)} numbers for {len(columns)} columns")
    pairs = zip(columns, values, strict=True)
    return {column: float(value) for column, value in pairs if value is not None}


def _refuse_unknown(content: dict[str, Any], allowed: set[str], what: str) -> None:
    if unknown := set(content) - allowed:
        raise ValueError(f"{what}: unknown {_list(unknown)}; known: {_list(allowed)}")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
