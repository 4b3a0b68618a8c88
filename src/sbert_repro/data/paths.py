"""The data root, for commands that have no other options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from sbert_repro.config import PathsConfig
from sbert_repro.errors import UserError


def data_root(words: Sequence[str]) -> Path:
    """Give the data root as every other command would find it.

    Args:
        words: ``paths.data=FOLDER`` or nothing; then SBERT_DATA counts, then the default.

    Returns:
        Path: The folder.

    Raises:
        UserError: If a word is another one, or there is no such folder.
    """
    config = OmegaConf.structured(PathsConfig)
    for word in words:
        key, _, value = word.partition("=")
        if key != "paths.data" or not value:
            raise UserError(f"{word}: expected nothing but paths.data=FOLDER")
        config.data = value
    root = Path(config.data)
    if not root.is_dir():
        raise UserError(
            f"there is no data root {root}: fill one with `make data`, or say where it is with "
            f"paths.data=FOLDER or SBERT_DATA=FOLDER"
        )
    return root
