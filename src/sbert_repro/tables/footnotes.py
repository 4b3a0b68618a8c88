"""Marks in a table and what they lead to: a letter for each stand-in, a number for each note."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from sbert_repro.facts import Fact
from sbert_repro.tables.cells import Cell, StandIn

Place = tuple[str, str]
"""Row and column; ("NLI", "") is a whole row, ("", "STSb") a whole column."""
_LETTERS = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"
"""There is no superscript q."""
_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_OF_MODEL = ("random_weights", "demo_model")
"""Codes of facts that say what a timed model is, better than its label."""


@dataclass(frozen=True)
class Remark:
    """What is said of some cells.

    Attributes:
        words: A sentence.
        about: The cells.
        among: The cells of which it could have been said.
    """

    words: str
    about: tuple[Cell, ...]
    among: tuple[Cell, ...]


@dataclass
class Marked:
    """Notes in the order in which a reader meets their marks.

    Attributes:
        marks: Place → its marks, with a space before each.
        notes: The first one has the mark ¹.
        on_all: Notes without a mark, since they are about the whole table.
    """

    marks: dict[Place, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    on_all: list[str] = field(default_factory=list)

    def add(self, places: Iterable[Place], mark: str) -> None:
        """Put a mark at some places."""
        for place in places:
            self.marks[place] = f"{self.marks.get(place, '')} {mark}"


def places(about: Collection[Cell], among: Collection[Cell]) -> list[Place]:
    """Find the fewest places at which a mark covers some cells and no others.

    Args:
        about: The cells.
        among: Those and all others of which the same could be said.

    Returns:
        Headings of columns, or rows and single cells.
    """
    mine = {(cell.row, cell.column) for cell in about}
    columns = {column for _, column in mine}
    of_columns = {(cell.row, cell.column) for cell in among if cell.column in columns}
    rows: list[Place] = []
    for row in dict.fromkeys(cell.row for cell in about):
        whole = {(cell.row, cell.column) for cell in among if cell.row == row}
        own = [(cell.row, cell.column) for cell in about if cell.row == row]
        rows += [(row, "")] if whole <= mine else own
    by_column = [("", name) for name in dict.fromkeys(cell.column for cell in about)]
    return by_column if of_columns == mine and len(by_column) < len(rows) else rows


def letters(cells: Sequence[Cell], order: Sequence[str]) -> dict[str, str]:
    """Give each stand-in its letter.

    Args:
        cells: Those with a number.
        order: Words of the stand-ins that come first, so that each has one letter in all tables.

    Returns:
        `StandIn.word` → letter, of those that occur, by letter.
    """
    found = dict.fromkeys(one.word for cell in cells for one in cell.stand_ins)
    numbers = {word: number for number, word in enumerate(dict.fromkeys([*order, *found]))}
    return {word: _letter(numbers[word]) for word in sorted(found, key=numbers.__getitem__)}


def _letter(number: int) -> str:
    rest, last = divmod(number, len(_LETTERS))
    return (_letter(rest - 1) if rest else "") + _LETTERS[last]


def by_word(cells: Sequence[Cell]) -> dict[str, list[tuple[StandIn, Cell]]]:
    """Group the stand-ins of cells, with the cells that rest on them."""
    found: dict[str, list[tuple[StandIn, Cell]]] = {}
    for cell in cells:
        for one in cell.stand_ins:
            found.setdefault(one.word, []).append((one, cell))
    return found


def fact_of_model(cells: Sequence[Cell]) -> Fact | None:
    """Return the fact that says what the model of some cells is, where all have the same."""
    facts = [[one for one in cell.facts if one["code"] in _OF_MODEL] for cell in cells]
    return facts[0][0] if facts[0] and all(one == facts[0] for one in facts) else None


def other_facts(cell: Cell, known: Iterable[Fact]) -> list[Fact]:
    """Return what the legend does not say of a cell.

    Args:
        cell: The cell.
        known: Facts of all cells. A record of an earlier version may have fewer fields of a fact
            than another record; the fuller one is said of both.

    Returns:
        Facts, each once.
    """
    found: list[Fact] = []
    for one in cell.facts:
        fullest = next((other for other in known if one.items() < other.items()), one)
        if fullest not in found and not (cell.stand_ins and one["code"] in _OF_MODEL):
            found.append(fullest)
    return found


def marked(
    cells: Sequence[Cell], columns: Sequence[str], order: Sequence[str], remarks: Iterable[Remark]
) -> Marked:
    """Mark a table.

    Args:
        cells: Those that are shown.
        columns: Their columns, in order.
        order: As for `letters`.
        remarks: What is said; of equal cells, one remark after the other in one note.

    Returns:
        Marks and notes.
    """
    found = Marked()
    run = [cell for cell in cells if cell.ours is not None]
    stand_ins = by_word(run)
    for word, letter in letters(run, order).items():
        about = [cell for _, cell in stand_ins[word]]
        # What is at hand in place of a data set is in every row of its column that was run.
        of_data = stand_ins[word][0][0].of_data
        found.add(places(about, about if of_data else run), letter)
    grouped: dict[tuple[Place, ...], list[str]] = {}
    for one in remarks:
        several = len({cell.row for cell in one.about}) > 1
        whole = several and len(one.about) == len(one.among)
        where = () if whole else tuple(places(one.about, one.among))
        grouped.setdefault(where, []).append(one.words)
    found.on_all = grouped.pop((), [])
    rows = {row: number for number, row in enumerate(dict.fromkeys(cell.row for cell in cells))}

    def read_at(where: tuple[Place, ...]) -> tuple[int, int]:
        """Return when a reader meets the first of some places: headings, then row by row."""
        return min(
            (rows.get(row, -1), columns.index(column) if column else -1) for row, column in where
        )

    for number, where in enumerate(sorted(grouped, key=read_at), 1):
        found.add(where, str(number).translate(_DIGITS))
        found.notes.append(" ".join(grouped[where]))
    return found
