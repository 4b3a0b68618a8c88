"""The typed root of ``python scripts/encode.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from sbert_repro.config import DataConfig, PathsConfig, Precision, ProfileConfig


@dataclass
class EncodeConfig:
    """Options of a file of sentences that becomes a file of vectors."""

    encoder: Any = MISSING
    pooling: Any = MISSING
    data: DataConfig = field(default_factory=lambda: DataConfig(name="evaluation"))
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    prepare: list[Any] = field(default_factory=list)
    input: str = MISSING
    output: str = MISSING
    precision: Precision = Precision.fp32
    engine: str = "auto"
    block: int = 8192
    overwrite: bool = False
    progress: bool = True


ConfigStore.instance().store(name="encode_schema", node=EncodeConfig)
