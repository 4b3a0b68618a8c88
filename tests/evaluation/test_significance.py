"""The bootstrap interval is the one that the plain way of doing it gives."""

import time

import numpy as np
import pytest
from scipy import stats

from sbert_repro.evaluation.significance import SEED, spearman_interval

GENERATOR = np.random.default_rng(5)
GOLD = GENERATOR.integers(0, 6, 200).astype(float)  # many ties, as gold scores have
X = GOLD + GENERATOR.normal(scale=2, size=200)


def test_it_is_the_percentile_bootstrap_with_ranks_computed_anew():
    generator = np.random.default_rng(SEED)
    drawn = [generator.integers(0, 200, 200) for _ in range(300)]
    found = [stats.spearmanr(X[rows], GOLD[rows])[0] for rows in drawn]
    expected = np.quantile(found, [0.05, 0.95])
    assert spearman_interval(X, GOLD, resamples=300, level=0.9) == pytest.approx(expected)


def test_the_same_pairs_give_the_same_interval_and_another_seed_another():
    assert spearman_interval(X, GOLD) == spearman_interval(X, GOLD)
    assert spearman_interval(X, GOLD, seed=1) != spearman_interval(X, GOLD)


def test_it_holds_the_score_and_narrows_with_more_pairs():
    score = stats.spearmanr(X, GOLD)[0]
    low, high = spearman_interval(X, GOLD)
    assert -1 <= low < score < high <= 1
    longer = spearman_interval(np.tile(X, 4), np.tile(GOLD, 4))
    assert longer[1] - longer[0] < 0.6 * (high - low)


def test_it_covers_the_true_value_about_as_often_as_it_says():
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of a normal pair with Pearson's 0.6
    generator, hits = np.random.default_rng(1), 0
    for _ in range(100):
        x, noise = generator.normal(size=(2, 120))
        low, high = spearman_interval(x, 0.6 * x + 0.8 * noise, resamples=200)
        hits += low <= truth <= high
    assert 87 <= hits <= 100


def test_no_correlation_no_interval():
    assert np.isnan(spearman_interval(np.ones(5), np.arange(5.0))).all()


def test_ten_thousand_pairs_take_a_second_or_so():
    x = GENERATOR.normal(size=10_000)
    begin = time.process_time()
    spearman_interval(x, x + GENERATOR.normal(size=10_000))
    assert time.process_time() - begin < 5
