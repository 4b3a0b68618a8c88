"""The typed root of what is timed: Table 7 and the headline."""

from __future__ import annotations

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from sbert_repro.config import EncoderConfig


@dataclass
class SpeedConfig(EncoderConfig):
    """Options of ``configs/speed.yaml``."""

    again: bool = False
    repeats: int = 7
    sentences: int = 1024
    batch_size: int = 32
    pairs: int = 512
    largest: int = 100_000


ConfigStore.instance().store(name="speed_schema", node=SpeedConfig)
