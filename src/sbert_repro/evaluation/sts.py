"""Semantic textual similarity: rank correlation with people's scores (section 4 of the paper).

The score is 100 times Spearman's correlation between the cosine of u and v and the gold scores. A
year of SemEval has several subsets; the paper's numbers pool them into one correlation ("all"),
which is kept apart here from the mean over subsets and from SentEval's mean weighted by size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbert_repro.similarity import pearson, spearman

VERSION = 1
"""Raised when a score changes its meaning, so that no older record passes for a newer one."""
RESAMPLES = 1000
LEVEL = 0.95
"""Coverage of every confidence interval."""
SEED = 0

Floats = NDArray[np.floating]


def score(
    predicted: Mapping[str, Floats], gold: Floats, subset: NDArray[Any] | None = None
) -> dict[str, Any]:
    """Score predictions against gold scores.

    Args:
        predicted: Similarities ``[N]`` by name, bigger means closer; the first one (the cosine) is
            the score, the others are reported beside it.
        gold: Gold scores ``[N]`` on any scale.
        subset: Name of each pair's subset ``[N]``, or ``None``.

    Returns:
        dict[str, Any]: Scores × 100, ``None`` where a side is constant: ``spearman`` (``all``,
        ``mean``, ``wmean`` and ``subsets`` when there are subsets), ``pearson``, ``n``, ``ci_low``
        and ``ci_high`` (95 %, over the pooled pairs) and ``similarities`` (Spearman of the others).
    """
    main, *others = predicted
    x = predicted[main]
    assert x.shape == gold.shape, f"{x.shape} predictions for {gold.shape} gold scores"
    low, high = spearman_interval(x, gold)
    pooled = percent(spearman(x, gold))
    year = {} if subset is None else {"all": pooled, **aggregate(x, gold, subset)}
    return {
        **(year or {"spearman": pooled}),
        "pearson": percent(pearson(x, gold)),
        "n": len(gold),
        "ci_low": percent(low),
        "ci_high": percent(high),
        "similarities": {name: percent(spearman(predicted[name], gold)) for name in others},
    }


def main_score(scores: Mapping[str, Any]) -> float:
    """Return the one number of a task that the paper's tables print.

    Args:
        scores: What `score` returns, or another measure.

    Returns:
        float: ``all`` where there are subsets, else ``spearman``, else ``accuracy``; NaN where it
        is not defined.
    """
    value = scores.get("all", scores.get("spearman", scores.get("accuracy")))
    return float("nan") if value is None else float(value)


def aggregate(x: Floats, gold: Floats, subset: NDArray[Any]) -> dict[str, Any]:
    """Score each subset alone and average over them.

    Args:
        x: Predictions ``[N]``.
        gold: Gold scores ``[N]``.
        subset: Name of each pair's subset ``[N]``.

    Returns:
        dict[str, Any]: ``mean`` of the subsets' Spearman, ``wmean`` weighted by their sizes as
        SentEval does, and ``subsets``: ``n``, ``spearman``, ``pearson`` of each, in order of
        appearance.
    """
    parts: dict[str, Any] = {}
    for name in dict.fromkeys(subset.tolist()):
        chosen = subset == name
        parts[str(name)] = {
            "n": int(chosen.sum()),
            "spearman": percent(spearman(x[chosen], gold[chosen])),
            "pearson": percent(pearson(x[chosen], gold[chosen])),
        }
    scores = [part["spearman"] for part in parts.values()]
    sizes = [part["n"] for part in parts.values()]
    # One undefined subset leaves the averages undefined: leaving it out would flatter the model.
    defined = None not in scores
    return {
        "mean": float(np.mean(scores)) if defined else None,
        "wmean": float(np.average(scores, weights=sizes)) if defined else None,
        "subsets": parts,
    }


def percent(value: float) -> float | None:
    """Return a correlation × 100, as the paper prints it.

    Args:
        value: In -1..1, or NaN.

    Returns:
        float | None: ``None`` for NaN, which JSON does not have.
    """
    return 100 * value if math.isfinite(value) else None


def spearman_interval(
    x: Floats,
    gold: Floats,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of Spearman's correlation over the test pairs.

    The pairs are drawn ``resamples`` times with replacement, ``N`` at a time; in each resample both
    sides are ranked anew (ties share their mean rank) and correlated; the interval lies between the
    ``(1 - level) / 2`` quantiles. It says how far a score would move had the test set been another
    sample of the same kind, not another training seed. The seed is fixed, so the same scores give
    the same interval. The paper reports no intervals.

    Args:
        x: Predictions ``[N]``.
        gold: Gold scores ``[N]``.
        resamples: How many resamples.
        level: Coverage.
        seed: Of the resampling.

    Returns:
        tuple[float, float]: Lower and upper end in -1..1; NaN when the correlation is undefined.
        Resamples in which one side is constant are left out.
    """
    correlations = spearman_resampled(x, gold, resamples, seed)
    correlations = correlations[np.isfinite(correlations)]
    if not correlations.size:
        return float("nan"), float("nan")
    low, high = np.quantile(correlations, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def spearman_resampled(x: Floats, gold: Floats, resamples: int, seed: int) -> NDArray[np.float64]:
    """Correlate resamples of the test pairs, as `spearman_interval` describes.

    Args:
        x: Predictions ``[N]``.
        gold: Gold scores ``[N]``.
        resamples: How many resamples, R.
        seed: Of the resampling; two systems get the same pairs from the same seed.

    Returns:
        NDArray[np.float64]: ``[R]`` in -1..1; NaN for a resample in which one side is constant.
    """
    places_x, places_gold = _places(x), _places(gold)
    generator = np.random.default_rng(seed)
    correlations = np.empty(resamples)
    for number in range(resamples):
        drawn = generator.integers(0, len(places_x), len(places_x))
        correlations[number] = pearson(_ranks(places_x[drawn]), _ranks(places_gold[drawn]))
    return correlations


def _places(values: Floats) -> NDArray[np.int64]:
    """Number the distinct values in ascending order: sorting only once makes this fast."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64).ravel()


def _ranks(places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rank integers, ties sharing their mean rank, by counting instead of sorting."""
    counts = np.bincount(places)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
