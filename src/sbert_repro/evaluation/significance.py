"""How far a score would move if the test set had been another sample of the same kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sbert_repro.similarity import pearson

RESAMPLES = 1000
LEVEL = 0.95
SEED = 0


def spearman_interval(
    x: NDArray[np.floating],
    gold: NDArray[np.floating],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> tuple[float, float]:
    """Percentile bootstrap interval of Spearman's correlation over the test pairs.

    The pairs are drawn ``resamples`` times with replacement, ``N`` at a time; in each resample both
    sides are ranked anew (ties share their mean rank) and correlated; the interval lies between the
    ``(1 - level) / 2`` quantiles. The seed is fixed, so the same scores give the same interval. It
    speaks of the choice of test pairs only, not of training seeds. The paper gives no intervals.

    Args:
        x: Predictions ``[N]``.
        gold: Gold scores ``[N]``.
        resamples: How many resamples.
        level: Coverage.
        seed: Of the resampling.

    Returns:
        tuple[float, float]: Lower and upper end in -1..1; NaN when the correlation is not defined.
        Resamples in which one side is constant are left out.
    """
    place_x, place_gold = _place(x), _place(gold)
    generator = np.random.default_rng(seed)
    found = np.empty(resamples)
    for number in range(resamples):
        drawn = generator.integers(0, len(place_x), len(place_x))
        found[number] = pearson(_ranks(place_x[drawn]), _ranks(place_gold[drawn]))
    found = found[np.isfinite(found)]
    if not found.size:
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _place(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Number the distinct values in ascending order; sorting once is what makes this fast."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64).ravel()


def _ranks(places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rank integers, ties sharing their mean rank, by counting instead of sorting."""
    counts = np.bincount(places)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
