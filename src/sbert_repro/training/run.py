"""One cell of work: train a model once, record it, and find it again."""

from __future__ import annotations

import inspect
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from sbert_repro.composition import compose, stage_overrides
from sbert_repro.config import canonical_json, plain, run_key
from sbert_repro.data import tokens
from sbert_repro.data.read import split_path
from sbert_repro.data.schema import FOLDS_VERSION, dataset
from sbert_repro.errors import UserError
from sbert_repro.ledger import Ledger
from sbert_repro.redaction import without_secrets
from sbert_repro.storage import remove_leftovers, sha256_of, write_file
from sbert_repro.training import divergence, metrics, start, tracking
from sbert_repro.training import fit as fitting
from sbert_repro.training.options import check_options

KIND = "train"
_TRAINER = (
    "epochs",
    "max_steps",
    "batch_size",
    "precision",
    "warmup",
    "decay",
    "max_grad_norm",
    "evaluate_every",
)
"""Trainer options that change the weights or the scores; the others may differ between two starts
of the same run."""
_TRAINER_WHEN_SET = {"compile": False, "devices": 1}
"""Came later: as usual they leave a run its old key. Several processes draw other dropout."""


def settings_of(config: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """Give what the trained weights depend on, and nothing else.

    Model and data count by content, wherever they lie; options left at their default count as if
    they had been given; a first stage counts by its key.

    Args:
        config: The composed options.
        overrides: The options as typed, from which a first stage's are made.

    Returns:
        dict[str, Any]: Plain values.

    Raises:
        UserError: If model or data are not there, or the encoder cannot be trained.
    """
    check_options(config)
    trainer = plain(config.trainer)
    used = [option for option, usual in _TRAINER_WHEN_SET.items() if trainer[option] != usual]
    return {
        "version": fitting.VERSION,
        "encoder": start.identity(config),
        **{part: _component(config[part]) for part in ("pooling", "loss", "optimizer")},
        "data": _data(config),
        "trainer": {option: trainer[option] for option in (*_TRAINER, *used)},
        "checkpoint": plain(config.checkpoint),
        "seed": config.seed,
        "parent": _parent_key(config, overrides),
    }


def key_of(config: DictConfig, overrides: list[str]) -> str:
    """Name a run by what its weights depend on.

    Args:
        config: The composed options.
        overrides: The options as typed.

    Returns:
        str: 16 hex digits.
    """
    return run_key(KIND, settings_of(config, overrides))


def train(config: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """Train a model, or find it in the ledger; a first stage is trained, or found, before it.

    Args:
        config: The composed options.
        overrides: The options as typed.

    Returns:
        dict[str, Any]: The run's record.

    Raises:
        UserError: If an option, the data or the model are not what is needed, or the run diverged,
            now or before.
    """
    settings = settings_of(config, overrides)
    key = run_key(KIND, settings)
    ledger = Ledger(Path(config.paths.results) / "runs")
    folder = ledger.folder(key)
    if (found := ledger.get(key)) is not None:
        _forget_checkpoints(folder)  # of a run that was killed between its record and this
        return found
    divergence.refuse(folder)
    parent = _train_parent(config, overrides)
    with ledger.lock(key):
        if (found := ledger.get(key)) is not None:
            return found
        divergence.refuse(folder)
        _claim(folder, config, settings)
        with divergence.recorded(folder, config.seed):
            record = _fit(config, folder, key, settings, parent)
        stored = ledger.put(key, record)
        _forget_checkpoints(folder)
        return stored


def _forget_checkpoints(folder: Path) -> None:
    """The kept weights are in model/; second copies, 1.3 GB for BERT-base, would fill disks."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _fit(
    config: DictConfig, folder: Path, key: str, settings: dict[str, Any], parent: dict[str, Any]
) -> dict[str, Any]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock, track = time.monotonic(), tracking.start(config, key, settings)
    wandb_id = track.id
    try:
        result = fitting.fit(config, folder, parent.get("model"), track)
        track.summary(result.scores)
    finally:
        track.finish()
    record = {
        "kind": KIND,
        "settings": settings,
        "scores": result.scores,
        "seed": config.seed,
        "notes": list(
            dict.fromkeys([*(parent.get("notes") or start.notes(config)), *result.notes])
        ),
        "steps": result.steps,
        "train_seconds": round(result.seconds, 3),
        "wall_seconds": round(time.monotonic() - clock, 3),
        "started": started,
        "threads": torch.get_num_threads(),
        "wandb_id": wandb_id,
    }
    metrics.add(folder, result.scores)
    return record


def _component(node: DictConfig) -> dict[str, Any]:
    """Describe a component by its class, its version and all its options, given or default."""
    target = get_object(node["_target_"])
    parameters = inspect.signature(target).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return plain({**defaults, **plain(node), "version": target.VERSION})


def _data(config: DictConfig) -> dict[str, Any]:
    data, root = config.data, Path(config.paths.data)
    cut = {"folds": FOLDS_VERSION} if dataset(data.name).part(data.split) else {}
    return {
        "name": data.name,
        "split": data.split,
        "limit": data.limit,
        "max_length": data.max_length,
        "sha256": _content(split_path(dataset(data.name), root, data.split)),
        "tokens": tokens.FORMAT,
        "dev": _dev(data, root),
        **cut,
    }


def _dev(data: DictConfig, root: Path) -> list[Any] | None:
    if data.dev is None:
        return None
    path = split_path(dataset(data.dev), root, data.dev_split)
    sha256 = _content(path) if path.exists() else None
    return [data.dev, data.dev_split, data.dev_limit, sha256]


def _content(path: Path) -> str:
    try:
        return sha256_of(path)
    except FileNotFoundError:
        raise UserError(
            f"there is no {path}: get it with `make data`, or say where the data lies with "
            "paths.data=FOLDER or SBERT_DATA=FOLDER"
        ) from None
    except OSError as problem:
        raise UserError(f"cannot read {path}: {problem.strerror}") from problem


def _parent_config(config: DictConfig, overrides: list[str]) -> tuple[DictConfig, list[str]]:
    typed = stage_overrides(overrides, list(config.parent))
    return compose(typed), typed


def stages(config: DictConfig, overrides: list[str]) -> list[DictConfig]:
    """Give the options of every stage of a run.

    Args:
        config: The composed options.
        overrides: The options as typed.

    Returns:
        list[DictConfig]: The run itself, then the stage before it, and so on.
    """
    found = [config]
    while config.parent is not None:
        config, overrides = _parent_config(config, overrides)
        found.append(config)
    return found


def _parent_key(config: DictConfig, overrides: list[str]) -> str | None:
    return None if config.parent is None else key_of(*_parent_config(config, overrides))


def _train_parent(config: DictConfig, overrides: list[str]) -> dict[str, Any]:
    if config.parent is None:
        return {}
    record = train(*_parent_config(config, overrides))
    folder = Ledger(Path(config.paths.results) / "runs").folder(record["key"])
    return {"model": folder / "model", "notes": record["notes"]}


def _claim(folder: Path, config: DictConfig, settings: dict[str, Any]) -> None:
    """Write down what a folder is for; refuse one that is for something else."""
    mine, path = canonical_json(settings), folder / "settings.json"
    if path.exists() and (there := path.read_text(encoding="utf-8").strip()) != mine:
        raise UserError(
            f"{folder} was begun with other settings ({len(there)} characters in settings.json, "
            f"{len(mine)} now): remove the folder, or choose another paths.results"
        )
    # Of a process that was killed while it wrote one: the run's lock is ours.
    remove_leftovers(folder, ".model.*", ".record.*", "checkpoints/.*")
    write_file(path, mine + "\n")
    shown = OmegaConf.create(without_secrets(plain(config)))
    write_file(folder / "config.yaml", OmegaConf.to_yaml(shown))
