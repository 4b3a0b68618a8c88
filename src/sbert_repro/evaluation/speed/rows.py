"""The rows of Table 7: sentences a second of several encoders, in one run on one machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from sbert_repro.compose import compose
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import Model
from sbert_repro.evaluation.run import encoder_of
from sbert_repro.evaluation.speed.ceiling import (
    DTYPES,
    Shape,
    product_work,
    shape_and_lengths,
    useful_flops,
)
from sbert_repro.evaluation.speed.shapes import BASE, SIZES, timed_model
from sbert_repro.evaluation.speed.timing import Timing, interleaved
from sbert_repro.evaluation.tasks import TASKS, Pairs, load
from sbert_repro.facts import sentences

DEMO_MODEL = "demo-bert"
_WORDS = ("glove", "fasttext")
"""Encoders whose stand-ins of a profile are taken; a network has one of its own shape."""


@dataclass(frozen=True)
class Timed:
    """What is timed, ready to run.

    Attributes:
        name: Of the row.
        encoder: The encoder.
        notes: What a reader must know.
        flops: Useful arithmetic of all sentences, 0 where it is not counted.
        precision: ``fp32`` or ``bf16``.
    """

    name: str
    encoder: SentenceEncoder
    notes: list[str]
    flops: float
    precision: str


def sentences_of(config: DictConfig, count: int) -> tuple[list[str], list[str]]:
    """Give distinct sentences of STSb's test split, in the order of the file.

    Doing equal sentences once, as our encoders do, gains nothing on distinct ones.

    Args:
        config: Composed options; ``paths`` and ``data`` are read.
        count: How many at most.

    Returns:
        tuple[list[str], list[str]]: Sentences, and what a reader must know about them.

    Raises:
        UserError: If the data are not there.
    """
    root, partial = Path(config.paths.data), bool(config.data.allow_partial)
    pairs = load(TASKS["stsb"], root, allow_partial=partial)
    assert isinstance(pairs, Pairs), "STSb holds scored pairs"
    # All first sentences, then all second ones: the two of a pair are not neighbours.
    every = list(dict.fromkeys([*pairs.first, *pairs.second]))
    found = every[:count]
    return found, [
        f"{len(found):,} distinct sentences of STSb's test split",
        *sentences(pairs.facts),
    ]


def ready(name: str, words: Sequence[str], config: DictConfig, texts: Sequence[str]) -> Timed:
    """Build the encoder of a row and load all it needs.

    Args:
        name: Of the row.
        words: Its options, as for ``scripts/evaluate.py``.
        config: Composed options of the whole measurement.
        texts: What is timed.

    Returns:
        Timed: Ready to run.

    Raises:
        UserError: If the model is not there, or its library is not installed.
    """
    chosen = compose([*_stood_in(words, config), f"profile={config.profile.name}"], "evaluate")
    chosen.paths, chosen.progress = config.paths, False
    notes: list[str] = []
    if chosen.encoder.get("path") in SIZES:
        folder, notes = _network(chosen.encoder.path, config, texts)
        chosen.encoder.path = str(folder)
        if notes:
            chosen.encoder.label = f"random weights, shape of {folder.name}"
        if "revision" in chosen.encoder:
            chosen.encoder.revision = None
    if "batch_size" in chosen.encoder:
        chosen.encoder.batch_size = config.batch_size
    encoder, more = _built(chosen, config)
    if not isinstance(encoder, SentenceEncoder):
        raise UserError(f"{name}: {encoder.label} gives no sentence vectors, nothing can be timed")
    notes += more
    engine = getattr(encoder, "engine", None)
    notes += [f"engine {engine}"] if engine else []
    precision = str(chosen.precision.name)
    return Timed(
        name, encoder, [*sentences(encoder.facts), *notes], useful_flops(encoder, texts), precision
    )


def _built(chosen: DictConfig, config: DictConfig) -> tuple[Model, list[str]]:
    """Build an encoder; a network over word vectors that are not here gets the profile's."""
    try:
        return encoder_of(chosen), []
    except UserError:
        other = config.profile.stand_ins.get(_WORDS[0])
        if other is None or not str(chosen.encoder["_target_"]).endswith("BiLstmEncoder"):
            raise
    chosen.encoder.path = compose([f"encoder={other}"], "evaluate").encoder.path
    return encoder_of(chosen), [f"over the word vectors {chosen.encoder.path}"]


