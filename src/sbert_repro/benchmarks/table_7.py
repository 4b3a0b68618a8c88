"""Table 7: sentences a second of several encoders, measured in turns in one run on one machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from sbert_repro.benchmarks.models import BASE, SIZES, model_to_time
from sbert_repro.benchmarks.peers import SentenceTransformersEncoder
from sbert_repro.benchmarks.timing import (
    PRECISIONS,
    Record,
    Shape,
    Timing,
    choose_batch_size,
    identity_of,
    interleaved,
    kept,
    product_work,
    shape_and_lengths,
    why_not_timed,
)
from sbert_repro.compose import compose
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.run import encoder_of
from sbert_repro.evaluation.tasks import TASKS, Pairs, load
from sbert_repro.facts import Fact, fact

_TIMED_INSTEAD = ("glove", "fasttext", "use")
"""Encoders whose stand-ins in a profile are timed; BERT has stand-ins of its own shape."""


@dataclass(frozen=True)
class TimedEncoder:
    """An encoder that is ready to be timed.

    Attributes:
        encoder: The encoder.
        facts: Its own, and those of what stands in for its model.
        flops: Useful arithmetic of all sentences; 0 where it is not counted.
        precision: ``fp32``, ``bf16`` or ``int8``.
    """

    encoder: SentenceEncoder
    facts: list[Fact]
    flops: float
    precision: str


@dataclass(frozen=True)
class Lineup:
    """All that is timed together.

    Attributes:
        encoders: What can be timed, by row.
        refusals: Why other rows cannot be timed here, by row.
        texts: The sentences.
        facts: About the sentences.
    """

    encoders: dict[str, TimedEncoder]
    refusals: dict[str, UserError]
    texts: list[str]
    facts: list[Fact]


def timed_rows(rows: Mapping[str, Sequence[str]], config: DictConfig) -> Record:
    """Time encoders in turns, or find their record in the ledger.

    Args:
        rows: Row → options, as for ``scripts/evaluate.py``.
        config: Composed options of ``configs/speed.yaml``.

    Returns:
        The record; ``record["scores"]`` is what `measure` returns.

    Raises:
        UserError: If the sentences are not there.
    """
    line = lineup(rows, config)
    settings = {
        "rows": {name: identity_of(one.encoder) for name, one in line.encoders.items()},
        "options": {name: list(words) for name, words in rows.items()},
        "texts": hashlib.sha256("\0".join(line.texts).encode()).hexdigest(),
        "batch_size": int(config.batch_size),
    }
    return kept(settings, config, lambda: measure(line, int(config.repeats)))


def lineup(rows: Mapping[str, Sequence[str]], config: DictConfig) -> Lineup:
    """Build the encoders of all rows.

    Args:
        rows: Row → options.
        config: Composed options of ``configs/speed.yaml``.

    Returns:
        What can be timed here, and what cannot.

    Raises:
        UserError: If the sentences are not there.
    """
    texts, facts = stsb_sentences(config, int(config.sentences))
    line = Lineup({}, {}, texts, facts)
    for name, words in rows.items():
        try:
            line.encoders[name] = ready(words, config, texts)
        except UserError as problem:
            line.refusals[name] = problem
    return line


def stsb_sentences(config: DictConfig, count: int) -> tuple[list[str], list[Fact]]:
    """Return distinct sentences of STSb's test split, in the order of the file.

    Our encoders embed equal sentences once; among distinct ones that gains nothing.

    Args:
        config: Composed options; ``paths`` and ``data`` are read.
        count: Most sentences.

    Returns:
        The sentences, and the facts about them.

    Raises:
        UserError: If the data are not there.
    """
    task = TASKS["stsb"]
    pairs = load(task, Path(config.paths.data), allow_partial=bool(config.data.allow_partial))
    assert isinstance(pairs, Pairs), "STSb holds scored pairs"
    # All first sentences, then all second ones: the two of a pair are not neighbours.
    texts = list(dict.fromkeys([*pairs.first, *pairs.second]))[:count]
    drawn = fact("sentences", count=len(texts), title="STSb", split="test")
    return texts, [drawn, *pairs.facts]


def ready(words: Sequence[str], config: DictConfig, texts: Sequence[str]) -> TimedEncoder:
    """Build the encoder of a row.

    Args:
        words: Its options, as for ``scripts/evaluate.py``.
        config: Composed options of the measurement.
        texts: What is timed.

    Returns:
        The encoder, ready to be timed.

    Raises:
        UserError: If the model is not there, its library is not installed, it has no vectors, or
            this processor has no bf16.
    """
    chosen = compose([*_stood_in(words, config), f"profile={config.profile.name}"], "evaluate")
    chosen.paths, chosen.progress = config.paths, False
    precision = str(chosen.precision.name)
    if precision == "bf16" and (reason := why_not_timed(precision)):
        raise UserError(reason)
    facts: list[Fact] = []
    if chosen.encoder.get("path") in SIZES:
        download = config.profile.name == "paper"
        folder, facts = model_to_time(chosen.encoder.path, config, texts, download=download)
        chosen.encoder.path = str(folder)
        if facts:
            chosen.encoder.label = f"random weights, shape of {folder.name}"
        if "revision" in chosen.encoder:
            chosen.encoder.revision = None
    if "batch_size" in chosen.encoder:
        chosen.encoder.batch_size = config.batch_size
    encoder = encoder_of(chosen)
    if not isinstance(encoder, SentenceEncoder):
        raise UserError(f"{encoder.label} has no sentence vectors, so nothing can be timed")
    if engine := getattr(encoder, "engine", None):
        facts.append(fact("engine", engine=engine))
    facts = [*encoder.facts, *facts]
    return TimedEncoder(encoder, facts, _useful_flops(encoder, texts), precision)


def _stood_in(words: Sequence[str], config: DictConfig) -> list[str]:
    stand_ins = {f"encoder={name}": config.profile.stand_ins.get(name) for name in _TIMED_INSTEAD}
    return [f"encoder={other}" if (other := stand_ins.get(word)) else word for word in words]


def _useful_flops(encoder: object, texts: Sequence[str]) -> float:
    """Count the arithmetic of a BERT on all texts; 0 for any other network."""
    folder = getattr(encoder, "folder", None)
    if folder is None or not any(folder.rglob("tokenizer*.json")):
        return 0.0
    shape, lengths = shape_and_lengths(folder, texts)
    return shape.flops(lengths)


def measure(line: Lineup, repeats: int) -> dict[str, Any]:
    """Time all rows in turns, and the machine's ceiling among them.

    Args:
        line: What is timed.
        repeats: How often each.

    Returns:
        ``rows``: row → ``sentences_per_second`` (median), ``lowest``, ``highest``, ``gflops``,
        ``share`` of the ceiling, ``label``, ``facts``, or ``reason`` and its ``code``;
        ``ceiling_gflops`` by precision; and how it was measured.
    """
    for one in line.encoders.values():
        if isinstance(one.encoder, SentenceTransformersEncoder):
            one.facts.append(choose_batch_size(one.encoder, line.texts))
    products = {p: product_work(_shape(line), p) for p in PRECISIONS if why_not_timed(p) is None}
    encoders = {
        name: partial(one.encoder.encode, line.texts) for name, one in line.encoders.items()
    }
    ceilings = {f"ceiling {p}": work for p, (work, _) in products.items()}
    times = interleaved({**encoders, **ceilings}, repeats, title="speeds")
    ceiling = {p: f / times[f"ceiling {p}"].median / 1e9 for p, (_, f) in products.items()}
    rows: dict[str, Any] = {
        name: {"reason": why.found, "code": why.code} for name, why in line.refusals.items()
    }
    for name, one in line.encoders.items():
        rows[name] = _figures(one, times[name], len(line.texts), ceiling)
    return {
        "rows": rows,
        "ceiling_gflops": ceiling,
        "facts": line.facts,
        "device": "GPU" if torch.cuda.is_available() else "CPU",
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "sentences": len(line.texts),
    }


def _shape(line: Lineup) -> Shape:
    """Return the shape that the ceiling is measured at: that of the rows that are BERTs."""
    for one in line.encoders.values():
        if one.flops:
            return shape_and_lengths(getattr(one.encoder, "folder"), line.texts[:1])[0]  # noqa: B009
    size = SIZES[BASE]
    return Shape(size.layers, size.width, size.intermediate)


def _figures(
    one: TimedEncoder, timing: Timing, count: int, ceiling: Mapping[str, float]
) -> dict[str, Any]:
    gflops = one.flops / timing.median / 1e9 if one.flops else None
    return {
        "seconds": timing.seconds,
        "sentences_per_second": count / timing.median,
        "lowest": count / max(timing.seconds),
        "highest": count / min(timing.seconds),
        "gflops": gflops,
        "share": gflops / ceiling[one.precision] if gflops and one.precision in ceiling else None,
        "precision": one.precision,
        "facts": one.facts,
        "label": one.encoder.label,
    }
