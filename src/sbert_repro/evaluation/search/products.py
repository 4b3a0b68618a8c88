"""Cosines of whole blocks in a fast number format, with a proven bound on their error.

The machine multiplies bf16 about twice as fast as fp32, but rounds. How far a rounded cosine can be
off is known (`Approximate.error`), so a search that keeps all that might belong to the answer and
computes those few again in float64 is exact, whatever the format of the products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbert_repro.errors import UserError

Matrix = NDArray[np.floating]
"""Vectors ``[N, D]`` in memory or memory-mapped, of any length and float type."""

_ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0**-8}
"""Largest relative error of one rounding to the format a product is given out in."""
_ADDITION = 2.0**-23
"""Largest relative error of one addition in fp32, even where a unit truncates."""
_TINY = 1e-12
"""What float64, and fp32 numbers too small to be stored, may lose."""
_FAR = 2.0**100
"""One over a length that is much greater or less is no full float32; a power of two rounds no
vector that it brings back."""


@dataclass(frozen=True)
class UnitRows:
    """Vectors scaled to length 1 and rounded to the format they are multiplied in.

    Attributes:
        rows: ``[n, D]``.
        error: Length of the largest difference to the row that is not rounded.
    """

    rows: Tensor
    error: float


@dataclass(frozen=True)
class Approximate:
    """Cosines between two blocks, each off by ``error + relative · |value|`` at most.

    Attributes:
        values: ``[n, q]``, a row for each row of the one block, a column for each of the other.
        error: The part that is the same for all.
        relative: The part from rounding the cosine itself.
    """

    values: Tensor
    error: float
    relative: float

    def at_least(self, cosine: Tensor | float) -> Tensor:
        """Give the smallest value whose true cosine might reach another.

        Args:
            cosine: One or several, any shape.

        Returns:
            Tensor: float32, of the same shape.
        """
        wanted = torch.as_tensor(cosine, dtype=torch.float64) - self.error
        factor = torch.where(wanted > 0, 1 + self.relative, 1 - self.relative)
        # Rounded down, so that the comparison in fp32 loses nothing.
        return (wanted / factor - _TINY).float().nextafter(torch.tensor(-2.0))

    def spread(self, values: Tensor) -> Tensor:
        """Say how far the true cosines can be from values of this product.

        Args:
            values: Any shape, float64.

        Returns:
            Tensor: Of the same shape.
        """
        return self.error + self.relative * values.abs()


def fastest_format() -> torch.dtype:
    """The number format in which this machine gets through a search soonest.

    Returns:
        torch.dtype: bf16 on a CPU with instructions for it; fp32 elsewhere. On a GPU the vectors'
        way there takes longer than their product.
    """
    if torch.cuda.is_available() or not torch.backends.mkldnn.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def device() -> torch.device:
    """Where products are computed.

    Returns:
        torch.device: The GPU if there is one.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def unit_rows(vectors: Matrix, first: int, what: str, dtype: torch.dtype) -> UnitRows:
    """Scale vectors to length 1; a zero vector stays zero, so its cosine with anything is 0.

    Args:
        vectors: ``[n, D]``.
        first: Number of the first of them, for the message.
        what: What they are, for the message.
        dtype: Format of the products.

    Returns:
        UnitRows: On `device`.

    Raises:
        UserError: If a number is NaN or infinite.
    """
    # Copied: a memory map is read-only, and its pages may be those of another float type.
    with np.errstate(over="ignore"):  # refused below, with its row
        given = torch.from_numpy(np.array(vectors, np.float32)).to(device())
    lengths = torch.linalg.vector_norm(given, dim=1, dtype=torch.float64)
    if not bool(torch.isfinite(lengths).all()):
        row = first + int((~torch.isfinite(lengths)).nonzero()[0])
        raise UserError(
            f"{what}: row {row:,} holds NaN, an infinite number or one beyond float32, expected "
            "finite numbers; encode its text again"
        )
    for far, factor in ((lengths < 1 / _FAR, _FAR), (lengths > _FAR, 1 / _FAR)):
        if bool(far.any()):
            given[far] *= factor
            lengths[far] *= factor
    scale = torch.where(lengths > 0, 1 / lengths, 0.0).float()
    given *= scale.unsqueeze(1)
    if dtype == torch.float32:
        # Scaling has rounded twice already, a part in 2^23 of the length.
        return UnitRows(given, 2.0**-22)
    rounded = given.to(dtype)
    lost = torch.linalg.vector_norm(given - rounded, dim=1).max()
    return UnitRows(rounded, float(lost) * (1 + 1e-3) + 2.0**-22)


class Columns:
    """One side of many products: its rows laid out once in the order the product reads them.

    Args:
        unit: The rows.
        beside: How many rows the other side usually has.
    """

    def __init__(self, unit: UnitRows, beside: int) -> None:
        self.error = unit.error
        self._prepacked = unit.rows.device.type == "cpu" and torch.backends.mkldnn.is_available()
        self._weight = (
            torch.ops.mkldnn._reorder_linear_weight(unit.rows, beside)
            if self._prepacked
            else unit.rows.T
        )

    def cosines(self, unit: UnitRows) -> Approximate:
        """Multiply.

        Args:
            unit: The other side.

        Returns:
            Approximate: ``values [n, q]``, a column for each row of this side.
        """
        if self._prepacked:
            linear = torch.ops.mkldnn._linear_pointwise
            values: Tensor = linear(unit.rows, self._weight, None, "none", [], "")
        else:
            values = unit.rows @ self._weight
        # Cauchy-Schwarz: |x·y - x'·y'| <= |x - x'| |y| + |x'| |y - y'|, then D fp32 additions.
        a, b = unit.error, self.error
        added = unit.rows.shape[1] * _ADDITION * (1 + a) * (1 + b)
        return Approximate(values, a + (1 + a) * b + added + _TINY, 1.01 * _ROUNDING[values.dtype])
