"""Evaluation through the ledger: one record for each model and task, computed only once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sbert_repro.compose import build, word_of
from sbert_repro.config import plain, run_key
from sbert_repro.data.schema import FOLDS_VERSION, dataset
from sbert_repro.encoders.run import from_run
from sbert_repro.evaluation import bootstrap
from sbert_repro.evaluation.evaluate import Model, score_tasks
from sbert_repro.evaluation.leaks import refuse_seen
from sbert_repro.evaluation.sts import main_score
from sbert_repro.evaluation.tasks import TaskData, load, resolve
from sbert_repro.ledger import Ledger, Published
from sbert_repro.training import tracking
from sbert_repro.training.run import add_scores, shown, stages, words_of

KIND = "evaluate"
Record = dict[str, Any]


def settings_of(encoder: Model, data: TaskData) -> dict[str, Any]:
    """Return what the number of an evaluation depends on.

    Args:
        encoder: A sentence encoder or a pair scorer.
        data: What a task is scored on.

    Returns:
        dict[str, Any]: The model by content, the task, the data by content, the metric's version.
    """
    return {"encoder": dict(encoder.identity), **_settings_of_task(data)}


def _settings_of_task(data: TaskData) -> dict[str, Any]:
    parts = {"folds": FOLDS_VERSION} if dataset(data.task.dataset).topics else {}
    return {
        "task": data.task.name,
        "splits": list(data.task.splits),
        "data": data.sha256,
        "version": data.task.module.VERSION,
        **getattr(data, "settings", {}),
        **parts,
    }


def score_key(encoder: Model, data: TaskData) -> str:
    """Name an evaluation by what its number depends on (`settings_of`).

    Args:
        encoder: A sentence encoder or a pair scorer.
        data: What a task is scored on.

    Returns:
        str: 16 hex digits.
    """
    return run_key(KIND, settings_of(encoder, data))


def look_up(encoder: Model, data: Sequence[TaskData], ledger: Ledger) -> dict[str, Record | None]:
    """Find what has been computed.

    Args:
        encoder: A sentence encoder or a pair scorer.
        data: What each task is scored on.
        ledger: Where records are kept.

    Returns:
        dict[str, Record | None]: Task → record, ``None`` where there is none yet.
    """
    found = {one.task.name: ledger.get(score_key(encoder, one)) for one in data}
    return {one.task.name: _with_facts(found[one.task.name], encoder, one) for one in data}


def _with_facts(record: Record | None, encoder: Model, data: TaskData) -> Record | None:
    """Complete a record that was made before facts were fields: equal keys mean equal data."""
    if record is None or all(one["code"] != "facts_of_before" for one in record["facts"]):
        return record
    return {**record, "facts": [*encoder.facts, *data.facts, *record["facts"]]}


def evaluate_once(
    encoder: Model,
    data: Sequence[TaskData],
    ledger: Ledger,
    cache: Path | None = None,
    *,
    run: str | None = None,
    before: Callable[[dict[str, Record]], object] | None = None,
) -> dict[str, Record]:
    """Return the records of an encoder; those that are not in the ledger are computed together.

    A second process that wants one of them waits, and then finds it. What the encoder said of each
    test item is kept beside the record.

    Args:
        encoder: A sentence encoder or a pair scorer.
        data: What each task is scored on.
        ledger: Where records are kept.
        cache: Where sentence vectors are kept, or ``None``.
        run: The key of the run that trained the encoder, or ``None``.
        before: Called with the new record of a task before it is stored, so that whoever is killed
            in between has not missed it: the next process computes it again.

    Returns:
        dict[str, Record]: Task → record; ``record["scores"]`` are those of `score_tasks`.
    """
    records = look_up(encoder, data, ledger)
    if None in records.values():
        with contextlib.ExitStack() as locks:
            missing = [one for one in data if records[one.task.name] is None]
            # Sorted, so that two processes never hold one lock each and wait for the other's.
            for key in sorted(score_key(encoder, one) for one in missing):
                locks.enter_context(ledger.lock(key))
            records = look_up(encoder, data, ledger)
            missing = [one for one in data if records[one.task.name] is None]
            for one, record in zip(missing, _compute(encoder, missing, cache), strict=True):
                bootstrap.keep(record.pop("predictions"), ledger, score_key(encoder, one))
                record["run"] = run
                if before is not None:
                    before({one.task.name: record})
                records[one.task.name] = ledger.put(score_key(encoder, one), record)
    return {name: record for name, record in records.items() if record is not None}


def _compute(encoder: Model, data: Sequence[TaskData], cache: Path | None) -> list[Record]:
    if not data:
        return []
    import torch  # seconds, which scores that are found do not wait for

    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    scores = score_tasks(encoder, data, cache)
    seconds = (time.monotonic() - clock) / len(data)
    records = []
    for one in data:
        found = scores[one.task.name]
        facts, predictions = found.pop("facts"), found.pop("predictions")
        records.append(
            {
                "kind": KIND,
                "settings": settings_of(encoder, one),
                "scores": found,
                "seed": found.get("seed"),
                "facts": [*encoder.facts, *facts],
                "wall_seconds": round(seconds, 3),
                "started": started,
                "threads": torch.get_num_threads(),
                "wandb_id": None,
                "predictions": predictions,
            }
        )
    return records


def encoder_of(config: DictConfig, run: str | None = None) -> Model:
    """Build the encoder that a command's options name, or load the one of a run.

    Args:
        config: Composed options of an evaluation, or of the run's training.
        run: A finished run's key, or ``None``.

    Returns:
        Model: A sentence encoder or a pair scorer.

    Raises:
        UserError: If the model or the run is missing.
    """
    options: dict[str, Any] = {
        "precision": _precision(config),
        "engine": config.get("engine") or "auto",
        "progress": config.trainer.progress if "trainer" in config else config.progress,
    }
    if run is not None:
        paths = {"data_root": config.paths.data, "cache": config.paths.cache}
        return from_run(run, str(_runs(config)), **paths, **options)
    pooling = None if config.pooling is None else word_of(config.pooling)
    model: Model = build(
        config.encoder, pooling=pooling, models_root=config.paths.models, **options
    )
    return model


def _precision(config: DictConfig) -> str:
    return (
        plain(config.get("precision")) or "fp32"
    )  # a training's options have none: it is scored so


def scored(
    config: DictConfig,
    run: str | None,
    tasks: str | Sequence[str],
    published: Published | None = None,
) -> dict[str, Record | None]:
    """Find what has been computed for the encoder of `encoder_of`; compute nothing.

    Args:
        config: Composed options of an evaluation, or of the run's training.
        run: A finished run's key, or ``None``.
        tasks: Names as in `resolve`.
        published: Records that count where the ledger has none: of a run whose model is not here by
            the run's key and the evaluation's settings; of other encoders by their key.

    Returns:
        dict[str, Record | None]: Task → record, ``None`` where there is none yet.

    Raises:
        UserError: If the model, a task or its data are missing, damaged or incomplete.
    """
    ledger, data = Ledger(_runs(config)), _data(config, tasks)
    published = published or Published(None)
    if run is not None and not (ledger.folder(run) / "model").is_dir():
        known = {"encoder": {"precision": _precision(config)}}
        return {
            one.task.name: published.score(run, {**known, **_settings_of_task(one)}) for one in data
        }
    encoder = encoder_of(config, run)
    found = look_up(encoder, data, ledger)
    return {
        one.task.name: found[one.task.name] or published.get(score_key(encoder, one))
        for one in data
    }


def score(config: DictConfig, run: str | None, tasks: str | Sequence[str]) -> dict[str, Record]:
    """Score the encoder of `encoder_of`, through the ledger.

    The scores of a run also go into its ``metrics.json``, and new ones to W&B.

    Args:
        config: Composed options of an evaluation, or of the run's training.
        run: A finished run's key, or ``None``.
        tasks: Names as in `resolve`.

    Returns:
        dict[str, Record]: Task → record.

    Raises:
        UserError: If the model, a task or its data are missing, damaged or incomplete.
    """
    data = _data(config, tasks)
    ledger = Ledger(_runs(config))
    encoder, cache = encoder_of(config, run), Path(config.paths.cache)
    new: dict[str, float] = {}
    if run is None:
        records = evaluate_once(
            encoder, data, ledger, cache, before=lambda records: new.update(main_scores(records))
        )
        if new:
            track_scores(config, encoder, new)
        return records
    trained = ledger.get(run) or {}

    def add_to_metrics(records: dict[str, Record]) -> None:
        new.update(main_scores(records))
        add_scores(ledger.folder(run), {**trained.get("scores", {}), **main_scores(records)})

    records = evaluate_once(encoder, data, ledger, cache, run=run, before=add_to_metrics)
    if new and "settings" in trained:
        settings = trained["settings"]
        words = words_of(config, settings)
        track = tracking.start(config, run, tracking.TRAIN, shown(settings), words)
        track.summary({f"test/{task}": score for task, score in new.items()})
        track.finish()
    add_to_metrics(records)
    return records


def main_scores(records: Mapping[str, Record]) -> dict[str, float]:
    """Return what the paper's tables print of each task.

    Args:
        records: Task → record.

    Returns:
        dict[str, float]: Task → its score × 100, NaN where it is undefined.
    """
    return {task: main_score(record["scores"]) for task, record in records.items()}


def track_scores(config: DictConfig, encoder: Model, scores: Mapping[str, float]) -> None:
    """Send the scores of an encoder to W&B, as a run of its own; never a reason to fail.

    Args:
        config: Composed options of the evaluation.
        encoder: Named by its identity, so that scores of further tasks go to the same run.
        scores: Task → score × 100.
    """
    identity = dict(encoder.identity)
    words = {"encoder": encoder.label, "profile": str(config.profile.name)}
    key = run_key("encoder", identity)
    track = tracking.start(config, key, tracking.EVALUATE, {"identity": identity}, words)
    track.summary({f"test/{task}": score for task, score in scores.items()})
    track.finish()


def check_tasks(config: DictConfig, overrides: list[str]) -> None:
    """Refuse tasks that do not exist, lack their data or were seen, before hours of training.

    Args:
        config: A run's composed options; ``evaluate`` lists the tasks.
        overrides: The options as typed, from which those of a first stage are made.

    Raises:
        UserError: If a task or its data are missing, damaged or incomplete, or a stage of the run
            is trained on them.
    """
    if config.evaluate:
        tasks = list(config.evaluate)
        for stage in stages(config, overrides):
            refuse_seen(stage, resolve(tasks, Path(config.paths.data)))
        _data(config, tasks)


def evaluate_trained(config: DictConfig, key: str) -> dict[str, Record]:
    """Score a run that train.py has just finished, or finished long ago.

    Args:
        config: The run's composed options; ``evaluate`` lists the tasks.
        key: The run's key.

    Returns:
        dict[str, Record]: Task → record with all its scores.
    """
    return score(config, key, list(config.evaluate)) if config.evaluate else {}


def in_lines(records: Mapping[str, Record]) -> list[str]:
    """Write the scores of a model, with the digits of train.py's last line.

    Args:
        records: Task → record.

    Returns:
        list[str]: "stsb 76.0123, Pearson 75.0000" for each task, then the mean of several tasks.
    """
    scores, lines = main_scores(records), []
    for task, value in scores.items():
        pearson = records[task]["scores"].get("pearson")
        lines.append(f"{task} {value:.4f}{'' if pearson is None else f', Pearson {pearson:.4f}'}")
    if len(scores) > 1:
        mean = sum(scores.values()) / len(scores)
        lines.append(f"mean of {len(scores)} tasks {mean:.4f}")
    return lines


def _runs(config: DictConfig) -> Path:
    return Path(config.paths.results) / "runs"


def _data(config: DictConfig, tasks: str | Sequence[str]) -> list[TaskData]:
    root, partial = Path(config.paths.data), bool(config.data.allow_partial)
    folds = plain(config.profile.afs_folds)
    options = {"classifier": build(config.classifier), "folds": folds}
    return [load(task, root, allow_partial=partial, **options) for task in resolve(tasks, root)]
