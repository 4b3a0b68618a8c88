"""Options that were typed and that nothing would read, refused: a silent "no" looks like a "yes".

Only what stands on the command line counts. A profile or an experiment may set what one of its
components does not ask for.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig

from sbert_repro.composition import compose, stage_overrides
from sbert_repro.errors import UserError


def key_of(override: str) -> str:
    """Give the key of an override, ``pooling`` for ``+pooling=max``.

    Args:
        override: As typed.

    Returns:
        str: The key, without what Hydra puts before or behind it.
    """
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def refuse_ignored(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse what was typed and is not read by the components that were chosen.

    Args:
        config: The composed options of a command.
        overrides: The options as typed.

    Raises:
        UserError: If an option would change nothing; says which one to use instead.
    """
    check_lengths(config)
    typed = {key_of(override): override for override in overrides}
    for key, override in typed.items():
        if key.partition(".")[0] == "concatenation" and not _concatenates(config, overrides):
            raise UserError(
                f"{override}: loss={_word(config.loss)} concatenates nothing, so it would change "
                "nothing; leave it out, or use loss=classification"
            )
        if key == "pooling" and not _asks_for(config.encoder, "pooling"):
            raise UserError(
                f"{override}: {config.encoder.get('label') or _word(config.encoder)} pools in its "
                "own way, so it would change nothing; leave it out"
            )
        if key == "encoder.max_length" and "trainer" in config:
            raise UserError(
                f"{override}: training cuts sentences at data.max_length; use "
                f"data.max_length={config.encoder.max_length}"
            )


def check_lengths(config: DictConfig) -> None:
    """Refuse to cut sentences to nothing.

    Args:
        config: The composed options of a command.

    Raises:
        UserError: If a greatest length is less than 1.
    """
    for group in ("encoder", "data"):
        length = config[group].get("max_length") if group in config else None
        if isinstance(length, int) and length < 1:
            raise UserError(f"{group}.max_length={length}: expected at least 1")


def _concatenates(config: DictConfig, overrides: Sequence[str]) -> bool:
    """Whether an objective reads the parts: that of the run or that of a stage before it."""
    if "loss" not in config or "concatenation" in config.loss:
        return True
    if config.get("parent") is None:
        return False
    words = stage_overrides(list(overrides), list(config.parent))
    return _concatenates(compose(words), words)


def _asks_for(node: DictConfig, parameter: str) -> bool:
    return parameter in inspect.signature(get_object(node["_target_"])).parameters


def _word(node: Any) -> str:
    return str(node["_target_"]).split(".")[-2]
