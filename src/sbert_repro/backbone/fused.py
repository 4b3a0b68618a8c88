"""Training in bf16 on a CPU: a packed network whose backward passes are written out.

The network is transformers' own, weight by weight and dropout by dropout; only how it is computed
differs: products in bf16 with weights that stand beside the fp32 ones, the residual stream in bf16,
few attention calls, dropout drawn in bulk. Each part keeps what its gradient needs and nothing
else, and gives gradients of the fp32 parameters. In float32 they are autograd's but for the order
of sums.

Shapes: ``S`` word pieces in the row, ``D`` width of the states, ``H`` heads, and ``n`` sentences of
up to ``L`` word pieces in a group.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from sbert_repro.backbone.packed import Group, Layer, Network, Packing, first_position, why_not

VERSION = 2
"""Raised by hand when the same weights would give other gradients; in the keys of bf16 runs."""

_aten = torch.ops.aten


def covers(model: nn.Module) -> bool:
    """Tell whether a network is one that `FusedNetwork` computes.

    Args:
        model: A transformers encoder.

    Returns:
        ``False`` for other families, other activations, and partly frozen networks.
    """
    trained = [p for name, p in model.named_parameters() if not name.startswith("pooler.")]
    whole = all(p.requires_grad and p.dtype == torch.float32 for p in trained)
    return why_not(model.config) is None and whole and all(p.device.type == "cpu" for p in trained)


class FusedNetwork:
    """A network in training; holds its working weights and the memory of its gradients."""

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
        """Take a network that `covers` accepts.

        Args:
            model: A transformers encoder; its parameters stay where they are.
            dtype: Format of states and products.
        """
        network: Any = model
        self._model, self._dtype, self._memory = network, dtype, GradientMemory()
        self._masks: DropoutMasks | None = None
        self._network = Network(self._embed, [self._layer(one) for one in network.encoder.layer])

    def states(self, packing: Packing, layers: Sequence[int] = (-1,)) -> Tensor:
        """Run the network; see `Network.states`.

        Args:
            packing: ``N`` sentences, in rising order of length.
            layers: Which layers' states are averaged.

        Returns:
            ``[S, D]``.
        """
        self._masks = DropoutMasks() if self._model.training else None
        with torch.autocast("cpu", enabled=False):
            return self._network.states(packing, layers)

    def _embed(self, packing: Packing) -> Tensor:
        part, config = self._model.embeddings, self._model.config
        words = part.word_embeddings
        rows = Lookup.apply(words.weight, packing.ids, words.padding_idx, self._memory)
        types = torch.zeros_like(packing.ids) if packing.types is None else packing.types
        rows = rows + F.embedding(types, part.token_type_embeddings.weight)
        places = packing.positions + first_position(config)
        rows = rows + F.embedding(places, part.position_embeddings.weight)
        states: Tensor = part.LayerNorm(rows).to(self._dtype)
        mask = self._mask(states.shape, part.dropout.p)
        return states if mask is None else states * mask.kept * mask.scale

    def _layer(self, layer: Any) -> Layer:
        return Layer(
            attention=self._attention(layer.attention.self),
            output=self._add_norm(layer.attention.output),
            up=self._gelu(layer.intermediate.dense),
            down=self._add_norm(layer.output),
        )

    def _attention(self, part: Any) -> Callable[[Tensor, Packing, bool], Tensor]:
        dense, heads = self._dense(part.query, part.key, part.value), part.num_attention_heads

        def run(states: Tensor, packing: Packing, _: bool) -> Tensor:
            groups = packing.padded_groups
            masks = [
                self._mask((group.count * heads, group.length, group.length), part.dropout.p)
                for group in groups
            ]
            mixed: Tensor = SelfAttention.apply(
                states, dense, heads, groups, masks, *dense.parameters
            )
            return mixed

        return run

    def _gelu(self, part: nn.Linear) -> Callable[[Tensor], Tensor]:
        dense = self._dense(part)
        return lambda states: DenseGelu.apply(states, dense, *dense.parameters)

    def _add_norm(self, part: Any) -> Callable[[Tensor, Tensor], Tensor]:
        dense, norm = self._dense(part.dense), part.LayerNorm

        def run(inner: Tensor, around: Tensor) -> Tensor:
            mask = self._mask(around.shape, part.dropout.p)
            added: Tensor = DenseAddNorm.apply(
                inner, around, dense, mask, norm.eps, norm.weight, norm.bias, *dense.parameters
            )
            return added

        return run

    def _dense(self, *layers: nn.Linear) -> Dense:
        return Dense(layers, self._dtype, self._memory)

    def _mask(self, shape: Sequence[int], share: float) -> Mask | None:
        return None if self._masks is None else self._masks.draw(shape, share, self._dtype)


class Dense:
    """One or several linear layers of equal input as one product in the working format.

    The optimizer, checkpoints and saved models see the fp32 parameters alone, by their names.

    Attributes:
        parameters: Weights, then biases of the layers, for autograd to know of.
        weight: ``[out, in]`` in the working format, as it was at the last product.
        bias: ``[out]``, likewise.
    """

    def __init__(
        self, layers: Sequence[nn.Linear], dtype: torch.dtype, memory: GradientMemory
    ) -> None:
        """Make room for the working weights; the gradients of the parameters go to ``memory``."""
        self.parameters = (*(one.weight for one in layers), *(one.bias for one in layers))
        self._sizes, self._memory = [one.out_features for one in layers], memory
        self.weight = torch.empty(sum(self._sizes), layers[0].in_features, dtype=dtype)
        self.bias = torch.empty(sum(self._sizes), dtype=dtype)

    def __call__(self, states: Tensor) -> Tensor:
        """Multiply ``states [S, in]`` by the weights as they are now: ``[S, out]``."""
        # Nothing tells cheaply whether they have changed: the fused optimizers of PyTorch do not
        # count their steps in a parameter's version.
        for part, parameter in zip(
            self._parts(self.weight, self.bias), self.parameters, strict=True
        ):
            part.copy_(parameter.detach())
        return F.linear(states, self.weight, self.bias)

    def gradients(self, states: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of what went in, and of the parameters in fp32.

        Args:
            states: What went in, ``[S, in]``.
            gradient: Of what came out, ``[S, out]``.

        Returns:
            That of the states ``[S, in]``, then one for each of ``parameters``.
        """
        parts = self._parts(gradient.t() @ states, gradient.sum(0))
        pairs = zip(self.parameters, parts, strict=True)
        own = [self._memory.like(parameter).copy_(part) for parameter, part in pairs]
        return gradient @ self.weight, *own

    def _parts(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        return (*weight.split(self._sizes), *bias.split(self._sizes))


class SelfAttention(torch.autograd.Function):
    """Query, key and value, and what each word piece takes from those of its sentence."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        dense: Dense,
        heads: int,
        groups: Sequence[Group],
        masks: Sequence[Mask | None],
        *_: Tensor,
    ) -> Tensor:
        """Compute it from ``states [S, D]``, group by group: ``[S, D]``.

        ``dense`` is query, key and value as one product; ``masks`` the dropout of each group's
        attention weights ``[n · H, L, L]``.
        """
        rows = dense(states)
        mixed, saved = torch.empty_like(states), [states]
        for group, mask in zip(groups, masks, strict=True):
            # [n · L, 3 · D] -> [3, n · H, L, d]
            shape = (group.count, group.length, 3, heads, -1)
            split = group.spread(rows).view(shape).permute(2, 0, 3, 1, 4).contiguous()
            query, key, value = split.flatten(1, 2)
            # In float32: PyTorch's softmax is many times slower on short rows of bf16.
            scores = torch.bmm(query, key.transpose(1, 2)).float().mul_(query.shape[-1] ** -0.5)
            if group.mask is not None:
                scores.view(group.count, heads, *scores.shape[1:]).add_(group.mask)
            weights = torch.softmax(scores, -1)
            if mask is None:
                used = weights.to(rows.dtype)
            else:
                used = weights.mul(mask.scale).to(rows.dtype).mul_(mask.kept)
            by_head = torch.bmm(used, value).view(group.count, heads, group.length, -1)
            whole = by_head.transpose(1, 2).flatten(0, 1).flatten(1)
            mixed[group.start : group.stop] = group.gather(whole)
            saved += [split, weights, used, *([] if mask is None else [mask.kept])]
        ctx.save_for_backward(*saved)
        ctx.dense, ctx.heads, ctx.groups = dense, heads, groups
        ctx.scales = [None if mask is None else mask.scale for mask in masks]
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of what `forward` takes."""
        states, *saved = ctx.saved_tensors
        rows = gradient.new_empty(gradient.shape[0], 3 * gradient.shape[1])
        for group, scale in zip(ctx.groups, ctx.scales, strict=True):
            size = 3 if scale is None else 4
            (split, weights, used, *kept), saved = saved[:size], saved[size:]
            query, key, value = split.flatten(1, 2)
            shape = (group.count, group.length, ctx.heads, -1)
            mixed = group.spread_gradient(gradient).view(shape).transpose(1, 2).flatten(0, 1)
            shared = torch.bmm(mixed, value.transpose(1, 2))
            if kept:
                shared.mul_(kept[0])
            scores = torch._softmax_backward_data(shared.float(), weights, -1, torch.float32)
            # The gradient is linear: the scale of dropout can wait for that of the scores.
            scores = scores.mul_(query.shape[-1] ** -0.5 * (scale or 1.0)).to(mixed.dtype)
            parts = (
                torch.bmm(scores, key),
                torch.bmm(scores.transpose(1, 2), query),
                torch.bmm(used.transpose(1, 2), mixed),
            )
            # 3 of [n · H, L, d] -> [n · L, 3 · D]
            whole = torch.stack(parts).unflatten(1, (group.count, ctx.heads))
            whole = whole.permute(1, 3, 0, 2, 4).flatten(0, 1).flatten(1)
            rows[group.start : group.stop] = group.gather(whole)
        below, *own = ctx.dense.gradients(states, rows)
        return below, None, None, None, None, *own


class DenseGelu(torch.autograd.Function):
    """The widening product and its GELU."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, dense: Dense, *_: Tensor) -> Tensor:
        """Compute it from ``states [S, D]``: ``[S, out]``."""
        wide = dense(states)
        ctx.save_for_backward(states, wide)
        ctx.dense = dense
        return F.gelu(wide)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of what `forward` takes."""
        states, wide = ctx.saved_tensors
        below, *own = ctx.dense.gradients(states, _aten.gelu_backward(gradient, wide))
        return below, None, *own


class DenseAddNorm(torch.autograd.Function):
    """A product, dropout, what went around both, and LayerNorm."""

    @staticmethod
    def forward(
        ctx: Any,
        inner: Tensor,
        around: Tensor,
        dense: Dense,
        mask: Mask | None,
        epsilon: float,
        weight: Tensor,
        bias: Tensor,
        *_: Tensor,
    ) -> Tensor:
        """Compute it from ``inner [S, in]`` and ``around [S, D]``: ``[S, D]``.

        ``weight`` and ``bias`` are LayerNorm's ``[D]``, in fp32.
        """
        outer = dense(inner)
        if mask is None:
            total = outer.add_(around)
        else:
            total = torch.addcmul(around, outer, mask.kept, value=mask.scale)
        normed, mean, spread = torch.native_layer_norm(total, weight.shape, weight, bias, epsilon)
        kept = () if mask is None else (mask.kept,)
        ctx.save_for_backward(inner, total, mean, spread, weight, bias, *kept)
        ctx.dense, ctx.scale = dense, None if mask is None else mask.scale
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of what `forward` takes."""
        inner, total, mean, spread, weight, bias, *kept = ctx.saved_tensors
        around, on_weight, on_bias = _aten.native_layer_norm_backward(
            gradient, total, weight.shape, mean, spread, weight, bias, [True, True, True]
        )
        outer = (around * kept[0]).mul_(ctx.scale) if kept else around
        below, *own = ctx.dense.gradients(inner, outer)
        return below, around, None, None, None, on_weight, on_bias, *own


class Lookup(torch.autograd.Function):
    """Rows of the word table; its gradient clears and writes only rows that were used."""

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, ids: Tensor, padding: int | None, memory: GradientMemory
    ) -> Tensor:
        """Look up ``ids [S]`` in ``table [V, D]``, where ``padding`` does not learn: ``[S, D]``."""
        ctx.save_for_backward(table, ids)
        ctx.padding, ctx.memory = padding, memory
        return table.index_select(0, ids)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of what `forward` takes."""
        table, ids = ctx.saved_tensors
        if ctx.padding is not None:
            learns = ids != ctx.padding
            ids, gradient = ids[learns], gradient[learns]
        return ctx.memory.rows(table, ids, gradient), None, None, None


class GradientMemory:
    """Memory of gradients, used again at every step.

    Half a gigabyte that is given back and asked for at every step costs about as much as the
    optimizer: the system clears each page anew. Memory that anyone still holds is left to them.
    """

    def __init__(self) -> None:
        self._held: dict[Tensor, torch.UntypedStorage] = {}
        self._written: dict[Tensor, Tensor] = {}

    def like(self, parameter: Tensor) -> Tensor:
        """Return memory for the gradient of a parameter, of its shape, with anything in it."""
        return self._take(parameter)[0]

    def rows(self, parameter: Tensor, used: Tensor, values: Tensor) -> Tensor:
        """Return the gradient of a table of which few rows were used.

        It is dense, as optimizers and clipping expect, but only rows that were written the last
        time are cleared. Whoever changes it may scale it, but must not write to other rows; taking
        the mean over several processes does, so there all of it is cleared.

        Args:
            parameter: The table ``[V, D]``.
            used: Row of each value, ``[S]``.
            values: To be added up, ``[S, D]``.

        Returns:
            ``[V, D]``.
        """
        gradient, again = self._take(parameter)
        if again and not torch.distributed.is_initialized():
            gradient.index_fill_(0, self._written[parameter], 0.0)
        else:
            gradient.zero_()
        self._written[parameter] = used
        return gradient.index_add_(0, used, values)

    def _take(self, parameter: Tensor) -> tuple[Tensor, bool]:
        """Return memory, and whether it is that of the last time."""
        storage = self._held.get(parameter)
        # Ours alone: neither the parameter nor anybody else holds the gradient of the last step.
        if storage is not None and torch._C._storage_Use_Count(storage._cdata) == 1:
            # A tensor of its own, so that autograd takes it as it is instead of copying it.
            empty = torch.empty(0, dtype=parameter.dtype)
            return empty.set_(storage, 0, parameter.shape, parameter.stride()), True
        new = torch.empty_like(parameter, requires_grad=False)
        self._held[parameter] = new.untyped_storage()
        return new, False


@dataclass(frozen=True)
class Mask:
    """What dropout leaves.

    Attributes:
        kept: 1 where a number stays, else 0.
        scale: Factor of those that stay.
    """

    kept: Tensor
    scale: float


class DropoutMasks:
    """The dropout masks of one pass through a network, drawn in bulk.

    On a CPU PyTorch draws `bernoulli_` one number after the other on one core, which for a training
    step of BERT-base costs as much as several of its layers. Here a fast generator gives 64 bits at
    a time, and 16 of them decide on one number. Each pass takes its seed from PyTorch's global
    generator, so that whoever restores that generator's state gets the same masks again.

    # paper: dropout as BERT was pre-trained with, 0.1
    # here: 6,554 of 65,536 instead of 1 of 10; the numbers kept are scaled by exactly 1 / 0.9
    # effect: none that could be measured; rows trained with trainer.precision=bf16 on a CPU
    """

    _STEPS = 1 << 16
    _ONE = 0x3F80
    """The bits of 1.0 in bfloat16."""

    def __init__(self) -> None:
        seed = int(torch.randint(2**62, ()))
        self._random = np.random.Generator(np.random.SFC64(seed))

    def draw(self, shape: Sequence[int], share: float, dtype: torch.dtype) -> Mask | None:
        """Draw a mask.

        Args:
            shape: Of the numbers.
            share: Share of them that is dropped, 0 to less than 1.
            dtype: Of the mask.

        Returns:
            The mask; ``None`` where every number is kept.
        """
        dropped = round(share * self._STEPS)
        if dropped == 0:
            return None
        count = math.prod(shape)
        words = self._random.integers(0, 2**64, -(-count // 4), dtype=np.uint64)
        drawn = torch.from_numpy(words.view(np.int16)[:count])
        # Of the 65,536 values, which begin at -32,768, the first that is kept.
        first = dropped - self._STEPS // 2
        # 0 or 1 as an integer, then the bits of 0.0 or 1.0: no slow conversion of single numbers.
        bits = drawn.clamp_(first - 1, first).sub_(first - 1).mul_(self._ONE)
        return Mask(bits.view(torch.bfloat16).view(*shape).to(dtype), 1 / (1 - share))
