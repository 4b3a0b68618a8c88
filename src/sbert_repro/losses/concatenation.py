"""The vector (u, v, |u-v|) and its relatives (section 3 and the ablation in section 6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sbert_repro.errors import UserError

PARTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "u": lambda u, v: u,
    "v": lambda u, v: v,
    "|u-v|": lambda u, v: (u - v).abs(),
    "u*v": lambda u, v: u * v,
}
"""Each part by the paper's notation; the rows of Table 6 are lists of these names."""


def check_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """Refuse a list that is empty or names an unknown part.

    Args:
        parts: Names from ``PARTS``.

    Returns:
        tuple[str, ...]: The same names.

    Raises:
        UserError: If there is none, or one is unknown.
    """
    known = ", ".join(PARTS)
    if not parts:
        raise UserError(f"expected a list from {known}", where="concatenation.parts=[]")
    for part in parts:
        if part not in PARTS:
            raise UserError(f"{part!r} is none of {known}", where="concatenation.parts")
    return tuple(parts)


def concatenate(parts: Sequence[str], u: Tensor, v: Tensor) -> Tensor:
    """Put the named parts side by side.

    Args:
        parts: Names from ``PARTS``, ``P`` of them.
        u: Vectors of the first sentences ``[B, D]``.
        v: Vectors of the second sentences ``[B, D]``.

    Returns:
        Tensor: ``[B, P · D]``, in the order of ``parts``.
    """
    return torch.cat([PARTS[part](u, v) for part in parts], dim=-1)
