"""Similarities and correlations against SciPy and against their own definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from sbert_repro.similarity import cosine, paired, pearson, spearman

SCORES = st.lists(st.integers(-50, 50), min_size=3, max_size=60)


@given(SCORES, st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_spearman_is_scipys_with_ties(values, seed):
    gold = np.random.default_rng(seed).integers(0, 5, len(values))
    expected = stats.spearmanr(values, gold).statistic if len(set(values)) > 1 else np.nan
    if len(set(gold)) == 1:
        expected = np.nan
    assert spearman(values, gold) == pytest.approx(expected, nan_ok=True, abs=1e-12)


@given(SCORES, st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_spearman_does_not_change_under_a_monotone_map(values, seed):
    x = np.array(values, float)
    gold = np.random.default_rng(seed).normal(size=len(x))
    assert spearman(np.arctan(x / 7) * 3 + 2, gold) == pytest.approx(
        spearman(x, gold), nan_ok=True, abs=1e-12
    )


def test_pearson_is_scipys_and_not_defined_for_constants():
    rng = np.random.default_rng(0)
    x, gold = rng.normal(size=50), rng.normal(size=50)
    assert pearson(x, gold) == pytest.approx(stats.pearsonr(x, gold).statistic)
    assert np.isnan(pearson(np.ones(50), gold))


def test_paired_similarities_are_scipys_and_bigger_is_closer():
    rng = np.random.default_rng(1)
    u, v = rng.normal(size=(20, 8)).astype(np.float32), rng.normal(size=(20, 8)).astype(np.float32)
    found = paired(u, v)
    for i in range(20):
        assert found["cosine"][i] == pytest.approx(1 - distance.cosine(u[i], v[i]), abs=1e-6)
        assert found["manhattan"][i] == pytest.approx(-distance.cityblock(u[i], v[i]), rel=1e-6)
        assert found["euclidean"][i] == pytest.approx(-distance.euclidean(u[i], v[i]), rel=1e-6)
        assert found["dot"][i] == pytest.approx(float(u[i] @ v[i]), abs=1e-5)


def test_a_zero_vector_has_cosine_zero_and_warns_of_nothing():
    with np.errstate(all="raise"):
        assert cosine(np.zeros((1, 4)), np.ones((1, 4))).tolist() == [0.0]


def test_a_vector_that_is_no_number_is_not_taken_for_zero():
    u, v = np.ones((3, 2)), np.ones((3, 2))
    u[0], v[1] = np.nan, 0
    found = cosine(u, v)
    assert np.isnan(found[0]) and found[1] == 0 and found[2] == pytest.approx(1)
