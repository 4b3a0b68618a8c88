"""Which engine computes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers

from sbert_repro.errors import UserError
from sbert_repro.inference import packed_cpu, packed_cuda

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


def choose_engine(
    asked: str,
    folder: Path,
    precision: str,
    gpus: Sequence[torch.device] = (),
    disagreement: Callable[[], str | None] = lambda: None,
) -> str:
    """Choose; on a CPU without reading any weight.

    Args:
        asked: A name from ``ENGINES``; ``auto`` is ``packed`` where it can be had, and else
            ``reference`` and a line in the log.
        folder: The folder of ``config.json``.
        precision: ``fp32`` or ``bf16``.
        gpus: Those of this machine; none: the CPU computes.
        disagreement: Tries the packed engine on the GPUs; gives what speaks against it.

    Returns:
        str: ``packed`` or ``reference``.

    Raises:
        UserError: If ``packed`` was asked for and cannot be had.
    """
    if asked == "reference":
        return asked
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    if gpus:
        reason = packed_cuda.why_not(config, precision) or disagreement()
    else:
        reason = packed_cpu.why_not(config, precision)
    if reason is None:
        return "packed"
    if asked == "packed":
        raise UserError(f"engine=packed: not for {folder}: {reason}; use engine=auto")
    _log.info("%s: the reference engine computes, not the packed one: %s", folder.name, reason)
    return "reference"
