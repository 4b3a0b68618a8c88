"""Weights in safetensors files: only floating-point numbers, all of them finite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from sbert_repro.errors import UserError

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    from torch import Tensor

WEIGHTS = "model.safetensors"
"""The weights of a backbone of any kind, in its model folder."""
AGAIN = "copy or download the model again, or train it again"
_FLOATS = ("F64", "F32", "F16", "BF16")
_NO_WEIGHTS = "_ids"
"""In the names of counters that some models store among their weights."""


def check_formats(file: Path) -> None:
    """Refuse weights that are stored as anything else than floats: read as floats, they are wrong.

    Args:
        file: A safetensors file; only its header is read.

    Raises:
        UserError: If one is, such as int8 of a quantised model, or the file is damaged.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            kinds = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}
    except Exception as problem:  # safetensors has its own kinds
        raise damaged(file, problem) from problem
    wrong = [n for n, kind in kinds.items() if kind not in _FLOATS and _NO_WEIGHTS not in n]
    if wrong:
        raise UserError(
            f"the weight {wrong[0]} is stored as {kinds[wrong[0]]}, expected a floating-point "
            "format; quantised weights are not read",
            where=file,
            mend="get the model in fp32, bf16 or fp16",
        )


def check_finite(name: str, weight: Tensor, where: Path) -> None:
    """Refuse a weight that holds NaN or infinite numbers.

    Args:
        name: Its name.
        weight: The weight.
        where: Its file or folder.

    Raises:
        UserError: If it does.
    """
    import torch

    # The sum of finite weights is finite, and needs no memory.
    if not bool(weight.detach().sum(dtype=torch.float64).isfinite()):
        raise UserError(
            f"the weight {name} holds NaN or infinite numbers, so every result would too",
            where=where,
            mend=AGAIN,
        )


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read the weights of a file.

    Args:
        file: A safetensors file.

    Returns:
        Name → weight, on the CPU.

    Raises:
        UserError: If the file is missing or damaged, or a weight is no finite float.
    """
    from safetensors.torch import load_file

    check_formats(file)
    try:
        weights = load_file(file)
    except Exception as problem:
        raise damaged(file, problem) from problem
    for name, weight in weights.items():
        check_finite(name, weight, file)
    return weights


def damaged(file: Path, problem: Exception) -> UserError:
    """Say that weights cannot be loaded.

    Args:
        file: Their file.
        problem: What the library raised.

    Returns:
        UserError: To be raised.
    """
    return UserError(
        f"the weights cannot be loaded ({type(problem).__name__}: {problem})",
        where=file,
        mend=AGAIN,
    )
