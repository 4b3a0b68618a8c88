"""The products of a transformer layer with gradients written out, for packed rows on a CPU.

Each keeps what its gradient needs and nothing else, multiplies in the working format, and gives
gradients of the fp32 parameters. In float32 they are autograd's but for the order of sums.
Shapes: ``S`` word pieces in a row, ``D`` width of the states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sbert_repro.backbone.working_weights import GradientMemory, WorkingWeights

_aten = torch.ops.aten


@dataclass(frozen=True)
class Dense:
    """A linear layer.

    Attributes:
        weight: ``[out, in]``.
        bias: ``[out]``.
        memory: Where gradients are written.
    """

    weight: WorkingWeights
    bias: WorkingWeights
    memory: GradientMemory

    def apply(self, states: Tensor) -> Tensor:
        """Multiply.

        Args:
            states: ``[S, in]``.

        Returns:
            Tensor: ``[S, out]``.
        """
        return F.linear(states, self.weight.value, self.bias.value)

    def gradients(self, states: Tensor, gradient: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Give the gradients of what went in, and of weights and biases.

        Args:
            states: What went in, ``[S, in]``.
            gradient: Of what came out, ``[S, out]``.

        Returns:
            tuple[Tensor, tuple[Tensor, ...]]: Of the states, and of the parameters in the order of
            `parameters`.
        """
        weights = self.weight.gradients(gradient.t() @ states, self.memory)
        biases = self.bias.gradients(gradient.sum(0), self.memory)
        return gradient @ self.weight.value, (*weights, *biases)

    def refresh(self) -> None:
        """Take weights and biases over as they are now."""
        self.weight.refresh()
        self.bias.refresh()

    def parameters(self) -> tuple[Tensor, ...]:
        """Give weights, then biases, for autograd to know of.

        Returns:
            tuple[Tensor, ...]: fp32 parameters.
        """
        return (*self.weight.parameters, *self.bias.parameters)


@dataclass(frozen=True)
class Dropped:
    """What dropout leaves.

    Attributes:
        kept: 1 where a number stays, else 0.
        scale: Of those that stay.
    """

    kept: Tensor
    scale: float


class DenseGelu(torch.autograd.Function):
    """The widening product and its GELU."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, dense: Dense, *_: Tensor) -> Tensor:
        """Compute it.

        Args:
            ctx: Autograd's.
            states: ``[S, D]``.
            dense: The linear layer.

        Returns:
            Tensor: ``[S, out]``.
        """
        wide = dense.apply(states)
        ctx.save_for_backward(states, wide)
        ctx.dense = dense
        return F.gelu(wide)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Give gradients.

        Args:
            ctx: Autograd's.
            gradient: Of the outcome.

        Returns:
            tuple[Tensor | None, ...]: Of what `forward` takes.
        """
        states, wide = ctx.saved_tensors
        below, parameters = ctx.dense.gradients(states, _aten.gelu_backward(gradient, wide))
        return (below, None, *parameters)


@dataclass(frozen=True)
class AddNorm:
    """What `DenseAddNorm` does after its product.

    Attributes:
        dense: The linear layer.
        drop: Dropout of its outcome, if any.
        epsilon: Of LayerNorm.
    """

    dense: Dense
    drop: Dropped | None
    epsilon: float


class DenseAddNorm(torch.autograd.Function):
    """A product, dropout, what went around both, and LayerNorm."""

    @staticmethod
    def forward(
        ctx: Any,
        inner: Tensor,
        around: Tensor,
        part: AddNorm,
        weight: Tensor,
        bias: Tensor,
        *_: Tensor,
    ) -> Tensor:
        """Compute it.

        Args:
            ctx: Autograd's.
            inner: What is multiplied, ``[S, in]``.
            around: What is added, ``[S, D]``.
            part: What is done.
            weight: Of LayerNorm ``[D]``, fp32.
            bias: Of LayerNorm ``[D]``, fp32.

        Returns:
            Tensor: ``[S, D]``.
        """
        outer, drop = part.dense.apply(inner), part.drop
        if drop is None:
            total = outer.add_(around)
        else:
            total = torch.addcmul(around, outer, drop.kept, value=drop.scale)
        shape = weight.shape
        normed, mean, spread = torch.native_layer_norm(total, shape, weight, bias, part.epsilon)
        kept = () if drop is None else (drop.kept,)
        ctx.save_for_backward(inner, total, mean, spread, weight, bias, *kept)
        ctx.dense, ctx.scale = part.dense, None if drop is None else drop.scale
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Give gradients.

        Args:
            ctx: Autograd's.
            gradient: Of the outcome.

        Returns:
            tuple[Tensor | None, ...]: Of what `forward` takes.
        """
        inner, total, mean, spread, weight, bias, *kept = ctx.saved_tensors
        around, on_weight, on_bias = _aten.native_layer_norm_backward(
            gradient, total, weight.shape, mean, spread, weight, bias, [True, True, True]
        )
        outer = (around * kept[0]).mul_(ctx.scale) if kept else around
        below, parameters = ctx.dense.gradients(inner, outer)
        return (below, around, None, on_weight, on_bias, *parameters)


class Lookup(torch.autograd.Function):
    """Rows of the word table; its gradient clears and writes only rows that were used."""

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, ids: Tensor, padding: int | None, memory: GradientMemory
    ) -> Tensor:
        """Compute it.

        Args:
            ctx: Autograd's.
            table: ``[V, D]``.
            ids: ``[S]``.
            padding: The id that does not learn, if any.
            memory: Where the gradient is written.

        Returns:
            Tensor: ``[S, D]``.
        """
        ctx.save_for_backward(table, ids)
        ctx.padding, ctx.memory = padding, memory
        return table.index_select(0, ids)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Give the table's gradient.

        Args:
            ctx: Autograd's.
            gradient: Of the outcome.

        Returns:
            tuple[Tensor | None, ...]: Of what `forward` takes.
        """
        table, ids = ctx.saved_tensors
        if ctx.padding is not None:
            learns = ids != ctx.padding
            ids, gradient = ids[learns], gradient[learns]
        return ctx.memory.rows(table, ids, gradient), None, None, None
