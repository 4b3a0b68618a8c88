"""What a results folder holds is read as the commands wrote it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from sbert_repro.errors import UserError
from sbert_repro.report import results

LITE = Path(__file__).resolve().parents[2] / "results" / "lite"


def test_committed_cells_and_seeds_agree():
    cells, seeds = results.cells(LITE), results.seeds(LITE)
    means = seeds.groupby(["table", "row", "column"])["score"].mean()
    # A mean of columns, or of folds, has no seed of its own.
    single = cells[(cells["metric"] != "mean") & cells["ours"].notna()]
    found = single.set_index(["table", "row", "column"])["ours"]
    both = found.index.intersection(means.index)
    assert len(both) > 20
    assert (found[both] - means[both]).abs().max() < 1e-4


def test_records_behind_the_cells_are_there():
    cells, records = results.cells(LITE), results.records(LITE)
    keys = {key for words in cells.loc[cells["ours"].notna(), "run_keys"] for key in words.split()}
    assert keys and keys <= set(records)


def test_every_cell_has_one_verdict():
    cells = results.cells(LITE)
    assert results.verdicts(cells).to_numpy().sum() == len(cells)


def test_what_was_not_made_is_empty(tmp_path):
    assert results.headline(tmp_path).empty and results.claims(tmp_path).empty
    assert results.cells(tmp_path).empty and not results.records(tmp_path)


def test_an_empty_folder_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="make reproduce-all PROFILE=lite") as caught:
        results.folder_of("lite", tmp_path)
    assert caught.value.code == "missing"


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("table_6.csv", "table,row\n6,MEAN\n", "lacks the column column, metric"),
        ("table_6.csv", "", "lacks the column table"),
        ("records/table_6.json", "{", "no JSON: "),
        ("records/table_6.json", "[]", "should be a valid dictionary"),
        ("headline.csv", "n,what,seconds,kind,paper\nmany,encode,1,measured,\n", "not readable"),
    ],
)
def test_damage_names_the_file(tmp_path, name, content, found):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=found) as caught:
        results.cells(tmp_path), results.records(tmp_path), results.headline(tmp_path)
    assert str(path) in caught.value.where


def test_empty_numbers_are_nan_and_empty_words_stay_words(tmp_path):
    path = tmp_path / "table_6.csv"
    header = json.dumps("table row column metric paper ours sd n ci_low ci_high delta").strip('"')
    header = header.replace(" ", ",") + ",verdict,note,run_keys,command"
    path.write_text(f"{header}\n6,MEAN,NLI,spearman,80.78,,,,,,,not run,,,\n", encoding="utf-8")
    (cell,) = results.cells(tmp_path).to_dict("records")
    assert pd.isna(cell["ours"]) and cell["note"] == "" and cell["section"] == "Pooling strategy"


def test_a_grid_is_the_papers_table():
    cells = results.cells(LITE)
    table = cells[cells["table"] == "6"]
    grid = results.grid(table)
    assert list(grid.index) == list(dict.fromkeys(table["row"]))
    assert list(grid.columns) == ["NLI", "STSb"]
    assert grid.loc["(u, v)", "STSb"] == "" and grid.loc["MEAN", "STSb"].endswith("(87.44)")


def test_rows_are_compared_over_their_seeds():
    scores = {"a": [80.0, 81.0, 82.0], "b": [70.0, 70.5, 71.0], "one": [75.0]}
    difference, p = results.compared(scores)
    assert difference.loc["a", "b"] == pytest.approx(10.5) == -difference.loc["b", "a"]
    assert p.loc["a", "b"] < 0.01 and p.loc["a", "a"] == 1.0
    assert pd.isna(p.loc["a", "one"])


def test_curves_bear_the_words_of_their_run():
    settings = {"data": {"name": "nli"}, "loss": {"name": "classification"}}
    record = {"kind": "train", "seed": 2, "settings": {**settings, "pooling": {"name": "max"}}}
    curve = {"loss": [[1, 1.0]], "dev": [[1, 50.0]]}
    found = results.curves({"abcdef0123": {**record, "curves": curve}, "old": record})
    assert found == {"nli classification max, seed 2 (abcdef)": curve}
