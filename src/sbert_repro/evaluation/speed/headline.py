"""The paper's headline: the most similar pair of 10,000 sentences (section 1).

A cross-encoder reads each of the n(n-1)/2 pairs, 49,995,000 of them; a sentence encoder reads
10,000 sentences and compares vectors.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from sbert_repro.encoders.base import PairScorer, SentenceEncoder, Vectors
from sbert_repro.errors import UserError
from sbert_repro.evaluation.search import Matrix, most_similar_pair, number_of_pairs
from sbert_repro.evaluation.search import Pairs as Closest
from sbert_repro.evaluation.speed.cross import untrained_cross_encoder
from sbert_repro.evaluation.speed.record import Record, kept
from sbert_repro.evaluation.speed.rows import ready
from sbert_repro.evaluation.speed.timing import Timing, interleaved
from sbert_repro.evaluation.tasks import Pairs, load, resolve
from sbert_repro.similarity import cosine

SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""Numbers of sentences in the plot."""
_BLOCK = 512
_ROUNDING = 1e-12
"""By which two float64 cosines of the same pair may differ."""
Times = dict[str, Timing]


def headline(config: DictConfig) -> Record:
    """Measure, or find it in the ledger.

    Args:
        config: Composed options of ``configs/speed.yaml``; ``sentences``, ``pairs`` and
            ``largest`` are read beside what `kept` reads.

    Returns:
        Record: ``record["scores"]`` has ``n``, ``encoder``, ``cross_encoder``, ``encode``,
        ``search`` and ``pairs`` with seconds, the ``pair`` and whether it is ``exact``, and
        ``points`` of the plot.

    Raises:
        UserError: If there are fewer sentences than asked for, or data or models are missing.
    """
    texts = _sentences(config)
    words = ["encoder=bert_base", f"precision={config.precision.name}"]
    one = ready("headline", words, config, texts)
    folder = Path(getattr(one.encoder, "folder"))  # noqa: B009 - no part of the protocol
    scorer = untrained_cross_encoder(folder, Path(config.paths.cache))
    random = np.random.default_rng(0)
    drawn = [random.choice(len(texts), 2, replace=False) for _ in range(int(config.pairs))]
    sample = [(texts[a], texts[b]) for a, b in drawn]
    settings = {
        "headline": [dict(one.encoder.identity), dict(scorer.identity)],
        "texts": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
        "pairs": len(sample),
        "largest": int(config.largest),
    }

    def measure() -> dict[str, Any]:
        found = _measured(one.encoder, scorer, texts, sample, config)
        return {**found, "notes": [*one.notes, "cross-encoder: the same network, untrained head"]}

    return kept(settings, config, measure)


def _sentences(config: DictConfig) -> list[str]:
    """Give distinct sentences of the seven test sets of Table 1, drawn by a fixed seed."""
    root, lenient = Path(config.paths.data), bool(config.data.allow_partial)
    read = [load(task, root, allow_partial=lenient) for task in resolve("sts", root)]
    every = list(dict.fromkeys(t for p in read if isinstance(p, Pairs) for t in p.sentences))
    if len(every) < config.sentences:
        raise UserError(
            f"sentences={config.sentences}: the STS test sets here have {len(every):,} distinct "
            "sentences, expected no more than that"
        )
    order = np.random.default_rng(0).permutation(len(every))
    return [every[row] for row in order[: config.sentences]]


