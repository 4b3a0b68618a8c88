"""Train a model once, record it, and find it again: one run, ``results/runs/<key>/``.

The folder holds ``settings.json`` (what the key is made of), ``config.yaml`` (all options),
``checkpoints/`` (where a killed run goes on), ``model/`` (what it ends with), ``metrics.json`` (its
scores) and ``record.json`` (the ledger's record, written last). A run whose loss became NaN leaves
``diverged.json`` instead.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired

from omegaconf import DictConfig, OmegaConf
from typing_extensions import TypedDict

from sbert_repro import aliases, json_files
from sbert_repro.aliases import name_of
from sbert_repro.backbone.weights import WEIGHTS
from sbert_repro.compose import check_training, compose, described, stage_overrides
from sbert_repro.config import canonical_json, plain, run_key
from sbert_repro.data.read import missing, read, split_path
from sbert_repro.data.schema import FOLDS_VERSION, dataset
from sbert_repro.declared import declared
from sbert_repro.errors import Diverged, UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.ledger import Ledger, Published, Record, provenance
from sbert_repro.redaction import masked, without_secrets
from sbert_repro.storage import lock, remove_unfinished, sha256_of, write_file
from sbert_repro.training import pretrained, tracking
from sbert_repro.training.looks import is_look

KIND = "train"
VERSION = 1
"""Raised by hand when the same options would train another model."""
_log = logging.getLogger(__name__)
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
_TRAINER_WHEN_SET = {"devices": 1}
"""An option that came later is part of a key only when it is not at its default, so that earlier
runs keep theirs. Several processes draw other dropout."""
_DATA_WHEN_SET = {"swapped": False, "pair_length": None}
"""The same for options of ``data``."""
_SPLITS = (("name", "split", "limit"), ("dev", "dev_split", "dev_limit"))
"""Options of ``data`` that say which rows are trained on, and which are looked at meanwhile;
``data.sources`` holds for the first."""


def settings_of(config: DictConfig, overrides: list[str]) -> dict[str, Any]:
    """Return what the trained weights depend on, and nothing else.

    Model and data count by content, wherever they lie; components by their word, their version and
    all their options, given or default; a first stage by its key.

    Args:
        config: The composed options.
        overrides: The options as typed, from which a first stage's are made.

    Returns:
        Plain values.

    Raises:
        UserError: If model or data are not there, or the encoder cannot be trained.
    """
    check_training(config)
    trainer = plain(config.trainer)
    used = [option for option, usual in _TRAINER_WHEN_SET.items() if trainer[option] != usual]
    return {
        "version": VERSION,
        "encoder": pretrained.identity(config),
        **{part: described(config[part]) for part in ("pooling", "loss", "optimizer")},
        "data": _data(config),
        "trainer": {option: trainer[option] for option in (*_TRAINER, *used)} | _looks(config),
        "checkpoint": plain(config.checkpoint),
        "seed": config.seed,
        "parent": None if config.parent is None else key_of(*_parent(config, overrides)),
    }


def key_of(config: DictConfig, overrides: list[str]) -> str:
    """Name a run by what its weights depend on.

    Args:
        config: The composed options.
        overrides: The options as typed.

    Returns:
        16 hex digits.
    """
    return run_key(KIND, settings_of(config, overrides))


def former_key_of(config: DictConfig, overrides: list[str]) -> str:
    """Name a run as versions of this program did whose keys held import paths.

    Args:
        config: The composed options.
        overrides: The options as typed.

    Returns:
        16 hex digits.
    """
    return _former_key(settings_of(config, overrides), config, overrides)


def _former_key(settings: dict[str, Any], config: DictConfig, overrides: list[str]) -> str:
    settings = aliases.former(settings)
    if config.parent is not None:
        settings["parent"] = former_key_of(*_parent(config, overrides))
    return run_key(KIND, settings)


def find(
    config: DictConfig,
    overrides: list[str],
    ledger: Ledger,
    published: Published | None = None,
    settings: dict[str, Any] | None = None,
) -> Record | None:
    """Look a run up, under its key or the one it had before.

    A run that diverged is found too: whoever asks is told so, whichever key it had.

    Args:
        config: The composed options.
        overrides: The options as typed.
        ledger: Where runs are kept.
        published: Records without models that count as well.
        settings: `settings_of` the run, where they are known.

    Returns:
        Its record; ``None`` when it has not been finished. ``record["key"]`` names its folder.

    Raises:
        Diverged: If it has diverged.
    """
    settings = settings or settings_of(config, overrides)
    keys = (run_key(KIND, settings), _former_key(settings, config, overrides))
    record = ledger.get(*keys)
    if record is None and published is not None:
        record = published.get(*keys)
    if record is None:
        for key in keys:
            refuse_diverged(ledger.folder(key))
        return None
    return with_facts(record, config, overrides)


def with_facts(record: Record, config: DictConfig, overrides: list[str]) -> Record:
    """Complete a record that was made before facts were fields.

    Equal keys mean equal data, so the rows that the options name are the rows it was trained on.

    Args:
        record: Of the run that the options name.
        config: The composed options.
        overrides: The options as typed.

    Returns:
        The record itself, or a copy with the facts of its weights and of its rows.
    """
    if all(one["code"] != "facts_of_before" for one in record["facts"]):
        return record
    in_order = stages(config, overrides)[::-1]
    facts = pretrained.facts(in_order[0])
    for stage in in_order:
        facts += _facts_of_rows(stage)
    return {**record, "facts": _distinct([*facts, *record["facts"]])}


def _facts_of_rows(config: DictConfig) -> list[Fact]:
    data, root = config.data, Path(config.paths.data)
    facts: list[Fact] = []
    for name, split, limit in _SPLITS:
        if data[name] is None:
            continue
        record = dataset(data[name])
        if name == "dev" and not split_path(record, root, data[split]).exists():
            facts.append(fact("no_dev", dataset=record.name, split=data[split]))
            continue
        options = {"limit": data[limit], "allow_partial": bool(data.allow_partial)}
        if name == "name":
            options["sources"] = data.sources
        facts += read(record, root, data[split], **options).facts
    return facts


def train(config: DictConfig, overrides: list[str]) -> Record:
    """Train a model, or find it in the ledger; a first stage is trained, or found, before it.

    Args:
        config: The composed options.
        overrides: The options as typed.

    Returns:
        The run's record.

    Raises:
        UserError: If an option, the data or the model are not what is needed.
        Diverged: If the run diverged, now or before.
    """
    settings = settings_of(config, overrides)
    key = run_key(KIND, settings)
    ledger = Ledger(Path(config.paths.results) / "runs")
    if (found := find(config, overrides, ledger, settings=settings)) is not None:
        # Of a run that was killed between its record and the removal of its checkpoints.
        _remove_checkpoints(ledger.folder(found["key"]))
        _log.info("run %s: found in %s, not run again", found["key"], ledger.root)
        return found
    folder = ledger.folder(key)
    parent = None if config.parent is None else train(*_parent(config, overrides))
    with ledger.lock(key):
        if (found := ledger.get(key)) is not None:
            return found
        refuse_diverged(folder)
        _begin(folder, config, settings)
        with _divergence_recorded(folder, config.seed):
            record = _fit(config, folder, key, settings, parent, ledger)
        stored = ledger.put(key, record)
        _remove_checkpoints(folder)
        return stored


def _begin(folder: Path, config: DictConfig, settings: dict[str, Any]) -> None:
    """Write down what a folder is for; refuse one that is for something else."""
    mine, path = canonical_json(settings), folder / "settings.json"
    if path.exists() and path.read_bytes().strip() != mine.encode():
        raise UserError(
            "begun with other settings than these (see its settings.json)",
            where=folder,
            mend="remove the folder, or choose another paths.results",
        )
    # Left by a process that was killed while it wrote; the run's lock is ours.
    for place in (folder, folder / "checkpoints"):
        remove_unfinished(place)
    write_file(path, mine + "\n")
    shown = OmegaConf.create(without_secrets(plain(config)))
    write_file(folder / "config.yaml", OmegaConf.to_yaml(shown))


def _fit(
    config: DictConfig,
    folder: Path,
    key: str,
    settings: dict[str, Any],
    parent: Record | None,
    ledger: Ledger,
) -> Record:
    # Seconds to import, which a run that is found does not wait for.
    import torch

    from sbert_repro.training import fit as fitting

    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = time.monotonic()
    track = tracking.start(
        config, key, tracking.TRAIN, shown(settings), words_of(config, settings), anew=True
    )
    wandb_id = track.id
    try:
        model = None if parent is None else whole_model(parent, ledger)
        result = fitting.fit(config, folder, model, track)
        track.summary(result.scores)
        if config.wandb.artifact:
            track.log_model(folder / "model", key)
    finally:
        track.finish()
    before = pretrained.facts(config) if parent is None else parent["facts"]
    record = {
        "kind": KIND,
        "settings": settings,
        "scores": result.scores,
        "seed": config.seed,
        "facts": _distinct([*before, *result.facts]),
        # Where its first stage lies; `settings` has the key that it would get today.
        "parent": None if parent is None else parent["key"],
        "steps": result.steps,
        "weights_sha256": sha256_of(folder / "model" / WEIGHTS),
        "train_seconds": round(result.seconds, 3),
        "curves": result.curves,
        "wall_seconds": round(time.monotonic() - clock, 3),
        "started": started,
        "threads": torch.get_num_threads(),
        "wandb_id": wandb_id,
    }
    add_scores(folder, result.scores)
    return record


def whole_model(record: Record, ledger: Ledger) -> Path:
    """Return the folder of a run's model, after checking that it is the one that was trained.

    Args:
        record: Of the run.
        ledger: Where runs are kept.

    Returns:
        The folder.

    Raises:
        UserError: If it is gone, or its weights have changed since.
    """
    folder = ledger.folder(record["key"]) / "model"
    mend = f"remove {folder.parent} and train again"
    if not (folder / WEIGHTS).is_file():
        found = f"the model of run {record['key']} is gone"
        raise UserError(found, where=folder, mend=mend, code="missing")
    # Records of earlier versions do not say.
    if record.get("weights_sha256") not in (None, sha256_of(folder / WEIGHTS)):
        found = f"not the weights that run {record['key']} was recorded with"
        raise UserError(found, where=folder / WEIGHTS, mend=mend, code="damaged")
    return folder


def words_of(config: DictConfig, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the words by which people tell runs apart, for W&B.

    Args:
        config: The composed options.
        settings: What `settings_of` returned.

    Returns:
        Option → word, such as ``{"pooling": "max"}``.
    """
    loss = settings["loss"]
    return {
        "encoder": str(config.encoder.label),
        "data": str(config.data.name),
        "loss": name_of(loss),
        "pooling": name_of(settings["pooling"]),
        **({"concatenation": ", ".join(loss["concatenation"])} if "concatenation" in loss else {}),
        "optimizer": name_of(settings["optimizer"]),
        "profile": str(config.profile.name),
    }


