"""Marks: as few as can be, in the order in which a reader meets them."""

from dataclasses import replace

import pytest

from sbert_repro.facts import fact
from sbert_repro.tables import footnotes
from sbert_repro.tables.cells import Cell, StandIn
from sbert_repro.tables.footnotes import Remark, marked, places

CELLS = {
    f"{row}{column}": Cell(row, column, "m", 1.0, ours=1.0) for row in "xyz" for column in "AB"
}
ALL = tuple(CELLS.values())


def of(*names):
    return tuple(CELLS[name] for name in names)


@pytest.mark.parametrize(
    ("about", "found"),
    [
        (("xA", "xB"), [("x", "")]),
        (("xA", "yA", "zA"), [("", "A")]),
        (("xA", "yA"), [("x", "A"), ("y", "A")]),
        (("xA", "xB", "yB"), [("x", ""), ("y", "B")]),
        (("xA", "xB", "yA", "yB"), [("x", ""), ("y", "")]),
    ],
)
def test_a_mark_stands_at_a_row_a_column_or_a_cell(about, found):
    assert places(of(*about), ALL) == found


def test_of_a_row_without_other_cells_the_row_is_marked():
    assert places(of("xA"), of("xA", "yA", "yB")) == [("x", "")]


def test_notes_are_numbered_as_they_are_met_and_equal_cells_share_one():
    remarks = [
        Remark("Of y.", of("yA", "yB"), ALL),
        Remark("Of all.", ALL, ALL),
        Remark("Of A.", of("xA", "yA", "zA"), ALL),
        Remark("Of xB.", of("xB"), ALL),
        Remark("Of y too.", of("yA", "yB"), ALL),
    ]
    found = marked(ALL, "AB", (), remarks)
    assert found.notes == ["Of A.", "Of xB.", "Of y. Of y too."]
    assert found.on_all == ["Of all."]
    assert found.marks == {("", "A"): " ¹", ("x", "B"): " ²", ("y", ""): " ³"}


def test_letters_follow_the_profile_and_then_the_table():
    cells = [
        replace(CELLS[name], stand_ins=(StandIn(word, word),))
        for name, word in (("xA", "new"), ("xB", "second"), ("yA", "newer"))
    ]
    assert footnotes.letters(cells, ("first", "second")) == {
        "second": "ᵇ",
        "new": "ᶜ",
        "newer": "ᵈ",
    }
    many = [replace(CELLS["xA"], stand_ins=tuple(StandIn(f"{n}", "") for n in range(26)))]
    assert list(footnotes.letters(many, ()).values())[-2:] == ["ᶻ", "ᵃᵃ"], "there is no q"


def test_of_a_model_without_a_number_nothing_ran():
    cells = [replace(CELLS["xA"], ours=None, stand_ins=(StandIn("w", "w"),))]
    assert marked(cells, "A", (), []).marks == {}


def test_a_fact_of_an_earlier_record_is_said_in_full_where_another_one_knows_more():
    old = fact("texts_cut", title="NLI", unit="texts", count=1, length=128)
    new = {**old, "split": "train"}
    cell = replace(CELLS["xA"], facts=(old, new))
    assert footnotes.other_facts(cell, [old, new]) == [new]
    assert footnotes.other_facts(cell, [old]) == [old, new]
