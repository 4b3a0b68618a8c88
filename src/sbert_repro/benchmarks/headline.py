"""The paper's headline: the most similar pair of 10,000 sentences (section 1).

A cross-encoder reads each of the n(n-1)/2 pairs, 49,995,000 of them; a sentence encoder reads
10,000 sentences and compares vectors.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from sbert_repro.benchmarks.models import untrained_cross_encoder
from sbert_repro.benchmarks.table_7 import ready
from sbert_repro.benchmarks.timing import Record, Timing, identity_of, interleaved, kept
from sbert_repro.encoders.base import PairScorer, SentenceEncoder, Vectors
from sbert_repro.errors import UserError
from sbert_repro.evaluation.search import Matrix, most_similar_pair, number_of_pairs
from sbert_repro.evaluation.search import Pairs as Closest
from sbert_repro.evaluation.tasks import Pairs, load, resolve
from sbert_repro.facts import duration, fact, sentence, sentences
from sbert_repro.ledger import machine
from sbert_repro.redaction import masked
from sbert_repro.similarity import cosine

SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""Numbers of sentences in the plot."""
PAPER_N = 10_000
PAPER = {"cross-encoder": 65 * 3600.0, "encode": 5.0, "search": 0.01}
"""The paper's seconds for 10,000 sentences on a V100 (section 1)."""
COLUMNS = ("n", "what", "seconds", "kind", "paper")
_BLOCK = 512
_ROUNDING = 1e-12
"""Two float64 cosines of the same pair may differ by this much."""


def headline(config: DictConfig) -> Record:
    """Measure the headline, or find its record in the ledger.

    Args:
        config: Composed options of ``configs/speed.yaml``; ``sentences``, ``pairs`` and
            ``largest`` are read besides those of `kept`.

    Returns:
        The record; ``record["scores"]`` has ``n``, ``encoder``, ``cross_encoder``, the ``seconds``
        of ``encode``, ``search`` and ``pairs``, the ``pair`` and whether it is ``exact``, and the
        ``points`` of the plot.

    Raises:
        UserError: If there are fewer sentences than asked for, or data or models are missing.
    """
    texts = _sentences(config)
    words = ["encoder=bert_base", f"precision={config.precision.name}"]
    timed = ready(words, config, texts)
    folder = Path(getattr(timed.encoder, "folder"))  # noqa: B009 - no part of the protocol
    scorer = untrained_cross_encoder(folder, Path(config.paths.cache))
    random = np.random.default_rng(0)
    rows = [random.choice(len(texts), 2, replace=False) for _ in range(int(config.pairs))]
    sample = [(texts[a], texts[b]) for a, b in rows]
    settings = {
        "headline": [identity_of(timed.encoder), identity_of(scorer)],
        "texts": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
        "pairs": len(sample),
        "largest": int(config.largest),
    }

    def measure() -> dict[str, Any]:
        scores = _measure(timed.encoder, scorer, texts, sample, config)
        return {**scores, "facts": [*timed.facts, fact("untrained_head")]}

    return kept(settings, config, measure)


def _sentences(config: DictConfig) -> list[str]:
    """Draw distinct sentences of Table 1's seven test sets by a fixed seed."""
    root, partial_data = Path(config.paths.data), bool(config.data.allow_partial)
    tasks = [load(task, root, allow_partial=partial_data) for task in resolve("sts", root)]
    texts = list(dict.fromkeys(t for p in tasks if isinstance(p, Pairs) for t in p.sentences))
    if len(texts) < config.sentences:
        raise UserError(
            f"the STS test sets here have {len(texts):,} distinct sentences, expected no more than "
            "that",
            where=f"sentences={config.sentences}",
        )
    order = np.random.default_rng(0).permutation(len(texts))
    return [texts[row] for row in order[: config.sentences]]


def _measure(
    encoder: SentenceEncoder,
    scorer: PairScorer,
    texts: list[str],
    sample: list[tuple[str, str]],
    config: DictConfig,
) -> dict[str, Any]:
    # Each is run once before it is timed, so that none pays for first touches.
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
    closest = most_similar_pair(vectors)
    first, second = (int(row) for row in closest.rows[0])
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
        "pair": {"texts": [texts[first], texts[second]], "cosine": float(closest.scores[0])},
        "exact": is_closest(closest, vectors),
        "points": _points(times, len(texts), len(few), len(sample), searches),
    }


def is_closest(closest: Closest, vectors: Matrix) -> bool:
    """Check that no pair is closer than the one that the search found.

    Sentences that differ only in what a tokenizer drops have equal vectors but for the last digit,
    so several pairs may have a cosine of 1; any of them is the closest.

    Args:
        closest: What the search found.
        vectors: ``[N, D]``.

    Returns:
        Whether its cosine is that of the closest pair by brute force, up to rounding.
    """
    first, second = brute_force_pair(vectors)
    highest = cosine(vectors[[first]], vectors[[second]])[0]
    own = cosine(vectors[closest.rows[:1, 0]], vectors[closest.rows[:1, 1]])[0]
    return bool(own >= highest - _ROUNDING)