def _stood_in(words: Sequence[str], config: DictConfig) -> list[str]:
    changed = []
    for word in words:
        key, _, value = word.partition("=")
        other = config.profile.stand_ins.get(value) if key == "encoder" else None
        changed.append(f"encoder={other}" if other and value in _WORDS else word)
    return changed


def _network(name: str, config: DictConfig, texts: Sequence[str]) -> tuple[Path, list[str]]:
    models = Path(config.paths.models)
    if config.profile.name == "demo":
        return models / DEMO_MODEL, ["random 2-layer BERT of the demo"]
    download = config.profile.name == "paper"
    return timed_model(name, models, Path(config.paths.cache), texts, download=download)


@dataclass(frozen=True)
class Lineup:
    """All that is timed together.

    Attributes:
        works: What can be timed, by row.
        reasons: Why other rows cannot.
        texts: The sentences.
        notes: What a reader must know about them.
    """

    works: dict[str, Timed]
    reasons: dict[str, str]
    texts: list[str]
    notes: list[str]


def lineup(rows: Mapping[str, Sequence[str]], config: DictConfig) -> Lineup:
    """Build the encoders of all rows.

    Args:
        rows: Name → options.
        config: Composed options of the measurement.

    Returns:
        Lineup: What can be timed here.

    Raises:
        UserError: If the sentences are not there.
    """
    texts, notes = sentences_of(config, int(config.sentences))
    works: dict[str, Timed] = {}
    reasons: dict[str, str] = {}
    for name, words in rows.items():
        try:
            works[name] = ready(name, words, config, texts)
        except UserError as problem:
            reasons[name] = str(problem)
    return Lineup(works, reasons, texts, notes)


def measured(line: Lineup, repeats: int) -> dict[str, Any]:
    """Measure all rows in turns, and the machine's ceiling among them.

    Args:
        line: What is timed.
        repeats: How often each.

    Returns:
        dict[str, Any]: ``rows``: name → ``sentences_per_second`` (median), ``lowest``,
        ``highest``, ``gflops``, ``share`` of the ceiling, ``notes``, or ``reason``;
        ``ceiling_gflops`` by precision; and how it was measured.
    """
    shape = _shape(line.works.values(), line.texts)
    products = {p: product_work(shape, p) for p in DTYPES}
    every = {n: (lambda one=one: one.encoder.encode(line.texts)) for n, one in line.works.items()}
    ceilings = {f"ceiling {p}": work for p, (work, _) in products.items()}
    times = interleaved({**every, **ceilings}, repeats, title="speeds")
    ceiling = {p: f / times[f"ceiling {p}"].median / 1e9 for p, (_, f) in products.items()}
    found: dict[str, Any] = {name: {"reason": why} for name, why in line.reasons.items()}
    for name, one in line.works.items():
        found[name] = _figures(one, times[name], len(line.texts), ceiling)
    return {
        "rows": found,
        "ceiling_gflops": ceiling,
        "notes": line.notes,
        "device": "GPU" if torch.cuda.is_available() else "CPU",
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "sentences": len(line.texts),
    }


def _shape(works: Any, texts: Sequence[str]) -> Shape:
    """Give the shape that the ceiling is measured at: that of the rows that are BERTs."""
    folders = [f for one in works if (f := getattr(one.encoder, "folder", None)) is not None]
    if folders:
        return shape_and_lengths(folders[0], texts[:1])[0]
    size = SIZES[BASE]
    return Shape(size.layers, size.width, size.intermediate)


def _figures(
    one: Timed, timing: Timing, count: int, ceiling: Mapping[str, float]
) -> dict[str, Any]:
    fast, slow = timing.ends
    gflops = one.flops / timing.median / 1e9 if one.flops else None
    return {
        "seconds": timing.seconds,
        "sentences_per_second": count / timing.median,
        "lowest": count / slow,
        "highest": count / fast,
        "gflops": gflops,
        "share": None if gflops is None else gflops / ceiling[one.precision],
        "precision": one.precision,
        "notes": one.notes,
        "label": one.encoder.label,
    }
