"""Scores and their intervals against scipy and against sums done by hand."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sbert_repro.evaluation import sts

GENERATOR = np.random.default_rng(0)
X = {name: GENERATOR.normal(size=60) for name in ("cosine", "manhattan", "euclidean", "dot")}
GOLD = (X["cosine"] + GENERATOR.normal(size=60)).round(1)
SUBSET = np.array(["b"] * 10 + ["a"] * 30 + ["c"] * 20)


def test_without_sub_sets_it_is_scipys_correlation():
    scores = sts.score(X, GOLD)
    assert list(scores) == ["spearman", "pearson", "n", "ci_low", "ci_high", "similarities"]
    assert scores["spearman"] == pytest.approx(100 * stats.spearmanr(X["cosine"], GOLD)[0])
    assert scores["pearson"] == pytest.approx(100 * stats.pearsonr(X["cosine"], GOLD)[0])
    assert scores["n"] == 60 and scores["ci_low"] < scores["spearman"] < scores["ci_high"]
    assert scores["similarities"] == {
        name: pytest.approx(100 * stats.spearmanr(X[name], GOLD)[0])
        for name in ("manhattan", "euclidean", "dot")
    }
    assert sts.main_score(scores) == scores["spearman"]


def test_all_mean_and_wmean_are_three_different_numbers_done_by_hand():
    scores = sts.score(X, GOLD, SUBSET)
    part = {
        name: 100 * stats.spearmanr(X["cosine"][SUBSET == name], GOLD[SUBSET == name])[0]
        for name in "bac"
    }
    assert scores["all"] == pytest.approx(100 * stats.spearmanr(X["cosine"], GOLD)[0])
    assert scores["mean"] == pytest.approx((part["a"] + part["b"] + part["c"]) / 3)
    assert scores["wmean"] == pytest.approx((30 * part["a"] + 10 * part["b"] + 20 * part["c"]) / 60)
    assert len({round(scores[name], 6) for name in ("all", "mean", "wmean")}) == 3
    assert "spearman" not in scores and sts.main_score(scores) == scores["all"]
    assert list(scores["subsets"]) == ["b", "a", "c"]
    assert [p["n"] for p in scores["subsets"].values()] == [10, 30, 20]
    assert scores["subsets"]["a"]["spearman"] == pytest.approx(part["a"])


@settings(deadline=None, max_examples=8)
@given(
    st.lists(st.integers(-50, 50), min_size=3, max_size=40).filter(lambda v: len(set(v)) > 1),
    st.sampled_from([lambda x: 3 * x - 7, np.arctan, np.exp2, lambda x: x**3]),
    st.integers(0, 99),
)
def test_spearman_does_not_see_monotone_maps(values, monotone, seed):
    x = np.array(values, float)
    gold = np.random.default_rng(seed).permutation(len(x)).astype(float)
    subset = np.array(["one", "two"] * len(x))[: len(x)]
    plain = sts.score({"cosine": x}, gold, subset)
    mapped = sts.score({"cosine": monotone(x)}, gold, subset)
    for name in ("all", "mean", "wmean", "ci_low", "ci_high"):
        assert mapped[name] == (None if plain[name] is None else pytest.approx(plain[name]))


def test_a_collapsed_model_has_no_score_and_the_json_says_null():
    same = {"cosine": np.ones(6), "dot": np.ones(6)}
    scores = sts.score(same, np.arange(6.0), np.array(list("aaabbb")))
    for name in ("all", "mean", "wmean", "pearson", "ci_low", "ci_high"):
        assert scores[name] is None
    assert np.isnan(sts.main_score(scores))
    assert "null" in json.dumps(scores, allow_nan=False)


def test_one_undefined_sub_set_leaves_the_means_undefined_and_all_as_it_is():
    x = np.array([1.0, 2, 3, 5, 5, 5])
    scores = sts.score({"cosine": x}, np.arange(6.0), np.array(list("aaabbb")))
    assert (scores["mean"], scores["wmean"]) == (None, None)
    assert scores["subsets"]["a"]["spearman"] == pytest.approx(100)
    assert scores["subsets"]["b"]["spearman"] is None and scores["all"] > 90


DRAWS = np.random.default_rng(5)
GRADES = DRAWS.integers(0, 6, 200).astype(float)  # many ties, as gold scores have
SIMILAR = GRADES + DRAWS.normal(scale=2, size=200)


def test_it_is_the_percentile_bootstrap_with_ranks_computed_anew():
    generator = np.random.default_rng(sts.SEED)
    drawn = [generator.integers(0, 200, 200) for _ in range(300)]
    found = [stats.spearmanr(SIMILAR[rows], GRADES[rows])[0] for rows in drawn]
    expected = np.quantile(found, [0.05, 0.95])
    assert sts.spearman_interval(SIMILAR, GRADES, resamples=300, level=0.9) == pytest.approx(
        expected
    )


def test_the_same_pairs_give_the_same_interval_and_another_seed_another():
    assert sts.spearman_interval(SIMILAR, GRADES) == sts.spearman_interval(SIMILAR, GRADES)
    assert sts.spearman_interval(SIMILAR, GRADES, seed=1) != sts.spearman_interval(SIMILAR, GRADES)


def test_it_holds_the_score_and_narrows_with_more_pairs():
    score = stats.spearmanr(SIMILAR, GRADES)[0]
    low, high = sts.spearman_interval(SIMILAR, GRADES)
    assert -1 <= low < score < high <= 1
    longer = sts.spearman_interval(np.tile(SIMILAR, 4), np.tile(GRADES, 4))
    assert longer[1] - longer[0] < 0.6 * (high - low)


def test_it_covers_the_true_value_about_as_often_as_it_says():
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of a normal pair with Pearson's 0.6
    generator, hits = np.random.default_rng(1), 0
    for _ in range(60):
        x, noise = generator.normal(size=(2, 120))
        low, high = sts.spearman_interval(x, 0.6 * x + 0.8 * noise, resamples=200)
        hits += low <= truth <= high
    assert 51 <= hits <= 60


def test_no_correlation_no_interval():
    assert np.isnan(sts.spearman_interval(np.ones(5), np.arange(5.0))).all()
