"""The linear layers of a `Network`: in oneDNN's order on a CPU, plain ones elsewhere.

PyTorch keeps a linear layer's weight as the checkpoint has it, and on a CPU its product must fetch
it in an order that no processor likes. oneDNN has an order of its own for each processor; put into
it once, the same product in fp32 runs up to twice as fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 1024
"""Word pieces of a usual batch; oneDNN chooses the order of the weights by it."""


class Product(Protocol):
    """A linear layer, ``x Wᵀ + b``, and what the network does with its result."""

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply ``x [S, in]``; gives ``[S, out]``."""

    def gelu(self, x: Tensor) -> Tensor:
        """Multiply and apply the exact GELU."""

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Multiply and add ``residual [S, out]``."""


Lay = Callable[[Tensor, Tensor], Product]
"""Makes a product of a weight ``[out, in]`` and a bias ``[out]``, both of them its own to keep."""


@dataclass(frozen=True)
class OneDnnProduct:
    """A product on a CPU whose weight lies in oneDNN's order.

    Attributes:
        weight: An opaque tensor of oneDNN's.
        bias: ``[out]``.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply ``x [S, in]``; gives ``[S, out]``."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, "none", [], ""
        )
        return product

    def gelu(self, x: Tensor) -> Tensor:
        """Multiply and apply the exact GELU while the result is still in a register."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, "gelu", [], "none"
        )
        return product

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Multiply and add ``residual [S, out]`` while the result is still in a register."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, residual, self.weight, self.bias, "add"
        )
        return product


def for_onednn(weight: Tensor, bias: Tensor) -> Product:
    """Put a weight into oneDNN's order.

    Args:
        weight: ``[out, in]``, on the CPU.
        bias: ``[out]``.

    Returns:
        Product: For a CPU.
    """
    return OneDnnProduct(torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS), bias)


@dataclass(frozen=True)
class PlainProduct:
    """A product by PyTorch's own linear layer, on any device.

    Attributes:
        weight: ``[out, in]``.
        bias: ``[out]``.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply ``x [S, in]``; gives ``[S, out]``."""
        return F.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Multiply and apply the exact GELU."""
        return F.gelu(self(x))

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Multiply and add ``residual [S, out]``."""
        return self(x).add_(residual)
