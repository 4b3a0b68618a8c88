"""What a model said of each test item, and how sure that makes a comparison of models.

A score of one model has an interval of its own (`sts.spearman_interval`). The difference of two
models that were scored on the same items is known better than that: both are right or wrong about
the same items, so the items are drawn once for both (a paired bootstrap). The paper reports none.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sbert_repro.config import run_key
from sbert_repro.evaluation.sts import LEVEL, RESAMPLES, spearman_resampled
from sbert_repro.ledger import Ledger, Published, Record
from sbert_repro.similarity import pearson
from sbert_repro.storage import write_file

KIND = "bootstrap"
VERSION = 1
"""Raised when an interval changes its meaning."""
FILE = "predictions.npz"

Predictions = dict[str, NDArray[np.generic]]
"""``predicted`` and ``gold`` ``[N]`` of scored pairs, or ``correct`` ``[N]`` where an item is right
or wrong; and ``part`` ``[N]`` where the score is the mean over folds."""
Interval = tuple[float, float]
Term = tuple[float, str, tuple[str, ...]]
"""A score in a weighted sum: its factor, which score of the task it is (``spearman``, ``all``,
``pearson`` or ``accuracy``), and the evaluations, of seeds or folds, that it is the mean of."""


def keep(predictions: Predictions, ledger: Ledger, key: str) -> None:
    """Write what a model said beside the place of its record, which is written after it.

    Args:
        predictions: Of one task.
        ledger: Where records are kept.
        key: Of the evaluation.

    Raises:
        UserError: The disk refused it.
    """
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **predictions)
    write_file(ledger.folder(key) / FILE, content.getvalue())


def intervals(
    sums: Sequence[Sequence[Term]], ledger: Ledger, published: Published
) -> tuple[list[Interval], Record] | None:
    """Find or compute the 95 % intervals of weighted sums of scores over resampled test items.

    Args:
        sums: Each a comparison, such as one score minus another.
        ledger: Where the evaluations' predictions are, and where the intervals are kept.
        published: Records that count where the ledger has none.

    Returns:
        An interval for each sum, × 100 as the scores, and the record that holds them; ``None`` when
        the predictions of an evaluation are not here, or no interval is defined.
    """
    settings = {
        "sums": [[[w, metric, sorted(keys)] for w, metric, keys in terms] for terms in sums],
        "resamples": RESAMPLES,
        "level": LEVEL,
        "version": VERSION,
    }
    key = run_key(KIND, settings)
    record = ledger.get(key) or published.get(key)
    if record is None:
        found = _intervals(sums, ledger)
        if found is None:
            return None
        scores = {"intervals": found}
        record = {"kind": KIND, "settings": settings, "scores": scores, "seed": None}
        record = ledger.put(key, record)
    return [(low, high) for low, high in record["scores"]["intervals"]], record


def _intervals(sums: Sequence[Sequence[Term]], ledger: Ledger) -> list[Interval] | None:
    needed = {(key, metric) for terms in sums for _, metric, keys in terms for key in keys}
    drawn: dict[tuple[str, str], NDArray[np.float64]] = {}
    for key, metric in sorted(needed):
        predictions = _read(ledger.folder(key) / FILE)
        if predictions is None:
            return None
        drawn[key, metric] = resampled(predictions, metric)
    found = []
    for terms in sums:
        total = np.zeros(RESAMPLES)
        for weight, metric, keys in terms:
            total += weight * np.mean([drawn[key, metric] for key in keys], axis=0)
        defined = total[np.isfinite(total)]
        if not defined.size:
            return None
        low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        found.append((float(low), float(high)))
    return found


def _read(path: Path) -> Predictions | None:
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def resampled(predictions: Predictions, metric: str) -> NDArray[np.float64]:
    """Score resamples of the test items, drawn with replacement, within each part.

    Args:
        predictions: Of one evaluation.
        metric: Which score.

    Returns:
        NDArray[np.float64]: ``[RESAMPLES]`` × 100; NaN where a resample has no score. Models that
        were tested on the same items are scored on the same resamples.
    """
    parts = predictions.get("part")
    columns = {name: values for name, values in predictions.items() if name != "part"}
    if parts is None:
        return _of_part(columns, metric)
    of_parts = [
        _of_part({name: values[parts == part] for name, values in columns.items()}, metric)
        for part in np.unique(parts)
    ]
    return np.mean(of_parts, axis=0, dtype=np.float64)


def _of_part(columns: Predictions, metric: str) -> NDArray[np.float64]:
    if metric == "accuracy":
        correct = columns["correct"].astype(np.float64)
        generator, size = np.random.default_rng(len(correct)), len(correct)
        shares = [correct[generator.integers(0, size, size)].mean() for _ in range(RESAMPLES)]
        return 100 * np.array(shares)
    predicted, gold = (columns[name].astype(np.float64) for name in ("predicted", "gold"))
    # Other test sets get other resamples: sums over several would otherwise hang together.
    seed = zlib.crc32(gold.tobytes())
    if metric != "pearson":
        return 100 * spearman_resampled(predicted, gold, RESAMPLES, seed)
    generator, size = np.random.default_rng(seed), len(gold)
    draws = (generator.integers(0, size, size) for _ in range(RESAMPLES))
    return 100 * np.array([pearson(predicted[rows], gold[rows]) for rows in draws])