def shown(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's settings as W&B shows them, with a name for each part of ``data.dev``.

    Args:
        settings: What `settings_of` returned.

    Returns:
        A copy.
    """
    data = settings["data"]
    parts = ("dev", "dev_split", "dev_limit", "dev_sha256")
    return {**settings, "data": {**data, **dict(zip(parts, data["dev"] or (), strict=False))}}


def _distinct(facts: list[Fact]) -> list[Fact]:
    """Both stages of a run look at the same dev rows."""
    return list({canonical_json(one): one for one in facts}.values())


def _remove_checkpoints(folder: Path) -> None:
    """The kept weights are in model/; second copies, 1.3 GB for BERT-base, would fill disks."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _data(config: DictConfig) -> dict[str, Any]:
    data, root = config.data, Path(config.paths.data)
    dev = None
    if data.dev is not None:
        path = split_path(dataset(data.dev), root, data.dev_split)
        dev = [data.dev, data.dev_split, data.dev_limit, _content(path) if path.exists() else None]
    return {
        "name": data.name,
        "split": data.split,
        "limit": data.limit,
        "max_length": data.max_length,
        "sha256": _content(split_path(dataset(data.name), root, data.split)),
        "tokens": declared("sbert_repro.data.tokens").constants["FORMAT"],
        "dev": dev,
        **({"folds": FOLDS_VERSION} if dataset(data.name).part(data.split) else {}),
        **({} if data.sources is None else {"sources": sorted(set(data.sources))}),
        **{
            option: data[option]
            for option, usual in _DATA_WHEN_SET.items()
            if data[option] != usual
        },
    }


def _looks(config: DictConfig) -> dict[str, str]:
    """Say that looks at dev are counted from each epoch's start, where that makes a difference.

    Earlier runs counted them from the run's start; those whose looks are the same keep their keys.
    """
    data, trainer = config.data, config.trainer
    every = trainer.evaluate_every
    if data.dev is None or every is None or trainer.epochs == 1:
        return {}
    path = split_path(dataset(data.name), Path(config.paths.data), data.split)
    rows = (data.name, data.split, data.limit, tuple(data.sources or ()))
    count = _count_rows(*rows, Path(config.paths.data), _content(path))
    epoch = math.ceil(count * (1 + bool(data.swapped)) / trainer.batch_size)
    total = min(epoch * trainer.epochs, trainer.max_steps or epoch * trainer.epochs)
    before = {step for step in range(1, total) if step % every == 0 or step % epoch == 0}
    now = {step for step in range(1, total) if is_look(step, epoch, every)}
    return {} if now == before else {"looks": "each epoch"}


@functools.lru_cache(maxsize=64)
def _count_rows(
    name: str, split: str, limit: int | None, sources: tuple[str, ...], root: Path, sha256: str
) -> int:
    """Count the rows of a split, once for each content of its file."""
    chosen = sources or None
    return len(read(dataset(name), root, split, limit=limit, allow_partial=True, sources=chosen))


def _content(path: Path) -> str:
    try:
        return sha256_of(path)
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as problem:
        raise UserError(f"cannot be read ({problem.strerror})", where=path) from problem


def stages(config: DictConfig, overrides: list[str]) -> list[DictConfig]:
    """Return the options of every stage of a run.

    Args:
        config: The composed options.
        overrides: The options as typed.

    Returns:
        The run itself, then the stage before it, and so on.
    """
    found = [config]
    while config.parent is not None:
        config, overrides = _parent(config, overrides)
        found.append(config)
    return found


def _parent(config: DictConfig, overrides: list[str]) -> tuple[DictConfig, list[str]]:
    typed = stage_overrides(overrides, list(config.parent))
    return compose(typed), typed


@contextlib.contextmanager
def _divergence_recorded(folder: Path, seed: int) -> Iterator[None]:
    """Write down that a run diverged: the same seed on the same machine would do so again.

    To try it with every call of a table would only cost hours, and a seed that is left out without
    a word would be a wrong result.
    """
    try:
        yield
    except Diverged as problem:
        content: _Divergence = {"seed": seed, "said": problem.found, "mend": problem.mend}
        text = json.dumps({**content, **provenance()}, indent=1, ensure_ascii=False)
        write_file(folder / "diverged.json", masked(text) + "\n")
        raise _diverged(folder, content) from problem


def refuse_diverged(folder: Path) -> None:
    """Refuse to train a run again that has diverged.

    Args:
        folder: The run's folder, whether it is there or not.

    Raises:
        Diverged: If it has; says at which step, on which rows, and what to do.
    """
    try:
        found = json_files.read(folder / "diverged.json", _Divergence)
    except UserError as problem:
        if problem.code == "missing":
            return
        said = f"what diverged.json says cannot be read, {problem.found}"
        found = {"seed": "?", "said": said}
    raise _diverged(folder, found)


class _Divergence(TypedDict):
    seed: int | str
    said: str
    mend: NotRequired[str]


def _diverged(folder: Path, content: _Divergence) -> Diverged:
    again = f"run {folder.name} is not trained again until {folder} is removed"
    return Diverged(
        f"seed {content['seed']} diverged: {content['said']}",
        mend="; ".join(word for word in (content.get("mend"), again) if word),
    )


def add_scores(folder: Path, scores: Mapping[str, Any]) -> None:
    """Put scores into a run's ``metrics.json`` beside those that are there.

    Args:
        folder: The run's folder, ``results/runs/<key>``.
        scores: Name → score × 100; a number that is not finite is written as null, since JSON has
            no NaN.

    Raises:
        UserError: If the file cannot be written.
    """
    path = folder / "metrics.json"
    # Two commands may score one model on different tasks at the same time; none may be lost.
    with lock(folder.parent / ".locks" / f"{folder.name}.metrics", str(path)):
        there = _metrics(path)
        whole = {"key": folder.name, **there, **{name: _finite(s) for name, s in scores.items()}}
        if whole != there:
            write_file(path, json.dumps(whole, indent=1, allow_nan=False) + "\n")


def _metrics(path: Path) -> dict[str, Any]:
    return json_files.read_or_set_aside(path, dict[str, Any], "it is made again") or {}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
