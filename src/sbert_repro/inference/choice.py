"""Which engine computes."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
import transformers

from sbert_repro.errors import UserError
from sbert_repro.inference import packed_cpu

ENGINES = ("auto", "packed", "reference")
_log = logging.getLogger(__name__)


def check_engine(name: str) -> None:
    """Refuse an engine that does not exist.

    Args:
        name: What was asked for.

    Raises:
        UserError: If there is none of this name.
    """
    if name not in ENGINES:
        raise UserError(f"engine={name}: there is no such engine; there are: {', '.join(ENGINES)}")


def choose_engine(asked: str, folder: Path, precision: str, device: torch.device) -> str:
    """Choose, without reading any weight.

    Args:
        asked: A name from ``ENGINES``; ``auto`` is ``packed`` where it can be had, and else
            ``reference`` and a line in the log.
        folder: The folder of ``config.json``.
        precision: ``fp32`` or ``bf16``.
        device: Where the network computes.

    Returns:
        str: ``packed`` or ``reference``.

    Raises:
        UserError: If ``packed`` was asked for and cannot be had.
    """
    if asked == "reference":
        return asked
    reason = _why_not_packed(folder, precision, device)
    if reason is None:
        return "packed"
    if asked == "packed":
        raise UserError(f"engine=packed: not for {folder}: {reason}; use engine=auto")
    _log.info("%s: the reference engine computes, not the packed one: %s", folder.name, reason)
    return "reference"


def _why_not_packed(folder: Path, precision: str, device: torch.device) -> str | None:
    if device.type != "cpu":
        return f"it is for CPUs, and this runs on {device.type}"
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    return packed_cpu.why_not(config, precision)