def brute_force_pair(vectors: Matrix) -> tuple[int, int]:
    """Find the closest pair by all cosines in float64, as a check of the search.

    Args:
        vectors: ``[N, D]``.

    Returns:
        The rows; of equal cosines the lowest.
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
        # A product in another order rounds differently; a tie keeps the lower rows.
        if (value := cosines.flat[place]) > best + 1e-14:
            best, pair = value, (start + place // len(unit), place % len(unit))
    return pair


def _searches(vectors: Vectors, config: DictConfig) -> dict[int, float]:
    """Time the search by number of vectors; beyond those at hand on random ones of their width."""
    random, seconds = np.random.default_rng(0), {}
    for n in SIZES:
        if n > config.largest:
            break
        corpus = vectors[:n]
        if n > len(vectors):
            corpus = random.standard_normal((n, vectors.shape[1]), np.float32)
        repeats = int(config.repeats) if n <= len(vectors) else 1
        timed = interleaved({"search": partial(most_similar_pair, corpus)}, repeats, 0)
        seconds[n] = timed["search"].median
    return seconds


def _points(
    times: Mapping[str, Timing], n: int, few: int, pairs: int, searches: dict[int, float]
) -> list[dict[str, Any]]:
    """Return the points of the plot; each says whether it is measured or extrapolated."""
    encoded = {n: times["encode"].median, few: times["encode few"].median}
    largest = max(searches)
    one_pair = times["pairs"].median / pairs

    def point(size: int, what: str, seconds: float, measured: bool) -> dict[str, Any]:
        kind = "measured" if measured else "extrapolated"
        return {"n": size, "what": what, "seconds": seconds, "kind": kind}

    points = []
    for size in sorted({*SIZES, n, few}):
        seconds = encoded.get(size, encoded[n] * size / n)
        points.append(point(size, "encode", seconds, size in encoded))
        grown = searches[largest] * number_of_pairs(size) / number_of_pairs(largest)
        points.append(point(size, "search", searches.get(size, grown), size in searches))
        points.append(point(size, "cross-encoder", one_pair * number_of_pairs(size), False))
    return points


def files(record: Record, banner: str, command: str) -> dict[str, str]:
    """Render a record, whenever it was measured; the same record gives the same text.

    Args:
        record: Of the ledger, or of ``results/<profile>/records/headline.json``.
        banner: What the profile says above all speeds.
        command: What measures it again.

    Returns:
        The CSV, the Markdown and the record, by their names in ``results/<profile>``.
    """
    content = {"records": {record["key"]: record}}
    beside = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    return {
        "headline.csv": masked(as_csv(record)),
        "headline.md": masked(as_markdown(record, banner, command)),
        "records/headline.json": masked(beside),
    }


def points_beside_paper(record: Record) -> list[dict[str, Any]]:
    """Return the points of a record, each with the paper's seconds, or "" where it gives none."""
    return [
        {**point, "paper": PAPER[point["what"]] if point["n"] == PAPER_N else ""}
        for point in record["scores"]["points"]
    ]


def as_csv(record: Record) -> str:
    """Write one line a point, in the columns `COLUMNS`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for point in points_beside_paper(record):
        writer.writerow({**point, "seconds": f"{point['seconds']:.6g}"})
    return text.getvalue()


def as_markdown(record: Record, banner: str, command: str) -> str:
    """Write our three figures beside the paper's, the pair, and how it was measured."""
    scores, versions = record["scores"], record["versions"]
    n, pairs = scores["n"], number_of_pairs(scores["n"])
    all_pairs = duration(pairs / scores["pairs_per_second"])
    speed = fact(
        "speed_only",
        machine=machine(record),
        timed=[_encoder(record), "the same network as a cross-encoder"],
    )
    pair = " / ".join(f"“{text}”" for text in scores["pair"]["texts"])
    found = "finds the same pair" if scores["exact"] else "**does not find this pair**"
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "numpy"))
    notes = [
        f"The closest pair has a cosine of {scores['pair']['cosine']:.6f}: {pair}. Brute force "
        f"over all cosines in float64 {found}.",
        f"Networks: {'; '.join(sentences(record['facts']))}.",
        f"Each time is the median of {scores['repeats']} repeats [fastest, slowest], taken in "
        "turns; encoding includes tokenisation.",
        "In the plot, searches among more sentences than these are timed on random vectors of the "
        "same width.",
        f"Hardware: {machine(record)}; {scores['threads']} threads of the {scores['device']}; "
        f"{libraries}.",
    ]
    lines = [
        f"# The most similar pair of {n:,} sentences",
        "",
        f"> **{' '.join(filter(None, [banner.strip(), sentence(speed)]))}.**",
        "",
        f"| {n:,} sentences, {pairs:,} pairs | here | the paper, 10,000 on a V100 |",
        "| --- | ---: | ---: |",
        f"| cross-encoder, every pair (extrapolated) | {all_pairs} | ~65 h |",
        f"| sentence encoder: encode | {_spread(scores['seconds']['encode'])} | ~5 s |",
        "| sentence encoder: closest pair, exact | "
        f"{_spread(scores['seconds']['search'])} | ~0.01 s |",
        "",
        f"The cross-encoder scores {scores['pairs_per_second']:,.1f} pairs a second, measured on "
        f"{scores['pairs_timed']:,} pairs; its time for all {pairs:,} is extrapolated from that.",
        "",
        "![cost against the number of sentences](headline.png)",
        "",
        "## Notes",
        "",
        *(f"- {note}" for note in notes),
        "",
        "<details>",
        "<summary>Command and record</summary>",
        "",
        f"- `{command} again=true`",
        f"- record: `{record['key']}`",
        "",
        "</details>",
    ]
    return "\n".join(lines) + "\n"


def title(record: Record) -> str:
    """Name what was measured and where, for the plot."""
    return f"{_encoder(record)} on {machine(record)}"


def _encoder(record: Record) -> str:
    return f"{record['scores']['encoder']} ({record['scores']['precision']})"


def _spread(seconds: Sequence[float]) -> str:
    middle = duration(statistics.median(seconds))
    return f"{middle} [{duration(min(seconds))}, {duration(max(seconds))}]"
