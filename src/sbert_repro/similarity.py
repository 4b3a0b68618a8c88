"""How alike two sentences are, and how well that agrees with people (sections 3 and 4).

The paper scores with the cosine and Spearman's rank correlation; it reports that negative Manhattan
and Euclidean distances give roughly the same (section 4), so they stand beside it. Plain NumPy and
SciPy: training, evaluation and the tables all use these and nothing else.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def cosine(u: Floats, v: Floats) -> Floats:
    """Cosine of each pair of rows; a zero vector is like nothing and gives 0, NaN gives NaN.

    Args:
        u: First vectors ``[N, D]``.
        v: Second vectors ``[N, D]``.

    Returns:
        Floats: ``[N]``, float64, in -1..1.
    """
    u, v = u.astype(np.float64), v.astype(np.float64)
    norms = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    return np.divide((u * v).sum(1), norms, out=np.zeros(len(u)), where=norms != 0)


def paired(u: Floats, v: Floats) -> dict[str, Floats]:
    """All four similarities of each pair of rows; bigger always means closer.

    Args:
        u: First vectors ``[N, D]``.
        v: Second vectors ``[N, D]``.

    Returns:
        dict[str, Floats]: ``cosine``, ``manhattan``, ``euclidean`` (distances with the sign
        turned) and ``dot``, each ``[N]``.
    """
    difference = u.astype(np.float64) - v.astype(np.float64)
    return {
        "cosine": cosine(u, v),
        "manhattan": -np.abs(difference).sum(1),
        "euclidean": -np.linalg.norm(difference, axis=1),
        "dot": (u.astype(np.float64) * v.astype(np.float64)).sum(1),
    }


def pearson(x: Floats, gold: Floats) -> float:
    """Pearson's r between predictions and gold scores.

    Args:
        x: Predictions ``[N]``.
        gold: Gold scores ``[N]``.

    Returns:
        float: In -1..1; NaN when either side is constant, since r is then not defined.
    """
    x, gold = np.asarray(x, np.float64), np.asarray(gold, np.float64)
    x, gold = x - x.mean(), gold - gold.mean()
    scale = np.sqrt((x * x).sum() * (gold * gold).sum())
    return float((x * gold).sum() / scale) if scale > 0 else float("nan")


def spearman(x: Floats, gold: Floats) -> float:
    """Spearman's rank correlation, ties sharing their mean rank (the paper's score, section 4).

    Args:
        x: Predictions ``[N]``.
        gold: Gold scores ``[N]``.

    Returns:
        float: In -1..1; NaN when either side is constant.
    """
    from scipy.stats import rankdata

    return pearson(rankdata(x), rankdata(gold))
