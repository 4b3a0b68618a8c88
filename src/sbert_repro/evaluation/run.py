"""Evaluation through the ledger: one record a model and task, only missing ones computed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from sbert_repro.composition import build
from sbert_repro.config import plain, run_key
from sbert_repro.data.schema import FOLDS_VERSION, dataset
from sbert_repro.encoders.run import from_run
from sbert_repro.evaluation.evaluate import Model, score_tasks
from sbert_repro.evaluation.leaks import refuse_seen
from sbert_repro.evaluation.sts import main_score
from sbert_repro.evaluation.tasks import TaskData, load, resolve
from sbert_repro.ledger import Ledger
from sbert_repro.training.run import add_scores, stages

KIND = "evaluate"
Record = dict[str, Any]


def settings_of(encoder: Model, pairs: TaskData) -> dict[str, Any]:
    """Give what an evaluation's number depends on.

    Args:
        encoder: A sentence encoder or a pair scorer.
        pairs: What a task is scored on.

    Returns:
        dict[str, Any]: The model by content, the task, the data by content, the metric's version.
    """
    cut = {"folds": FOLDS_VERSION} if dataset(pairs.task.dataset).topics else {}
    return {
        "encoder": dict(encoder.identity),
        "task": pairs.task.name,
        "splits": list(pairs.task.splits),
        "data": pairs.sha256,
        "version": pairs.task.module.VERSION,
        **getattr(pairs, "settings", {}),
        **cut,
    }


def key_of(encoder: Model, pairs: TaskData) -> str:
    """Name an evaluation by what its number depends on (`settings_of`): 16 hex digits."""
    return run_key(KIND, settings_of(encoder, pairs))


def look_up(encoder: Model, pairs: Sequence[TaskData], ledger: Ledger) -> dict[str, Record | None]:
    """Find what has been computed.

    Args:
        encoder: A sentence encoder or a pair scorer.
        pairs: What each task is scored on.
        ledger: Where records are kept.

    Returns:
        dict[str, Record | None]: Task → record, ``None`` where there is none yet.
    """
    return {one.task.name: ledger.get(key_of(encoder, one)) for one in pairs}


def evaluate_run(
    encoder: Model,
    pairs: Sequence[TaskData],
    ledger: Ledger,
    cache: Path | None = None,
    before: Callable[[dict[str, Record]], object] | None = None,
) -> dict[str, Record]:
    """Give the records of an encoder; what is not in the ledger is computed together.

    A second process that wants one of them waits and then finds it.

    Args:
        encoder: A sentence encoder or a pair scorer.
        pairs: What each task is scored on.
        ledger: Where records are kept.
        cache: Where sentence vectors are kept, or ``None``.
        before: Called with a task's new record before that is put: a table that is killed after it
            does not come back to it.

    Returns:
        dict[str, Record]: Task → record; ``record["scores"]`` is what `sts.score` gives.
    """
    records = look_up(encoder, pairs, ledger)
    if None in records.values():
        with contextlib.ExitStack() as locks:
            missing = [one for one in pairs if records[one.task.name] is None]
            # Sorted, so that two processes never hold one lock each and wait for the other's.
            for key in sorted(key_of(encoder, one) for one in missing):
                locks.enter_context(ledger.lock(key))
            records = look_up(encoder, pairs, ledger)
            missing = [one for one in pairs if records[one.task.name] is None]
            for one, record in zip(missing, _compute(encoder, missing, cache), strict=True):
                if before is not None:
                    before({one.task.name: record})
                records[one.task.name] = ledger.put(key_of(encoder, one), record)
    return {name: record for name, record in records.items() if record is not None}


def _compute(encoder: Model, pairs: Sequence[TaskData], cache: Path | None) -> Iterator[Record]:
    if not pairs:
        return
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    scores = score_tasks(encoder, pairs, cache)
    share = (time.monotonic() - clock) / len(pairs)
    for one in pairs:
        found = scores[one.task.name]
        yield {
            "kind": KIND,
            "settings": settings_of(encoder, one),
            "scores": found,
            "seed": found.get("seed"),
            "notes": [*encoder.notes, *found.get("notes", [])],
            "wall_seconds": round(share, 3),
            "started": started,
            "threads": torch.get_num_threads(),
            "wandb_id": None,
        }


def encoder_of(config: DictConfig, run: str | None = None) -> Model:
    """Build the encoder that a command's options name, or load the one of a run.

    Args:
        config: Composed options of an evaluation, or of the run's training.
        run: A finished run's key, or ``None``.

    Returns:
        Model: A sentence encoder or a pair scorer.

    Raises:
        UserError: If model or run are not there.
    """
    options: dict[str, Any] = {
        "precision": plain(config.get("precision")) or "fp32",
        "engine": config.get("engine") or "auto",
        "progress": config.trainer.progress if "trainer" in config else config.progress,
    }
    if run is not None:
        words = {"data_root": config.paths.data, "cache": config.paths.cache}
        return from_run(run, str(_runs(config)), **words, **options)
    pooling = None if config.pooling is None else build(config.pooling)
    model: Model = build(
        config.encoder, pooling=pooling, models_root=config.paths.models, **options
    )
    return model


def scored(
    config: DictConfig, run: str | None, tasks: str | Sequence[str]
) -> dict[str, Record | None]:
    """Find what has been computed for the encoder of `encoder_of`, computing nothing.

    Args:
        config: Composed options of an evaluation, or of the run's training.
        run: A finished run's key, or ``None``.
        tasks: Names as in `resolve`.

    Returns:
        dict[str, Record | None]: Task → record, ``None`` where there is none yet.

    Raises:
        UserError: If the model, a task or its data are not there, damaged or incomplete.
    """
    return look_up(encoder_of(config, run), _pairs(config, tasks), Ledger(_runs(config)))


def score(config: DictConfig, run: str | None, tasks: str | Sequence[str]) -> dict[str, Record]:
    """Score the encoder of `encoder_of`, through the ledger.

    Args:
        config: Composed options of an evaluation, or of the run's training.
        run: A finished run's key, or ``None``.
        tasks: Names as in `resolve`.

    Returns:
        dict[str, Record]: Task → record.

    Raises:
        UserError: If the model, a task or its data are not there, damaged or incomplete.
    """
    pairs = _pairs(config, tasks)
    ledger = Ledger(_runs(config))
    encoder, cache = encoder_of(config, run), Path(config.paths.cache)
    if run is None:
        return evaluate_run(encoder, pairs, ledger, cache)
    trained = (ledger.get(run) or {}).get("scores", {})

    def shown(records: dict[str, Record]) -> None:
        tested = {task: main_score(record["scores"]) for task, record in records.items()}
        add_scores(ledger.folder(run), {**trained, **tested})

    found = evaluate_run(encoder, pairs, ledger, cache, shown)
    shown(found)
    return found


def check_tasks(config: DictConfig, overrides: list[str]) -> None:
    """Refuse tasks that do not exist, lack their data or were seen, before hours of training.

    Args:
        config: A run's composed options; ``evaluate`` lists the tasks.
        overrides: The options as typed, from which a first stage's are made.

    Raises:
        UserError: If a task or its data are not there, damaged or incomplete, or a stage of the run
            is trained on them.
    """
    if config.evaluate:
        tasks = list(config.evaluate)
        for stage in stages(config, overrides):
            refuse_seen(stage, resolve(tasks, Path(config.paths.data)))
        _pairs(config, tasks)


def evaluate_trained(config: DictConfig, key: str) -> dict[str, float]:
    """Score a run that train.py has just finished, or finished long ago.

    Args:
        config: The run's composed options; ``evaluate`` lists the tasks.
        key: The run's key.

    Returns:
        dict[str, float]: Task → its score × 100, NaN where it is not defined.
    """
    records = score(config, key, list(config.evaluate)) if config.evaluate else {}
    return {task: main_score(record["scores"]) for task, record in records.items()}


def _runs(config: DictConfig) -> Path:
    return Path(config.paths.results) / "runs"


def _pairs(config: DictConfig, tasks: str | Sequence[str]) -> list[TaskData]:
    root, partial = Path(config.paths.data), bool(config.data.allow_partial)
    options = {"classifier": build(config.classifier)}
    return [load(t, root, allow_partial=partial, **options) for t in resolve(tasks, root)]
