"""Tables as YAML: the paper's rows and numbers are all there, mistakes are said in one line."""

import copy
import statistics

import pytest
import yaml

from sbert_repro.errors import UserError
from sbert_repro.tables import spec

from .conftest import SMALL, written

ROWS = {"1": 10, "2": 19, "6": 10, "recipes": 21}


@pytest.mark.parametrize("name", spec.existing())
def test_every_table_loads(name):
    table = spec.load(name)
    assert table.rows and table.columns
    assert len(table.rows) == ROWS.get(name, len(table.rows))
    assert all(row.paper or row.section == "Beyond the paper" for row in table.rows)


def test_numbers_of_the_paper_by_column():
    first = {row.name: row for row in spec.load("1").rows}
    assert first["SBERT-NLI-base"].paper["STS13"] == 76.53
    assert first["SRoBERTa-NLI-large"].paper["Avg."] == 76.68
    second = {row.name: row for row in spec.load("2").rows}
    assert second["SBERT-NLI-STSb-large"].paper == {"Spearman": 86.10}
    assert second["BERT-STSb-large"].paper_sd == {"Spearman": 0.81}
    sixth = {row.name: row for row in spec.load("6").rows}
    assert sixth["MAX"].paper == {"NLI": 79.07, "STSb": 69.92}
    assert sixth["(u*v)"].paper == {"NLI": 70.54}


@pytest.mark.parametrize(
    "row", [row for row in spec.load("1").rows if row.paper], ids=lambda row: row.name
)
def test_means_of_table_1_are_those_of_its_cells(row):
    """One row of the paper does not add up; its note says so."""
    mean = statistics.fmean(score for column, score in row.paper.items() if column != "Avg.")
    slip = 0.03 if row.name == "SBERT-NLI-base" else 0.0
    assert mean + slip == pytest.approx(row.paper["Avg."], abs=0.0051)
    assert not slip or "74.86" in row.note


@pytest.mark.parametrize("name", ["8", "", "../1", "one"])
def test_an_unknown_table_lists_those_there_are(name):
    with pytest.raises(UserError, match=r"there are: 1, 2, 3, 4, 5, 6, 7, recipes$"):
        spec.load(name)


def changed(**changes):
    return {**copy.deepcopy(SMALL), **changes}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(titel="x"), "unknown titel"),
        (changed(tolerance="wide"), "wide"),
        (changed(columns=[{"name": "A", "task": "stsb", "mean_of": []}]), "either task or mean_of"),
        (changed(columns=[{"name": "A", "mean_of": ["Z"]}]), "averages Z"),
        (
            changed(rows=[{"name": "a", "paper": [1, 2, 3]}]),
            "needs one of train, encoder and quoted",
        ),
        (changed(rows=[{"name": "a", "train": [], "paper": [1]}]), "1 numbers for 3 columns"),
        (changed(rows=SMALL["rows"] * 2), "same name"),
        (changed(rows=None), "TypeError"),
        ([1], "TypeError"),
    ],
)
def test_a_mistake_in_a_table_is_one_line_that_names_the_file(tmp_path, content, said):
    with pytest.raises(UserError, match=said) as caught:
        written(tmp_path, content)
    assert "table_99.yaml" in str(caught.value)


def test_a_file_that_is_no_yaml_is_one_line(tmp_path):
    (tmp_path / "table_99.yaml").write_text("rows: [")
    with pytest.raises(UserError, match=r"table_99.yaml: not readable as YAML"):
        spec.load("99", tmp_path)


def test_order_in_the_file_is_order_in_the_table(tmp_path):
    assert [row.name for row in written(tmp_path, SMALL).rows] == [r["name"] for r in SMALL["rows"]]
    assert yaml.safe_load((spec.TABLES / "table_1.yaml").read_text())["rows"][0]["name"] == (
        spec.load("1").rows[0].name
    )


def test_the_recipes_cross_optimizers_heads_and_checkpoints():
    table = spec.load("recipes")
    assert (table.file, table.shown, table.compared) == ("recipes", ["STSb", "Avg."], True)
    nli, stsb, cross = (
        [r for r in table.rows if f"experiment={e}" in r.overrides]
        for e in ("nli", "stsb", "cross_encoder_stsb")
    )
    assert (len({r.overrides for r in nli}), len(stsb), len(cross)) == (13, 6, 2)
    assert {r.paper["STSb"] for r in nli} == {77.03} and {r.paper["Avg."] for r in nli} == {74.89}
    assert all(r.scored == tuple(c.name for c in table.columns) for r in [*nli, *stsb])
    assert all(r.scored == ("STSb",) for r in cross)
    paper = {row.name: row for row in spec.load("1").rows}["SBERT-NLI-base"].paper
    assert nli[0].paper == paper, "the same numbers as in Table 1"
