"""A table read back is the table that was printed."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sbert_repro.errors import UserError
from sbert_repro.tables import printed, render, spec
from sbert_repro.tables.launch import InProcess, carry_out

from .conftest import FOLDED

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.fixture
def in_a_folder(planned, work, tmp_path):
    """A function that carries out a table and writes it; returns its sheet and the folder."""

    def make(*given, **named):
        made = planned(*given, **named)
        sheet = render.sheet(made, carry_out(made, InProcess(work), lambda results: None))
        render.write(sheet, tmp_path / "results")
        return sheet, tmp_path / "results"

    return make


@pytest.mark.parametrize("profile", ["paper", "lite"])
@pytest.mark.parametrize("folded", [False, True])
def test_what_was_printed_comes_back(profile, folded, in_a_folder, table_of, small):
    sheet, folder = in_a_folder(profile, table=table_of(FOLDED) if folded else small)
    found = printed.read(sheet.table, folder)
    assert found.records == sheet.records
    for ours, theirs in zip(found.cells, sheet.cells, strict=True):
        for name in ("row", "column", "metric", "paper", "ours", "sd", "n", "interval", "scores"):
            assert getattr(ours, name) == getattr(theirs, name), name
        for name in ("verdict", "planned", "keys", "delta"):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert render.reason_of(ours) == render.reason_of(theirs)
    assert found.verdicts == printed.Printed(sheet.table, tuple(sheet.cells)).verdicts


def test_a_cell_knows_its_parts_and_its_records(in_a_folder, small):
    sheet, folder = in_a_folder(table=small)
    found = printed.read(sheet.table, folder)
    mean, single = found.cell("NLI then STSb", "Avg."), found.cell("NLI then STSb", "A")
    assert [cell.column for cell in found.parts(mean)] == ["A", "B"]
    assert found.parts(single) == [single]
    assert len(found.keys(single, "train")) == 6 and len(found.keys(single, "evaluate")) == 3


def test_what_was_not_printed_has_the_papers_numbers_only(tmp_path):
    found = printed.read_all(tmp_path)
    assert list(found) == spec.existing()
    cells = [cell for one in found.values() for cell in one.cells]
    assert {cell.verdict for cell in cells} == {"not run"}
    assert found["6"].cell("MAX", "STSb").paper == 69.92
    assert printed.summary([found["1"]]) == [f"Table 1: {len(found['1'].cells)} not run"]


def test_rows_that_came_later_are_not_run(in_a_folder, small):
    _, folder = in_a_folder(table=small)
    new = replace(small, rows=(*small.rows, replace(small.rows[0], name="new")))
    found = printed.read(new, folder)
    assert found.cell("new", "A").verdict == "not run" and found.cell("NLI", "A").ours == 78.0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"records": []}'])
def test_another_file_is_refused_in_one_line(text, tmp_path):
    path = tmp_path / "records" / "table_1.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(UserError, match="damaged"):
        printed.read(spec.load("1"), tmp_path)


def test_a_file_of_before_says_what_mends_it(in_a_folder, small):
    sheet, folder = in_a_folder(table=small)
    path = folder / "records" / "table_99.json"
    content = json.loads(path.read_text())
    for cell in content["cells"]:
        del cell["stand_in"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="have no stand_in: print the table again: make table-99"):
        printed.read(sheet.table, folder)


def test_committed_times_come_back():
    found = printed.read(spec.load("7"), RESULTS / "lite")
    speed = found.cell("SBERT-base", "CPU")
    with (RESULTS / "lite" / "table_7.csv").open(encoding="utf-8", newline="") as file:
        (row,) = (
            row
            for row in csv.DictReader(file)
            if row["row"] == "SBERT-base" and row["column"] == "CPU"
        )
    assert speed.verdict == "other machine" and f"{speed.ours:.2f}" == row["ours"]
    assert speed.interval is not None and speed.interval[0] < speed.ours < speed.interval[1]
    assert found.cell("SBERT-base", "GPU").verdict == "not run"


def test_the_headline_is_of_ten_thousand_sentences(tmp_path):
    paper = {"cross-encoder": 234000.0, "encode": 5.0, "search": 0.01}
    found = printed.headline(RESULTS / "lite", paper)
    for cell in found.cells:
        assert cell.interval is not None and cell.ours is not None
        assert cell.interval[0] <= cell.ours <= cell.interval[1]
    path = RESULTS / "lite" / "records" / "headline.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    (record,) = content["records"].values()
    record["scores"]["n"] = 400
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "headline.json").write_text(json.dumps(content))
    few = printed.headline(tmp_path, paper)
    assert {cell.ours for cell in few.cells} == {None}
    assert render.reason_of(few.cells[0]) == "timed on 400 sentences, not 10,000"
    assert {cell.ours for cell in printed.headline(tmp_path / "none", paper).cells} == {None}