def _measured(
    encoder: SentenceEncoder,
    scorer: PairScorer,
    texts: list[str],
    sample: list[tuple[str, str]],
    config: DictConfig,
) -> dict[str, Any]:
    # Each is done once before its time is taken, so that nobody pays for first touches.
    vectors, few = encoder.encode(texts), texts[: SIZES[0]]
    scorer.score(sample)
    times = interleaved(
        {
            "encode": lambda: encoder.encode(texts),
            "encode few": lambda: encoder.encode(few),
            "search": lambda: most_similar_pair(vectors),
            "pairs": lambda: scorer.score(sample),
        },
        int(config.repeats),
        warm_up=0,
        title="headline",
    )
    found = most_similar_pair(vectors)
    first, second = (int(row) for row in found.rows[0])
    searches = {**_searches(vectors, config), len(texts): times["search"].median}
    return {
        "n": len(texts),
        "encoder": encoder.label,
        "cross_encoder": scorer.label,
        "precision": config.precision.name,
        "device": "GPU" if torch.cuda.is_available() else "CPU",
        "threads": torch.get_num_threads(),
        "repeats": int(config.repeats),
        "seconds": {name: timing.seconds for name, timing in times.items()},
        "pairs_timed": len(sample),
        "pairs_per_second": len(sample) / times["pairs"].median,
        "pair": {"texts": [texts[first], texts[second]], "cosine": float(found.scores[0])},
        "exact": is_closest(found, vectors),
        "points": _points(times, len(texts), len(few), len(sample), searches),
    }


def is_closest(found: Closest, vectors: Matrix) -> bool:
    """Check that no pair is closer than the one that was found.

    Sentences that differ only in what a tokenizer drops have the same vector but for its last
    digit, so several pairs may have a cosine of 1; any of them is the closest.

    Args:
        found: What the search gave.
        vectors: ``[N, D]``.

    Returns:
        bool: Whether its cosine is that of the closest pair by brute force, up to rounding.
    """
    first, second = brute_force_pair(vectors)
    closest = cosine(vectors[[first]], vectors[[second]])[0]
    own = cosine(vectors[found.rows[:1, 0]], vectors[found.rows[:1, 1]])[0]
    return bool(own >= closest - _ROUNDING)


def brute_force_pair(vectors: Matrix) -> tuple[int, int]:
    """Find the closest pair by all cosines in float64, as a check of the search.

    Args:
        vectors: ``[N, D]``.

    Returns:
        tuple[int, int]: The rows; of equal cosines the lowest.
    """
    wide = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    best, pair = -np.inf, (0, 1)
    for start in range(0, len(unit), _BLOCK):
        cosines = unit[start : start + _BLOCK] @ unit.T
        rows = np.arange(start, start + len(cosines))
        cosines[np.arange(len(unit)) <= rows[:, None]] = -np.inf
        place = int(cosines.argmax())
        # Rounding of the product in another order; a tie keeps the lower rows.
        if (value := cosines.flat[place]) > best + 1e-14:
            best, pair = value, (start + place // len(unit), place % len(unit))
    return pair


def _searches(vectors: Vectors, config: DictConfig) -> dict[int, float]:
    """Time the search by number of vectors; beyond those at hand random ones of their width."""
    random, found = np.random.default_rng(0), {}
    for n in SIZES:
        if n > config.largest:
            break
        given = vectors[:n]
        if n > len(vectors):
            given = random.standard_normal((n, vectors.shape[1]), np.float32)
        repeats = int(config.repeats) if n <= len(vectors) else 1
        one = interleaved({"search": partial(most_similar_pair, given)}, repeats, 0)
        found[n] = one["search"].median
    return found


def _points(
    times: Times, n: int, few: int, pairs: int, searches: dict[int, float]
) -> list[dict[str, Any]]:
    """Give the points of the plot, each said to be measured or extrapolated."""
    encoded = {n: times["encode"].median, few: times["encode few"].median}
    largest = max(searches)
    each = times["pairs"].median / pairs

    def point(size: int, what: str, seconds: float, measured: bool) -> dict[str, Any]:
        kind = "measured" if measured else "extrapolated"
        return {"n": size, "what": what, "seconds": seconds, "kind": kind}

    points = []
    for size in sorted({*SIZES, n, few}):
        seconds = encoded.get(size, encoded[n] * size / n)
        points.append(point(size, "encode", seconds, size in encoded))
        grown = searches[largest] * number_of_pairs(size) / number_of_pairs(largest)
        points.append(point(size, "search", searches.get(size, grown), size in searches))
        points.append(point(size, "cross-encoder", each * number_of_pairs(size), False))
    return points
