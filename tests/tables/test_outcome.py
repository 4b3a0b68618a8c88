"""Arithmetic of a cell: mean, sample sd, verdicts, means over columns."""

import dataclasses

import hypothesis.strategies as st
import pytest
from hypothesis import given

from sbert_repro.tables.outcome import VERDICTS, Cell, averaged
from sbert_repro.tables.spec import Column

AVERAGE = Column("Avg.", None, "mean", (), ("A", "B"))
numbers = st.floats(-100, 100, allow_nan=False)


def cell(scores=None, paper=77.0, **more):
    values = {"row": "r", "paper_row": "r", "column": "A", "metric": "spearman", "paper": paper}
    return Cell(**values, scores=scores or {}, **more)


def test_mean_and_sample_deviation_over_seeds():
    found = cell({1: 76.0, 2: 77.0, 3: 79.0})
    assert found.ours == pytest.approx(77.3333333)
    assert found.sd == pytest.approx(1.5275252)
    assert found.n == 3
    assert found.delta == pytest.approx(0.3333333)


def test_one_seed_has_no_deviation():
    assert cell({1: 76.0}).sd is None


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (77.0, "match"),
        (78.0, "match"),
        (76.0, "match"),
        (78.01, "near"),
        (75.0, "near"),
        (79.0, "near"),
        (79.01, "off"),
        (74.9, "off"),
        (99.0, "off"),
    ],
)
def test_verdicts_look_both_ways(ours, verdict):
    assert cell({1: ours}).verdict(1.0) == verdict


def test_the_edge_of_the_tolerance_is_within_it_whatever_binary_says():
    assert cell({1: 78.03}, paper=77.03).verdict(1.0) == "match"
    assert cell({1: 77.13}, paper=77.03).verdict(0.1) == "match"


def test_what_is_not_comparable_is_never_a_match():
    assert cell({1: 77.0}, incomparable="stand-in").verdict(1.0) == "stand-in"
    assert cell({}, incomparable="stand-in").verdict(1.0) == "not run"


@given(numbers, numbers, st.floats(0.01, 10))
def test_a_verdict_does_not_depend_on_the_sign_of_the_distance(paper, distance, tolerance):
    over = cell({1: paper + distance}, paper=paper)
    under = cell({1: paper - distance}, paper=paper)
    edge = min(abs(abs(distance) - limit * tolerance) for limit in (1, 2))
    assert edge < 1e-6 or over.verdict(tolerance) == under.verdict(tolerance)
    assert over.verdict(tolerance) in VERDICTS


def test_an_undefined_seed_is_not_dropped():
    found = cell({1: 76.0, 2: None, 3: 78.0})
    assert found.n == 2
    assert found.ours is None and found.sd is None and found.delta is None
    assert found.verdict(1.0) == "not run"


def test_the_interval_is_averaged_over_seeds_and_needs_all_of_them():
    found = cell({1: 76.0, 2: 77.0}, intervals=[(70.0, 80.0), (72.0, 82.0)])
    assert found.interval == (71.0, 81.0)
    assert dataclasses.replace(found, intervals=[(70.0, 80.0)]).interval is None
    assert cell({}).interval is None


def test_a_mean_is_taken_seed_by_seed():
    parts = [cell({1: 70.0, 2: 74.0}), dataclasses.replace(cell({1: 80.0, 2: 90.0}), column="B")]
    mean = averaged(AVERAGE, parts, 75.0)
    assert mean.scores == {1: 75.0, 2: 82.0}
    assert mean.ours == 78.5
    assert mean.sd == pytest.approx(4.9497475)
    assert (mean.column, mean.metric, mean.interval) == ("Avg.", "mean", None)


def test_no_mean_over_a_missing_cell():
    there, missing = cell({1: 70.0}), dataclasses.replace(cell(), column="B", reason="no data")
    mean = averaged(AVERAGE, [there, missing], 75.0)
    assert mean.ours is None
    assert mean.reason == "no data"
    assert mean.verdict(1.0) == "not run"


def test_no_mean_over_an_undefined_score():
    undefined = dataclasses.replace(cell({1: None}), column="B")
    mean = averaged(AVERAGE, [cell({1: 70.0}), undefined], 75.0)
    assert mean.scores == {1: None}
    assert mean.ours is None
    assert "no mean without B" in mean.reason


def test_a_mean_of_incomparable_cells_is_incomparable_and_keeps_keys_and_notes():
    parts = [
        cell({1: 70.0}, incomparable="stand-in", keys=["k1", "k2"], notes=["n"]),
        dataclasses.replace(cell({1: 80.0}, keys=["k1", "k3"], notes=["n"]), column="B"),
    ]
    mean = averaged(AVERAGE, parts, 75.0)
    assert mean.verdict(1.0) == "stand-in"
    assert mean.keys == ("k1", "k2", "k3")
    assert mean.notes == ("n",)
