"""The one path from an encoder and tasks to scores; every number in every table comes from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbert_repro.encoders.base import FittedEncoder, PairScorer, SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation import sts
from sbert_repro.evaluation.tasks import Pairs, TaskData, load, resolve
from sbert_repro.evaluation.vectors import encode_sets
from sbert_repro.similarity import paired

Model = SentenceEncoder | PairScorer | FittedEncoder
Floats = NDArray[np.floating]


def evaluate(
    encoder: Model,
    tasks: str | Sequence[str],
    data_root: Path,
    *,
    allow_partial: bool = False,
    cache: Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Score an encoder on tasks.

    Args:
        encoder: A sentence encoder or a pair scorer.
        tasks: Names as in `resolve`: ``"sts"``, ``"stsb,sickr"``, ``["stsb_dev"]``, ``"all"``.
        data_root: Where the data sets lie.
        allow_partial: Accept incomplete data sets; their scores carry ``notes``.
        cache: Where sentence vectors are kept between runs, or ``None``.
        **options: As in `load`: ``classifier``.

    Returns:
        dict[str, Any]: Task → scores × 100 (`sts.score`, or what the task's measure gives), and
        ``_meta``: the encoder's ``label``, ``identity`` and ``notes``.

    Raises:
        UserError: If a task does not exist or its data are missing, damaged or incomplete.
    """
    chosen = resolve(tasks, data_root)
    pairs = [load(t, data_root, allow_partial=allow_partial, **options) for t in chosen]
    meta = {"label": encoder.label, "encoder": dict(encoder.identity), "notes": encoder.notes}
    return {**score_tasks(encoder, pairs, cache), "_meta": meta}


def score_tasks(encoder: Model, read: Sequence[TaskData], cache: Path | None) -> dict[str, Any]:
    """Score an encoder on what has been read; each distinct text of pairs is embedded once.

    Args:
        encoder: A sentence encoder or a pair scorer.
        read: What `load` gave for each task.
        cache: Where sentence vectors are kept, or ``None``.

    Returns:
        dict[str, Any]: Task → scores; with ``notes`` where the data have some.
    """
    predicted = _predict(encoder, [one for one in read if isinstance(one, Pairs)], cache)
    scores: dict[str, Any] = {}
    for one in read:
        if isinstance(one, Pairs):
            scores[one.task.name] = _scored(one, predicted[one.task.name])
        else:
            found = one.task.module.score(encoder, one, cache)
            scores[one.task.name] = {**found, "notes": one.notes} if one.notes else found
    return scores


def _scored(pairs: Pairs, predicted: Mapping[str, Floats]) -> dict[str, Any]:
    scores = sts.score(predicted, pairs.gold, pairs.subset)
    notes = list(pairs.notes)
    if scores["pearson"] is None:
        # A collapsed model is a result to be shown, not an error.
        notes.append(f"{pairs.task.name}: all similarities are equal, no correlation is defined")
    return {**scores, "notes": notes} if notes else scores


def _predict(
    encoder: Model, pairs: Sequence[Pairs], cache: Path | None
) -> Mapping[str, dict[str, Floats]]:
    if not pairs:
        return {}
    if isinstance(encoder, FittedEncoder):
        raise UserError(
            f"task={pairs[0].task.name}: {encoder.label} has to be fitted on training sentences, "
            "and this task has none; use task=afs or task=bws"
        )
    if isinstance(encoder, PairScorer):
        both = {one.task.name: list(zip(one.first, one.second, strict=True)) for one in pairs}
        return {name: {"score": encoder.score(of_task)} for name, of_task in both.items()}
    vectors = encode_sets(encoder, {one.task.name: one.sentences for one in pairs}, cache)
    return {one.task.name: _similarities(one, vectors[one.task.name]) for one in pairs}


def _similarities(pairs: Pairs, vectors: Floats) -> dict[str, Floats]:
    assert vectors.shape[0] == len(pairs.sentences) and vectors.ndim == 2, vectors.shape  # noqa: PLR2004
    row = {text: number for number, text in enumerate(pairs.sentences)}
    u = vectors[[row[text] for text in pairs.first]]
    v = vectors[[row[text] for text in pairs.second]]
    return paired(u, v)
