"""The types of every command's options, and the keys of runs.

``configs/`` holds one YAML file for each option; this file holds the types behind them. Options
with a ``_target_`` are typed by the signature of that class (`compose.check`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

_CHECKOUT = Path(__file__).resolve().parents[2]
HOME = _CHECKOUT if (_CHECKOUT / "configs").is_dir() else Path(__file__).parent / "_shipped"
"""Where ``train.py``, ``scripts/`` and ``configs/`` lie: in the checkout, or inside a wheel."""
CONFIG_DIR = HOME / "configs"


class Checkpoint(Enum):
    """Which weights a run keeps: those of its best dev score (the authors' code) or the last."""

    best_dev = "best_dev"
    last = "last"


class Precision(Enum):
    """Number format of matrix products; the weights that are updated are fp32 in both."""

    fp32 = "fp32"
    bf16 = "bf16"


class VectorPrecision(Enum):
    """Number format of the matrix products that make sentence vectors; int8 on a CPU only."""

    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"


class Decay(Enum):
    """Learning rate after the warm-up: linearly down to 0 (the authors' code) or constant.

    ``linear_twice``: warm-up and linear decay both multiplied in twice (their code for AFS).
    """

    linear = "linear"
    linear_twice = "linear_twice"
    constant = "constant"


class AfsFolds(Enum):
    """Ten folds of AFS: within each topic, averaged over topics (Misra et al.), or over all."""

    within_topic = "within_topic"
    all_topics = "all_topics"


class WandbMode(Enum):
    """``auto``: online when logged in or WANDB_MODE says so, otherwise offline."""

    auto = "auto"
    online = "online"
    offline = "offline"
    disabled = "disabled"


@dataclass
class DataConfig:
    """Which rows a run trains on and which it scores meanwhile: ``configs/data``."""

    name: str = MISSING
    split: str = "train"
    sources: list[str] | None = None
    limit: int | None = None
    allow_partial: bool = False
    epochs: int = 1
    max_length: int = 128
    pair_length: int | None = None  # of both sentences together, for a cross-encoder
    swapped: bool = False  # train on each pair in both orders, for a cross-encoder
    dev: str | None = "stsb"
    dev_split: str = "dev"
    dev_limit: int | None = None


@dataclass
class TrainerConfig:
    """Steps, batches and learning rate; section 3.1 of the paper where it says so."""

    epochs: int = MISSING
    max_steps: int | None = None
    batch_size: int = 16
    precision: Precision = Precision.fp32
    warmup: float = 0.1
    decay: Decay = Decay.linear
    max_grad_norm: float | None = 1.0
    evaluate_every: int | None = 1000
    save_every: int | None = None
    save_minutes: float | None = 5.0
    accelerator: str = "auto"
    devices: int = 1
    progress: bool = True


@dataclass
class ProfileConfig:
    """What kind of run this is: paper, lite (real but small) or demo (synthetic)."""

    name: str = MISSING
    banner: str = ""
    timed_banner: str = ""  # above tables of speeds, where stand-ins are not timed
    synthetic: bool = False  # made-up sentences replace those of every data set
    limits: dict[str, int] = field(default_factory=dict)
    sources: list[str] | None = None  # of the NLI pairs
    epochs: dict[str, int] = field(default_factory=dict)
    learning_rate: float = 2e-5
    head_init: str = "bert"
    row_recipes: bool = False  # rows of tables are trained with the recipe that they name
    save_every: int | None = None  # trainer.save_every
    stand_ins: dict[str, str] = field(default_factory=dict)
    trained_stand_ins: dict[str, list[str]] = field(default_factory=dict)
    word_vectors: str = "glove.840B.300d.txt"
    lstm_width: int = 2048
    max_seeds: int = 10
    min_seeds: int = 1  # of the tables whose trained rows have fewer
    from_records: bool = False  # print the committed records again where the ledger has none
    afs_folds: AfsFolds = AfsFolds.within_topic  # of Table 3's upper half
    max_parts: int | None = None


@dataclass
class PathsConfig:
    """Folders; relative paths start at the folder the command is started in."""

    data: str = "${sbert_find:SBERT_DATA,data}"
    models: str = "${sbert_find:SBERT_MODELS,models}"
    results: str = "results"
    cache: str = ".cache"


@dataclass
class WandbConfig:
    """Weights & Biases."""

    project: str | None = None  # null: sbert_repro-<profile>
    group: str | None = None  # null: the runs of a table share one
    name: str | None = None  # null: the row of a table, or the run's words; the seed follows
    artifact: bool = False  # true: the trained or exported model too
    mode: WandbMode = WandbMode.auto


@dataclass
class TrainConfig:
    """Root of ``python train.py``; the groups are typed by the classes they name."""

    encoder: Any = MISSING
    pooling: Any = MISSING
    concatenation: Any = MISSING
    loss: Any = MISSING
    optimizer: Any = MISSING
    classifier: Any = MISSING
    data: DataConfig = field(default_factory=DataConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    checkpoint: Checkpoint = Checkpoint.best_dev
    seed: int = MISSING
    parent: list[str] | None = None
    evaluate: list[str] = field(default_factory=list)
    prepare: list[Any] = field(default_factory=list)


@dataclass
class EncoderConfig:
    """What all commands that use a finished encoder have in common."""

    encoder: Any = MISSING
    pooling: Any = MISSING
    data: DataConfig = field(default_factory=lambda: DataConfig(name="evaluation"))
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    prepare: list[Any] = field(default_factory=list)
    output: str | None = None
    precision: VectorPrecision = VectorPrecision.fp32
    engine: str = "auto"
    progress: bool = True


@dataclass
class EvaluateConfig(EncoderConfig):
    """Root of ``python scripts/evaluate.py``."""

    classifier: Any = MISSING
    task: str = MISSING
    wandb: WandbConfig = field(default_factory=WandbConfig)


@dataclass
class EncodeConfig(EncoderConfig):
    """Root of ``python scripts/encode.py``."""

    input: str = MISSING
    output: str = MISSING
    block: int = 2048
    overwrite: bool = False


@dataclass
class SearchConfig(EncoderConfig):
    """Root of ``python scripts/search.py``."""

    index: Any = MISSING
    corpus: str = MISSING
    queries: str | None = None
    k: int = 10


@dataclass
class BenchmarkConfig(EncoderConfig):
    """Root of ``python scripts/benchmark.py``; ``what`` has one file per benchmark."""

    what: Any = MISSING
    classifier: Any = MISSING


@dataclass
class SpeedConfig(EncoderConfig):
    """Root of Table 7 and of ``python scripts/headline.py``: what is timed and how often."""

    again: bool = False
    repeats: int = 7
    sentences: int = 1024
    batch_size: int = 32
    pairs: int = 512
    largest: int = 100_000
    wandb: WandbConfig = field(default_factory=WandbConfig)


@dataclass
class ExportConfig:
    """Root of ``python scripts/export.py``."""

    run: str = MISSING
    output: str = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    prepare: list[Any] = field(default_factory=list)


def _find(variable: str, folder: str) -> str:
    """Return the environment's folder, else ``folder`` here, else ``../shared/folder`` if it is."""
    shared = Path("..") / "shared" / folder
    here = Path(folder).is_dir() or not shared.is_dir()
    return os.environ.get(variable) or (folder if here else str(shared))


def _test_part(data: str, split: str) -> list[str]:
    """Name the task that a split is trained for: ``afs``, ``train_fold_3`` → ``afs_fold_3``."""
    return [f"{data}_{split.removeprefix('train_')}"] if split.startswith("train_") else []


OmegaConf.register_new_resolver("sbert_find", _find, replace=True)
OmegaConf.register_new_resolver("sbert_test_part", _test_part, replace=True)
for _root in (
    TrainConfig,
    EvaluateConfig,
    EncodeConfig,
    SearchConfig,
    BenchmarkConfig,
    SpeedConfig,
    ExportConfig,
):
    ConfigStore.instance().store(f"{_root.__name__.removesuffix('Config').lower()}_schema", _root)


def plain(value: Any) -> Any:
    """Turn a configuration into JSON's types: interpolations resolved, enums by name.

    Args:
        value: A node of a composed configuration, or plain Python values.

    Returns:
        Any: dicts, lists, strings, numbers, booleans and ``None``.
    """
    if isinstance(value, DictConfig | ListConfig):
        value = OmegaConf.to_container(value, resolve=True)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.name
    return str(value) if isinstance(value, Path) else value


def canonical_json(value: Any) -> str:
    """Write a configuration so that equal settings give equal text.

    Args:
        value: A configuration or plain values; ``2e-5`` is ``0.00002``, keys have no order.

    Returns:
        str: JSON with sorted keys and without spaces.
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def run_key(kind: str, settings: Mapping[str, Any]) -> str:
    """Return the key of a result: a digest of everything that changes it.

    Args:
        kind: ``train`` or ``evaluate``; the two never share a key.
        settings: What changes the result, and nothing else (no paths, no log options).

    Returns:
        str: 16 hex digits.
    """
    return hashlib.sha256(canonical_json([kind, settings]).encode()).hexdigest()[:16]
