"""What was accepted, from records only, and what has moved since."""

import json
import runpy
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sbert_repro.errors import UserError
from sbert_repro.tables import expected, printed, render
from sbert_repro.tables.launch import InProcess, carry_out

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "scripts" / "verify_results.py")


@pytest.fixture
def tables(planned, work, tmp_path):
    """The small table as it was printed, and Table 7 of lite."""
    made = planned()
    sheet = render.sheet(made, carry_out(made, InProcess(work), lambda results: None))
    render.write(sheet, tmp_path)
    times = printed.read_all(ROOT / "results" / "lite")["7"]
    return {"99": printed.read(sheet.table, tmp_path), "7": times}


def with_cell(tables, name, row, column, **fields):
    """The same tables with another cell, whose records and whose mean give what it says."""
    one = tables[name]
    if name == "99" and column != "Avg." and fields.get("ours"):
        mean = (fields["ours"] + one.cell(row, "B").ours) / 2
        one = with_cell(tables, name, row, "Avg.", ours=mean)[name]
    cells = tuple(
        replace(cell, **fields) if (cell.row, cell.column) == (row, column) else cell
        for cell in one.cells
    )
    records = dict(one.records)
    known = column != "Avg." and fields.get("ours")
    for key in one.keys(one.cell(row, column), "evaluate") if known else ():
        records[key] = {**records[key], "scores": {"spearman": fields["ours"]}}
    return {**tables, name: replace(one, cells=cells, records=records)}


def moved(tables, before):
    return [one for one in expected.compare(tables, before) if one.counts]


def accept(tables, before=None):
    return yaml.safe_load(expected.accepted(tables, before or {}))


def test_what_is_accepted_has_not_moved(tables):
    before = accept(tables)
    assert before["tables"]["99"]["NLI"] == {"A": 78.0, "B": 88.0, "Avg.": 83.0}
    assert "InferSent" not in before["tables"]["99"]
    assert set(before["machines"]["7"]) == {"CPU"} and before["machines"]["7"]["CPU"]
    cells = list(expected.compare(tables, before))
    numbers = [cell for table in tables.values() for cell in table.cells if cell.ours is not None]
    assert len(cells) == len(numbers) > 12 and not [one for one in cells if one.counts]


@pytest.mark.parametrize(
    ("row", "to", "counts"),
    [("NLI", 78.9, False), ("NLI", 77.1, False), ("NLI", 79.2, True), ("mean BERT", 76.03, True)],
)
def test_a_cell_may_move_by_the_tolerance_of_its_kind(row, to, counts, tables):
    before = accept(tables)
    found = moved(with_cell(tables, "99", row, "A", ours=to), before)
    assert [one.place for one in found] == ([("99", row, "A")] if counts else [])
    if counts:
        assert f"Table 99, {row} [A]: " in str(found[0]) and f"{to:.2f} now" in str(found[0])


def test_a_tolerance_of_its_own_is_kept(tables):
    own = {"table": "99", "row": "NLI", "column": "A", "points": 1.5, "reason": "we looked into it"}
    before = accept(tables, {"cells": [own], "tolerances": {**expected.TOLERANCES, "mine": {}}})
    assert before["cells"] == [own] and "mine" in before["tolerances"]
    assert accept(tables, before) == before
    assert moved(with_cell(tables, "99", "NLI", "A", ours=79.4), before) == []
    (found,) = moved(with_cell(tables, "99", "NLI", "A", ours=79.8), before)
    assert "we looked into it" in str(found)


def test_a_number_that_is_gone_has_moved_and_a_new_one_has_not(tables):
    before = accept(tables)
    (found,) = moved(with_cell(tables, "99", "NLI", "A", ours=None), before)
    assert "78.00 accepted, no number now" in str(found)
    del before["tables"]["99"]["NLI"]["A"]
    new = [one for one in expected.compare(tables, before) if one.accepted is None]
    assert [str(one) for one in new] == ["Table 99, NLI [A]: 78.00 now, none accepted"]
    before["tables"]["99"]["gone"] = {"A": 1.0}
    (found,) = moved(tables, before)
    assert "there is no such cell any more" in str(found)


def test_speeds_are_compared_on_their_machine_only(tables):
    before = accept(tables)
    slower = {"ours": 30.0, "interval": (29.0, 31.0)}
    other = with_cell(tables, "7", "SBERT-base", "CPU", **slower)
    (found,) = moved(other, before)
    assert found.place == ("7", "SBERT-base", "CPU")
    before["machines"]["7"]["CPU"] = "another"
    assert moved(other, before) == []


def test_a_number_that_its_records_do_not_give_is_never_accepted(tables):
    one = tables["99"]
    cells = [replace(c, ours=c.ours + 1) if c.ours else c for c in one.cells]
    with pytest.raises(UserError, match="is not what the records behind it give"):
        accept({"99": replace(one, cells=tuple(cells))})


def test_kinds():
    lite = printed.read_all(ROOT / "results" / "lite")
    kinds = {
        ("1", "BERT CLS-vector", "Avg."): "fixed",
        ("1", "SBERT-NLI-base", "Avg."): "trained",
        ("5", "BERT CLS-vector", "MR"): "classified",
        ("7", "SBERT-base", "CPU"): "timed",
    }
    for (table, row, column), kind in kinds.items():
        assert expected.kind_of(lite[table], lite[table].cell(row, column)) == kind


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", [SCRIPT, *words])
    status = 0
    try:
        runpy.run_path(SCRIPT, run_name="__main__")
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()


def test_committed_results_have_not_moved(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    status, out, err = run(monkeypatch, capsys, "profile=lite")
    assert (status, err) == (0, ""), out
    assert out.startswith("profile lite: ") and " as accepted, 0 moved, 0 new" in out


def test_the_command_accepts_and_then_tells(monkeypatch, capsys, tmp_path):
    folder, results = tmp_path / "lite", f"paths.results={tmp_path}"
    status, _, err = run(monkeypatch, capsys, "profile=lite", results)
    assert status == 2 and "nothing was accepted yet: run: make accept-results" in err
    records = folder / "records"
    records.mkdir(parents=True)
    text = (ROOT / "results/lite/records/table_6.json").read_text(encoding="utf-8")
    (records / "table_6.json").write_text(text)
    status, out, _ = run(monkeypatch, capsys, "profile=lite", results, "--accept")
    assert status == 0 and out.startswith("accepted: 13 cells of profile lite")
    content = json.loads(text)
    (cell,) = (c for c in content["cells"] if (c["paper_row"], c["column"]) == ("MAX", "STSb"))
    before = statistics.fmean(cell["scores"].values())
    cell["scores"]["1"] += 9  # of three seeds
    content["records"][cell["run_keys"][1]]["scores"]["spearman"] += 9
    (records / "table_6.json").write_text(json.dumps(content))
    status, out, _ = run(monkeypatch, capsys, "profile=lite", results)
    assert status == 1
    moved = f"{before:.2f} accepted, {before + 3:.2f} now (+3.00, allowed 1.00: "
    assert f"moved: Table 6, MAX [STSb]: {moved}" in out
    assert out.endswith("profile lite: 12 cells as accepted, 1 moved, 0 new\n")
