"""The typed root of ``python scripts/encode.py``."""

from __future__ import annotations

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from sbert_repro.config import EncoderConfig


@dataclass
class EncodeConfig(EncoderConfig):
    """Options of a file of sentences that becomes a file of vectors."""

    input: str = MISSING
    output: str = MISSING
    block: int = 2048
    overwrite: bool = False


ConfigStore.instance().store(name="encode_schema", node=EncodeConfig)
