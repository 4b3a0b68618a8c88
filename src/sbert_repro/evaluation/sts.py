"""Semantic textual similarity: rank correlation with people's scores (section 4 of the paper).

The score is 100 times Spearman's correlation between the cosine of u and v and the gold scores. A
year of SemEval has several sub-sets; the paper's numbers pool them into one correlation ("all"),
which is told apart here from the mean over sub-sets and from SentEval's mean weighted by size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbert_repro.evaluation.significance import spearman_interval
from sbert_repro.similarity import pearson, spearman

VERSION = 1
"""Raised when a score changes its meaning, so that no older record passes for a newer one."""

Floats = NDArray[np.floating]


def score(
    predicted: Mapping[str, Floats], gold: Floats, subset: NDArray[Any] | None = None
) -> dict[str, Any]:
    """Score predictions against gold scores.

    Args:
        predicted: Similarities ``[N]`` by name, bigger means closer; the first one (the cosine) is
            the score, the others are reported beside it.
        gold: Gold scores ``[N]`` on any scale.
        subset: Name of each pair's sub-set ``[N]``, or ``None``.

    Returns:
        dict[str, Any]: Scores × 100, ``None`` where a side is constant: ``spearman`` (``all``,
        ``mean``, ``wmean`` and ``subsets`` when there are sub-sets), ``pearson``, ``n``, ``ci_low``
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
    """Give the one number of a task that the paper's tables print.

    Args:
        scores: What `score` gives, or another measure.

    Returns:
        float: ``all`` where there are sub-sets, else ``spearman``, else ``accuracy``; NaN where it
        is not defined.
    """
    value = scores.get("all", scores.get("spearman", scores.get("accuracy")))
    return float("nan") if value is None else float(value)


def aggregate(x: Floats, gold: Floats, subset: NDArray[Any]) -> dict[str, Any]:
    """Score each sub-set alone and average over them.

    Args:
        x: Predictions ``[N]``.
        gold: Gold scores ``[N]``.
        subset: Name of each pair's sub-set ``[N]``.

    Returns:
        dict[str, Any]: ``mean`` of the sub-sets' Spearman, ``wmean`` weighted by their sizes as
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
    # One undefined sub-set leaves the averages undefined: leaving it out would flatter the model.
    defined = None not in scores
    return {
        "mean": float(np.mean(scores)) if defined else None,
        "wmean": float(np.average(scores, weights=sizes)) if defined else None,
        "subsets": parts,
    }


def percent(value: float) -> float | None:
    """Give a correlation × 100, as the paper prints it.

    Args:
        value: In -1..1, or NaN.

    Returns:
        float | None: ``None`` for NaN, which JSON does not have.
    """
    return 100 * value if math.isfinite(value) else None
