"""The one path from an encoder and tasks to scores; every number in every table comes from here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from sbert_repro.encoders.base import FittedEncoder, PairScorer, SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation import sts
from sbert_repro.evaluation.tasks import GROUPS, Pairs, TaskData, load, resolve
from sbert_repro.evaluation.vectors import encode_sets, finite, rows_of
from sbert_repro.facts import fact, sentences
from sbert_repro.redaction import masked
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
        allow_partial: Accept incomplete data sets; the facts then tell.
        cache: Where sentence vectors are kept between runs, or ``None``.
        **options: As in `load`: ``classifier``, ``folds``.

    Returns:
        dict[str, Any]: Task → scores × 100 with their ``facts`` (`score_tasks`), and ``_meta``: the
        encoder's ``label``, identity (``encoder``) and ``facts``.

    Raises:
        UserError: If a task does not exist or its data are missing, damaged or incomplete.
    """
    chosen = resolve(tasks, data_root)
    data = [load(task, data_root, allow_partial=allow_partial, **options) for task in chosen]
    meta = {
        "label": encoder.label,
        "encoder": dict(encoder.identity),
        "facts": list(encoder.facts),
    }
    scores = score_tasks(encoder, data, cache)
    for found in scores.values():
        del found["predictions"]
    return {**scores, "_meta": meta}


def score_tasks(encoder: Model, data: Sequence[TaskData], cache: Path | None) -> dict[str, Any]:
    """Score an encoder on what has been read; each distinct text of pairs is embedded once.

    Args:
        encoder: A sentence encoder or a pair scorer.
        data: What `load` returned for each task.
        cache: Where sentence vectors are kept, or ``None``.

    Returns:
        dict[str, Any]: Task → scores × 100 (`sts.score`, or those of the task's measure),
        ``facts``, what a reader of them must know, and ``predictions``, what was said of each test
        item (`bootstrap.Predictions`).

    Raises:
        UserError: If a task cannot be scored with this kind of model.
    """
    predicted = _predict(encoder, [one for one in data if isinstance(one, Pairs)], cache)
    scores: dict[str, Any] = {}
    for one in data:
        facts = list(one.facts)
        if isinstance(one, Pairs):
            similarities = predicted[one.task.name]
            found = sts.score(similarities, one.gold, one.subset)
            found["predictions"] = {
                "predicted": next(iter(similarities.values())),
                "gold": one.gold,
            }
            if found["pearson"] is None:
                # A collapsed model is a result to be shown, not an error.
                facts.append(fact("no_correlation", task=one.task.name))
        else:
            found = one.task.module.score(encoder, one, cache)
        scores[one.task.name] = {**found, "facts": facts}
    return scores


def _predict(
    encoder: Model, data: Sequence[Pairs], cache: Path | None
) -> dict[str, dict[str, Floats]]:
    """Return the similarities of each task's pairs by name, the one that is the score first."""
    if not data:
        return {}
    if isinstance(encoder, FittedEncoder):
        raise UserError(
            f"{encoder.label} has to be fitted on training sentences, and this task has none",
            where=f"task={data[0].task.name}",
            mend="use task=afs or task=bws",
        )
    if isinstance(encoder, PairScorer):
        return {
            one.task.name: {
                "score": finite(
                    encoder.score(list(zip(one.first, one.second, strict=True))), encoder.label
                )
            }
            for one in data
        }
    vectors = encode_sets(encoder, {one.task.name: one.sentences for one in data}, cache)
    predicted = {}
    for one in data:
        u, v = rows_of(vectors[one.task.name], one.sentences, one.first, one.second)
        predicted[one.task.name] = paired(u, v)
    return predicted


def as_json(scores: Mapping[str, Any]) -> str:
    """Write scores as the JSON of ``output=…``, not rounded.

    Args:
        scores: From `evaluate`.

    Returns:
        str: JSON; an undefined score is null; SentEval's tasks stand together. ``notes`` are the
        sentences of ``facts``, and left out where a task has nothing to say.
    """
    written = {name: _with_notes(found) for name, found in scores.items()}
    written["_meta"].setdefault("notes", [])
    if transfer := {name: written.pop(name) for name in GROUPS["senteval"] if name in written}:
        written = {"senteval": transfer, **written}
    return masked(json.dumps(written, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def notes(scores: Mapping[str, Any]) -> list[str]:
    """Say what has to be known of scores, each once.

    Args:
        scores: From `evaluate`.

    Returns:
        Sentences on the encoder, then on the tasks.
    """
    tasks = [found for name, found in scores.items() if name != "_meta"]
    return sentences(fact for found in (scores["_meta"], *tasks) for fact in found["facts"])


def _with_notes(found: Mapping[str, Any]) -> dict[str, Any]:
    notes = sentences(found["facts"])
    return {**found, "notes": notes} if notes else dict(found)


def table(scores: Mapping[str, Any]) -> Table:
    """Lay scores out for the screen, one row for each task, with the paper's two digits.

    Args:
        scores: From `evaluate`.

    Returns:
        The table, without what `notes` says.
    """
    meta = scores["_meta"]
    tasks = {name: found for name, found in scores.items() if not name.startswith("_")}
    only_pairs = not any("accuracy" in found for found in tasks.values())
    scores_pairs = meta["encoder"].get("encoder") == "cross_encoder"
    ranked = "score of each pair" if scores_pairs else "cosine"
    what = f"correlation of the {ranked} × 100" if only_pairs else "scores × 100"
    shown = Table(
        title=f"{meta['label']}: {what}",
        box=None,
        padding=(0, 1, 0, 0),
    )
    others = list(dict.fromkeys(o for f in tasks.values() for o in f.get("similarities", [])))
    main = "Spearman" if only_pairs else "score"
    shown.add_column("task", no_wrap=True)
    for column in ("n", main, "95 %", "mean", "wmean", "Pearson", *(o[:4] for o in others)):
        shown.add_column(column, justify="right", no_wrap=True)
    for name, found in tasks.items():
        interval = [_number(found.get(key), 1) for key in ("ci_low", "ci_high")]
        cells = [found.get(key, "") for key in ("mean", "wmean", "pearson")]
        cells += [found.get("similarities", {}).get(other, "") for other in others]
        shown.add_row(
            name,
            f"{found['n']:,}",
            _number(sts.main_score(found)),
            "–".join(interval) if "ci_low" in found else "",
            *("" if cell == "" else _number(cell) for cell in cells),
        )
    return shown


def _number(value: float | None, digits: int = 2) -> str:
    return "—" if value is None or math.isnan(value) else f"{value:.{digits}f}"
