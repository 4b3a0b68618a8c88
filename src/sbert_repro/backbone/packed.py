"""BERT and RoBERTa over a packed row: the sentences of a batch one after the other, no padding.

A padded batch of 16 NLI pairs is about two thirds padding, and the network multiplies all of it. In
a packed row everything but the attention works word piece by word piece and does not notice where
a sentence ends; the attention runs once for each group of sentences. Three users share this file:

* training and evaluation in fp32 run transformers' own network with our attention function;
* training in bf16 on a CPU runs a `Network` whose layers have their backward pass written out
  (`sbert_repro.backbone.fused`);
* inference runs a `Network` of prepacked weights, from `prepack`.

Shapes: ``N`` sentences, ``S`` word pieces in the row, ``D`` width of the states, ``H`` heads of
width ``d``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sbert_repro.batch import Tokens

Pieces = Sequence[NDArray[np.integer]]
"""Word-piece ids ``[L]`` of each sentence; ``[2, L]``, ids above token types, for pairs read as
one."""
Pool = Callable[[Tensor, Tensor], Tensor]
"""``(states [n, L, D], mask [n, L]) -> [n, D]``."""

FAMILIES = ("bert", "roberta", "xlm-roberta")
"""Values of ``model_type`` with BERT's layers, under BERT's names."""


def why_not(config: Any) -> str | None:
    """Say what keeps a model from being a `Network`.

    Args:
        config: The model's transformers configuration.

    Returns:
        A reason in a few words, or ``None`` if there is none.
    """
    if config.model_type not in FAMILIES:
        return f"model_type {config.model_type} is none of {', '.join(FAMILIES)}"
    if config.hidden_act != "gelu":
        return f"its activation is {config.hidden_act}, not gelu"
    return "it is a decoder" if getattr(config, "is_decoder", False) else None


def first_position(config: Any) -> int:
    """Return the number of a sentence's first position.

    RoBERTa counts positions from the padding id on, so its first ones are never used.
    """
    return int(config.pad_token_id) + 1 if "roberta" in config.model_type else 0


def positions(config: Any) -> int:
    """Return how many word pieces a sentence may have, [CLS] and [SEP] included."""
    return int(config.max_position_embeddings) - first_position(config)


# --- The row: where each sentence stands, and which sentences attend in one call


@dataclass(frozen=True, eq=False)
class Group:
    """``n`` neighbouring sentences of a row that attend in one call, each with room for ``L``.

    Attributes:
        count: ``n``.
        length: ``L``, the length of the longest.
        start: Where they begin in the row.
        stop: Where they end.
        places: Which of the ``n · L`` places hold a word piece; ``None``: all of them.
        sources: Which word piece of the row stands in each place; any of them on padding.
        mask: 0 on word pieces and -inf on padding, ``[n, 1, 1, L]``.
    """

    count: int
    length: int
    start: int
    stop: int
    places: Tensor | None = None
    sources: Tensor | None = None
    mask: Tensor | None = None

    @classmethod
    def of(cls, lengths: Sequence[int], start: int) -> Group:
        """Group sentences of these lengths, in rising order, that begin at ``start``."""
        count, length, stop = len(lengths), lengths[-1], start + sum(lengths)
        if lengths[0] == length:
            return cls(count, length, start, stop)
        real = torch.arange(length) < torch.tensor(lengths).unsqueeze(1)
        places = real.flatten().nonzero().squeeze(1)
        sources = torch.full((count * length,), start)
        sources[places] = torch.arange(start, stop)
        mask = torch.zeros(count, 1, 1, length).masked_fill_(~real[:, None, None], float("-inf"))
        return cls(count, length, start, stop, places, sources, mask)

    def spread(self, row: Tensor) -> Tensor:
        """Give each sentence of ``row [S, D]`` its ``L`` places, ``[n · L, D]``.

        What stands on padding is finite but means nothing.
        """
        if self.sources is None:
            return row[self.start : self.stop]
        return row.index_select(0, self.sources)

    def spread_gradient(self, row: Tensor) -> Tensor:
        """Like `spread`, with 0 on padding."""
        mine = row[self.start : self.stop]
        if self.places is None:
            return mine
        spread = mine.new_zeros(self.count * self.length, row.shape[1])
        return spread.index_copy_(0, self.places, mine)

    def gather(self, spread: Tensor) -> Tensor:
        """Take the word pieces ``[stop - start, D]`` out of their places ``[n · L, D]``."""
        return spread if self.places is None else spread.index_select(0, self.places)


@dataclass(frozen=True, eq=False)
class Packing:
    """How ``N`` sentences lie in one row of ``S`` word pieces.

    Attributes:
        ids: Word-piece ids ``[S]``.
        types: Token types ``[S]``, or ``None`` for single sentences.
        lengths: Word pieces of each sentence, in the order of the row; equal ones together.
        order: Number in the batch of each sentence of the row, ``[N]``.
    """

    ids: Tensor
    types: Tensor | None
    lengths: Sequence[int]
    order: Tensor

    def to(self, device: torch.device) -> Packing:
        """Return the same row on another device."""
        types = None if self.types is None else self.types.to(device)
        return replace(self, ids=self.ids.to(device), types=types, order=self.order.to(device))

    @cached_property
    def bounds(self) -> Tensor:
        """Where each sentence begins, and ``S``: ``[N + 1]``, int32."""
        bounds = np.cumsum([0, *self.lengths], dtype=np.int32)
        return torch.from_numpy(bounds).to(self.ids.device)

    @cached_property
    def positions(self) -> Tensor:
        """Place of each word piece in its sentence, from 0: ``[S]``."""
        lengths = np.asarray(self.lengths)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        return torch.from_numpy(np.arange(len(starts)) - starts).to(self.ids.device)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Sentences of equal length together, so that nothing is padded."""
        firsts = np.flatnonzero(np.diff(self.lengths, prepend=-1))
        return self._cut(zip(firsts, [*firsts[1:], len(self.lengths)], strict=True))

    @cached_property
    def padded_groups(self) -> tuple[Group, ...]:
        """Sentences of similar length together, so that calls and padding cost least.

        Lengths must rise. For each end of a group the best beginning is found.
        """
        best, begins = [0], [0]
        for end in range(1, len(self.lengths) + 1):
            square = self.lengths[end - 1] ** 2
            costs = [best[i] + _CALL + (end - i) * square for i in range(end)]
            best.append(min(costs))
            begins.append(costs.index(best[-1]))
        cuts, end = [], len(self.lengths)
        while end:
            cuts.append((begins[end], end))
            end = begins[end]
        return self._cut(cuts[::-1])

    def _cut(self, cuts: Any) -> tuple[Group, ...]:
        groups, start = [], 0
        for first, last in cuts:
            groups.append(Group.of(self.lengths[first:last], start))
            start = groups[-1].stop
        return tuple(groups)


_CALL = 3000
"""What another attention call costs, in scores of one head that could be computed instead
(measured)."""


def pack(tokens: Tokens) -> Packing:
    """Put the sentences of a padded batch into one row, ordered by length.

    Args:
        tokens: ``N`` sentences, padded on the right.

    Returns:
        The same word pieces without padding.
    """
    if isinstance(tokens, PackedTokens):
        return tokens.packing
    lengths = tokens.mask.sum(1)
    order = torch.argsort(lengths, stable=True)
    mask = tokens.mask[order]
    types = None if tokens.types is None else tokens.types[order][mask]
    return Packing(tokens.ids[order][mask], types, lengths[order].tolist(), order)


def pack_pieces(pieces: Pieces) -> Packing:
    """Put tokenised sentences into one row, in their order.

    Args:
        pieces: Word pieces of ``N`` sentences, at least one; those of equal length together.

    Returns:
        The same word pieces.
    """
    whole = torch.from_numpy(np.concatenate(pieces, axis=-1).astype(np.int64))
    ids, types = (whole, None) if whole.ndim == 1 else whole
    return Packing(ids, types, lengths_of(pieces).tolist(), torch.arange(len(pieces)))


def lengths_of(pieces: Pieces) -> NDArray[np.int64]:
    """Count the word pieces of each sentence, ``[N]``."""
    return np.fromiter((row.shape[-1] for row in pieces), np.int64, len(pieces))


def unpack(states: Tensor, packing: Packing, tokens: Tokens) -> Tensor:
    """Put states ``[S, D]`` back where their word pieces stood.

    Args:
        states: One for each word piece of the row.
        packing: How the sentences lie in it.
        tokens: The padded batch.

    Returns:
        ``[N, T, D]``, 0 on padding.
    """
    lengths = torch.tensor(packing.lengths, device=states.device)
    rows = packing.order.repeat_interleave(lengths)
    padded = states.new_zeros(*tokens.mask.shape, states.shape[-1])
    return padded.index_put((rows, packing.positions), states)


@dataclass(frozen=True)
class PackedTokens(Tokens):
    """Padded word pieces that have been packed already, in another thread than the network's.

    On another device than the CPU they are padded tokens like any others: nobody packs there.

    Attributes:
        packing: What `pack` makes of them.
    """

    packing: Packing = field(kw_only=True)

    def to(self, device: torch.device | str) -> Tokens:
        """Return these on the CPU, plain tokens on any other device."""
        return self if torch.device(device).type == "cpu" else super().to(device)


# --- The attention

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Query, key and value ``[n, H, L, d]`` of sentences of equal length -> what each word piece takes
from its sentence, in the query's shape."""
Attend = Callable[[Tensor, Tensor, Tensor, Packing, bool], Tensor]
"""``(query, key, value [S, H, d], packing, first_only) -> [S, H, d]``: attend within each sentence;
with ``first_only`` only from its first word piece, ``[N, H, d]``."""


def attend(
    mix: Mix, query: Tensor, key: Tensor, value: Tensor, packing: Packing, first_only: bool = False
) -> Tensor:
    """Attend within each sentence, those of equal length in one call; with ``mix``, an `Attend`.

    Groups of similar length, as bf16 training has them, would save calls and cost copies.
    """
    mixed = []
    for group in packing.groups:
        q, k, v = (
            row[group.start : group.stop].unflatten(0, (group.count, group.length)).transpose(1, 2)
            for row in (query, key, value)
        )
        mixed.append(mix(q[:, :, :1] if first_only else q, k, v).transpose(1, 2).flatten(0, 1))
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def attend_rounded(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, first_only: bool = False
) -> Tensor:
    """Attend within each sentence on a CPU, without gradients, to round numbers of keys.

    PyTorch's attention takes its scores 16 at a time and what is left over one by one, which costs
    more than all others: BERT-base's takes 1.1 µs a word piece in sentences of 16 and 2.0 in those
    of 12 or 20. So a sentence sees some word pieces of its neighbour too, as many as make its keys
    a multiple of 16, where they lie, and a mask takes them out. That brings sentences of 12 to 1.15
    µs and those of 20 to 1.55 (one thread of an Intel Xeon with AMX, fp32). The last sentences of a
    row, behind which there is nothing, get zeros. Queries must be divided by the root of a head's
    width.
    """
    whole, mixed = key.shape[0], []
    for group in packing.groups:
        count, length, start = group.count, group.length, group.start
        extra = -length % _KEYS
        mask = _mask(length, extra, query.dtype) if extra else None
        inside = min(count, max(0, (whole - extra - start) // length))
        for first, last in ((0, inside), (inside, count)):
            if first == last:
                continue
            begin, end = start + first * length, start + last * length
            q = _windows(query, begin, last - first, length, length)
            sides, at = [key, value], begin
            if last > inside:
                sides, at = [F.pad(rows[begin:end], (0, 0, 0, 0, 0, extra)) for rows in sides], 0
            k, v = (_windows(rows, at, last - first, length, length + extra) for rows in sides)
            one = F.scaled_dot_product_attention(
                q[:, :, :1] if first_only else q, k, v, attn_mask=mask, scale=1.0
            )
            mixed.append(one.transpose(1, 2).flatten(0, 1))
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


_KEYS = 16
"""What the number of keys is rounded up to: the floats of an AVX-512 register."""


def _windows(rows: Tensor, begin: int, count: int, step: int, size: int) -> Tensor:
    """View ``count`` windows on ``rows [S, H, d]``, which may overlap: ``[count, H, size, d]``."""
    row, head, one = rows.stride()
    shape = (count, rows.shape[1], size, rows.shape[2])
    strides = (step * row, head, row, one)
    return rows.as_strided(shape, strides, rows.storage_offset() + begin * row)


@cache
def _mask(length: int, extra: int, dtype: torch.dtype) -> Tensor:
    """0 on a sentence's word pieces, -inf on the ``extra`` behind them: ``[1, 1, 1, keys]``."""
    mask = torch.zeros((1, 1, 1, length + extra), dtype=dtype)
    mask[..., length:] = float("-inf")
    return mask


def _attend_in_transformers(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend in transformers' own network, which gives ``[1, H, S, d]`` and takes ``[1, S, H, d]``.

    Without a packing the batch is padded, and this is transformers' own SDPA.
    """
    if packing is None:
        padded: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return padded
    mix = partial(
        F.scaled_dot_product_attention,
        dropout_p=options.get("dropout", 0.0),
        scale=options.get("scaling"),
    )
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    return attend(mix, q, k, v, packing).unsqueeze(0), None


ATTENTION = "sbert_packed"
"""Name under which transformers finds our attention."""
AttentionInterface.register(ATTENTION, _attend_in_transformers)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


# --- The network


@dataclass(frozen=True)
class Layer:
    """One transformer layer, in four parts that training and inference compute differently.

    Attributes:
        attention: ``(states [S, D], packing, first_only) -> [S, D]``; ``[N, D]`` with
            ``first_only``.
        output: The product after it, plus the states around both, normalised.
        up: The widening product and its GELU.
        down: The narrowing product, plus the states around both, normalised.
    """

    attention: Callable[[Tensor, Packing, bool], Tensor]
    output: Callable[[Tensor, Tensor], Tensor]
    up: Callable[[Tensor], Tensor]
    down: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, states: Tensor, packing: Packing, first_only: bool = False) -> Tensor:
        """Run the layer: ``[S, D]`` to ``[S, D]``, or to ``[N, D]`` with ``first_only``."""
        mixed = self.attention(states, packing, first_only)
        if first_only:
            states = states.index_select(0, packing.bounds[:-1])
        states = self.output(mixed, states)
        return self.down(self.up(states), states)


@dataclass(frozen=True)
class Network:
    """An encoder over packed rows.

    Attributes:
        embed: Gives the states ``[S, D]`` that enter the first layer.
        layers: The layers.
    """

    embed: Callable[[Packing], Tensor]
    layers: Sequence[Layer]

    def states(
        self, packing: Packing, layers: Sequence[int] = (-1,), *, first_only: bool = False
    ) -> Tensor:
        """Run the network.

        Args:
            packing: ``N`` sentences.
            layers: Which layers' states are averaged, 0 for the embeddings; see
                `sbert_repro.backbone.transformer.LAYERS`. Later ones are not run.
            first_only: Of the last layer compute only what the first word piece of each sentence
                needs; not with an average.

        Returns:
            ``[S, D]``, or ``[N, D]`` with ``first_only``.
        """
        wanted = sorted({layer % (len(self.layers) + 1) for layer in layers})
        states = self.embed(packing)
        kept = [states] if 0 in wanted else []
        for number, layer in enumerate(self.layers[: wanted[-1]], start=1):
            states = layer(states, packing, first_only and number == wanted[-1])
            if number in wanted:
                kept.append(states)
        return kept[0] if len(kept) == 1 else torch.stack([one.float() for one in kept]).mean(0)


def pool_groups(
    states: Tensor, packing: Packing, pool: Pool, *, first_only: bool = False
) -> Tensor:
    """Pool each group of sentences of equal length.

    Args:
        states: From `Network.states`, with the same ``first_only``.
        packing: ``N`` sentences.
        pool: Called once a group, so its mask is all true.
        first_only: There is one state for each sentence.

    Returns:
        ``[N, D]``, in the order of the row.
    """
    shapes = [(group.count, 1 if first_only else group.length) for group in packing.groups]
    parts = states.split([count * length for count, length in shapes])
    return torch.cat(
        [
            pool(part.view(*shape, -1), torch.ones(shape, dtype=torch.bool, device=part.device))
            for shape, part in zip(shapes, parts, strict=True)
        ]
    )


# --- Its parts at inference: weights laid out once


class Product:
    """A linear layer, ``x Wᵀ + b``, and what the network does with its result; on any device."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Keep ``weight [out, in]`` and ``bias [out]``."""
        self.weight, self.bias = weight, bias

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, norm: Norm | None) -> Product:
        """Make it as `prepack` wants it; the LayerNorm before it does not matter here."""
        return cls(weight, bias)

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply ``x [S, in]``: ``[S, out]``."""
        return F.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Multiply and apply the exact GELU."""
        return F.gelu(self(x))

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Multiply and add ``residual [S, out]``."""
        return self(x).add_(residual)


class PrepackedProduct(Product):
    """A product on a CPU whose weight lies in oneDNN's order.

    PyTorch keeps a weight as the checkpoint has it, and on a CPU its product must fetch it in an
    order that no processor likes. oneDNN has an order of its own for each processor; put into it
    once, the same product runs up to twice as fast in fp32. GELU and sum are computed while the
    result is still in a register.
    """

    ROWS = 1024
    """Word pieces of a usual batch; oneDNN chooses the order by it."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Reorder ``weight [out, in]``."""
        super().__init__(torch.ops.mkldnn._reorder_linear_weight(weight, self.ROWS), bias)

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply ``x [S, in]``: ``[S, out]``."""
        return self._pointwise(x, "none", "")

    def gelu(self, x: Tensor) -> Tensor:
        """Multiply and apply the exact GELU."""
        return self._pointwise(x, "gelu", "none")

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Multiply and add ``residual [S, out]``."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, residual, self.weight, self.bias, "add"
        )
        return product

    def _pointwise(self, x: Tensor, function: str, algorithm: str) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, function, [], algorithm
        )
        return product


class HalfProduct(PrepackedProduct):
    """A prepacked product in bf16 between states in fp32."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Round and reorder ``weight [out, in]``."""
        super().__init__(weight.bfloat16(), bias.bfloat16())

    def _pointwise(self, x: Tensor, function: str, algorithm: str) -> Tensor:
        return super()._pointwise(x.bfloat16(), function, algorithm).float()

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Multiply and add ``residual [S, out]``."""
        return self(x).add_(residual)


class QuantizedProduct(Product):
    """A product of 8-bit integers on a CPU, between states in fp32.

    A weight has one scale for each output. Each word piece is quantised by itself when it comes,
    from its least to its greatest value, so what stands beside it in the row does not matter:

        x ≈ scale · q + least,   x Wᵀ ≈ scale · (q Wᵀ) + least · Σ W

    with ``q`` in 0…255. The sums are exact (see `_steps`); rounding is in ``q`` and in ``W``.
    Behind a LayerNorm weights are chosen that make Σ W zero, which saves a pass over the result.
    """

    _TAIL = 8
    """Bytes behind each quantised word piece: its scale and its least value. Multiplied along, by
    0, they would spare a copy, but then matrix units (AMX) end in a part of their 64 inputs and
    take a fifth longer."""

    LEAST = 256
    """Inputs and outputs from which on 8 bits are faster than bf16, quantisation counted: a product
    of 256 by 256 takes 0.23 µs a word piece instead of 0.31, one of 128 by 128 0.10 in either. With
    AVX2 alone, where the other is fp32, 1.11 instead of 1.56, and 0.45 instead of 0.44."""

    def __init__(self, weight: Tensor, bias: Tensor, norm: Norm | None = None) -> None:
        """Quantise ``weight [out, in]``, float32, and lay it out.

        Args:
            weight: The weight.
            bias: ``[out]``.
            norm: The LayerNorm that each ``x`` comes out of, if one does.
        """
        zero_sum = None if norm is None else _zero_sum(weight, bias, norm)
        weight, self.bias = zero_sum or (weight, bias)
        self.scales = _steps(weight).clamp_min(torch.finfo(torch.float32).tiny)
        exact = weight / self.scales[:, None]
        whole = exact.round()
        self.sums: Tensor | None = None
        if zero_sum is None:
            self.sums = whole.sum(1) * self.scales
        else:
            whole = _rounded_to_zero_sum(exact)
        self.zeros = torch.zeros(len(weight), dtype=torch.int32)
        rows = [PrepackedProduct.ROWS, weight.shape[1]]
        self.weight = torch.ops.onednn.qlinear_prepack(whole.to(torch.int8), rows)

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply ``x [S, in]``: ``[S, out]``."""
        # Made for tables of embeddings: one pass for the range, one that rounds, both vectorised.
        whole = torch.ops.quantized.embedding_bag_byte_prepack(x)
        tail = whole.view(torch.float32)
        scale, least = tail[:, -2:-1], tail[:, -1:]
        product = self.multiply(whole[:, : -self._TAIL])
        # In its own place: fresh memory would cost more than the arithmetic.
        torch.addcmul(self.bias, product, scale, out=product)
        return product if self.sums is None else product.addcmul_(least, self.sums)

    def multiply(self, whole: Tensor) -> Tensor:
        """Multiply ``whole [S, in]``, 8 bits each, with ``W``: ``[S, out]``, float32."""
        return _multiply(whole, self.weight, self.scales, self.zeros)

    def gelu(self, x: Tensor) -> Tensor:
        """Multiply and apply the exact GELU."""
        product: Tensor = torch.ops.aten.gelu_(self(x))
        return product

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Multiply and add ``residual [S, out]``."""
        return self(x).add_(residual)


def _multiply(whole: Tensor, weight: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    product: Tensor = torch.ops.onednn.qlinear_pointwise(
        whole, 1.0, 0, weight, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return product


def _steps(weight: Tensor) -> Tensor:
    """Choose the step of each output's 8-bit weights, ``weight [out, in]``: ``[out]``.

    The greatest weight is 127 steps, unless the products of two neighbouring inputs are added in 16
    bits. The most that fits there is 255 · 128, so two neighbours of one sign may come to 127
    together before rounding, which makes at most 128 of it. Neighbours are the inputs 0 and 1, 2
    and 3, …, if there are 4, 8, 12, … of them; of other numbers oneDNN pairs other inputs, and no
    weight may exceed 64.
    """
    greatest = weight.abs().amax(1)
    if adds_in_16_bits():
        if weight.shape[1] % 4:
            greatest = 2 * greatest
        else:
            together = weight.unflatten(1, (-1, 2)).sum(2).abs().amax(1)
            greatest = torch.maximum(greatest, together)
    return greatest / 127


def _zero_sum(weight: Tensor, bias: Tensor, norm: Norm) -> tuple[Tensor, Tensor] | None:
    """Find a weight whose rows add up to 0, and its bias, that give the same behind ``norm``.

    What comes out of a LayerNorm, x = g n + b, has Σ n = 0, thus Σ x / g = Σ b / g for every word
    piece. So any multiple of 1 / g can be taken off a row of ``weight`` and its part of the result,
    the same for all, be put into the bias.

    Args:
        weight: ``[out, in]``.
        bias: ``[out]``.
        norm: The normalisation, of ``in`` numbers.

    Returns:
        Both, or ``None`` where a gain is so small that the new weights would lose precision in 8
        bits.
    """
    inverse = 1 / norm.weight.double()
    share = weight.double().sum(1) / inverse.sum()
    other = weight - share[:, None] * inverse
    wider = other.abs().amax(1) > _WIDER * weight.abs().amax(1)
    if wider.any() or not other.isfinite().all():
        return None
    return other.float(), (bias + share * (norm.bias * inverse).sum()).float()


_WIDER = 1.25
"""Times that a weight's greatest value may grow by `_zero_sum`, and with it all rounding."""


def _rounded_to_zero_sum(exact: Tensor) -> Tensor:
    """Round rows that add up to 0 so that the integers do, too: ``[out, in]``.

    Where rounding leaves a sum of 5, the five that were raised most are lowered instead.
    """
    whole = exact.round()
    left = whole.sum(1, keepdim=True)
    ranks = (exact - whole).argsort(1).argsort(1)
    return whole - (ranks < left).float() + (ranks >= exact.shape[1] + left).float()


def narrow_product(weight: Tensor, bias: Tensor, norm: Norm | None = None) -> Product:
    """Make a `QuantizedProduct` where 8 bits gain time, otherwise a product in bf16 or fp32.

    The choice rests on the shape alone, so that a model has the same vectors whatever else ran.
    """
    if min(weight.shape) >= QuantizedProduct.LEAST:
        return QuantizedProduct(weight, bias, norm)
    half = narrow_precision() == "bf16"
    return HalfProduct(weight, bias) if half else PrepackedProduct(weight, bias)


def narrow_precision() -> str:
    """Return the precision of products that are too narrow for 8 bits: ``bf16`` or ``fp32``."""
    return "bf16" if why_not_prepacked(torch.bfloat16) is None else "fp32"


@cache
def adds_in_16_bits() -> bool:
    """Tell whether this processor first adds two 8-bit products in 16 bits, as without VNNI.

    A product says so itself: PyTorch does not know each kind of VNNI, and oneDNN can be told to use
    none.
    """
    rows, width = 64, QuantizedProduct.LEAST
    weight = torch.full((width, width), 127, dtype=torch.int8)
    weight = torch.ops.onednn.qlinear_prepack(weight, [rows, width])
    greatest = torch.full((rows, width), 255, dtype=torch.uint8)
    ones, zeros = torch.ones(width), torch.zeros(width, dtype=torch.int32)
    return bool((_multiply(greatest, weight, ones, zeros) != 255 * 127 * width).any())


@cache
def why_not_quantized() -> str | None:
    """Say what keeps this machine or this PyTorch from `QuantizedProduct`, whatever the model.

    Returns:
        A reason in a few words, or ``None`` if there is none.
    """
    if not hasattr(torch.ops.onednn, "qlinear_pointwise") or not hasattr(
        torch.ops.quantized, "embedding_bag_byte_prepack"
    ):
        return f"PyTorch {torch.__version__} has no 8-bit products of oneDNN here"
    if not torch.cpu._is_avx2_supported():
        return "8-bit products here need AVX2, which this processor has not"
    return why_not_prepacked(torch.float32)


@cache
def why_not_prepacked(dtype: torch.dtype) -> str | None:
    """Say what keeps this machine or this PyTorch from prepacked products, whatever the model.

    Args:
        dtype: float32 or bfloat16.

    Returns:
        A reason in a few words, or ``None`` if there is none.
    """
    needed = ("_linear_pointwise", "_reorder_linear_weight")
    if not torch.backends.mkldnn.is_available() or not all(
        hasattr(torch.ops.mkldnn, name) for name in needed
    ):
        return f"PyTorch {torch.__version__} has no prepacked products of oneDNN here"
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "this processor has no bf16 products (fp32 is usually faster)"
    return None


@dataclass(frozen=True)
class Norm:
    """Layer normalisation; its sums are in fp32 whatever the states are."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, norm: nn.LayerNorm, dtype: torch.dtype = torch.float32) -> Norm:
        """Copy the weights of ``norm``."""
        return cls(_copy(norm.weight).to(dtype), _copy(norm.bias).to(dtype), float(norm.eps))

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise ``x [S, D]``."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class AddNorm:
    """A product, plus what went around it, normalised."""

    product: Product
    norm: Norm

    def __call__(self, inner: Tensor, around: Tensor) -> Tensor:
        """Compute it from ``inner [S, in]`` and ``around [S, D]``."""
        return self.norm(self.product.plus(inner, around))


@dataclass(frozen=True)
class Attention:
    """Query, key and value as one product, then the attention."""

    product: Product
    heads: int
    attend: Attend

    def __call__(self, states: Tensor, packing: Packing, first_only: bool = False) -> Tensor:
        """Compute it from ``states [S, D]``."""
        query, key, value = self.product(states).unflatten(1, (3, self.heads, -1)).unbind(1)
        return self.attend(query, key, value, packing, first_only).flatten(1)


@dataclass(frozen=True)
class Embeddings:
    """Word pieces, positions and types, summed in fp32 in transformers' order and normalised.

    Attributes:
        words: ``[V, D]``.
        positions: From the first one that is used, ``[positions, D]``.
        types: ``[types, D]``.
        norm: What follows their sum.
        dtype: Of the states.
    """

    words: Tensor
    positions: Tensor
    types: Tensor
    norm: Norm
    dtype: torch.dtype

    def __call__(self, packing: Packing) -> Tensor:
        """Look up a row: ``[S, D]``."""
        types = self.types[0] if packing.types is None else F.embedding(packing.types, self.types)
        states = F.embedding(packing.ids, self.words).add_(types)
        return self.norm(states.add_(F.embedding(packing.positions, self.positions))).to(self.dtype)


def prepack(
    model: nn.Module,
    dtype: torch.dtype = torch.float32,
    *,
    product: Callable[[Tensor, Tensor, Norm | None], Product] = PrepackedProduct.of,
    attend_with: Attend = attend_rounded,
    norms: torch.dtype = torch.float32,
) -> Network:
    """Lay out a network's weights for inference, on the device where they are.

    Args:
        model: A transformers encoder for which `why_not` returns ``None``; it can be dropped
            afterwards.
        dtype: float32 or bfloat16, for products, states and attention; sums over word pieces,
            normalisation and pooling stay fp32.
        product: Makes each linear layer of a weight, a bias and the normalisation, if any, that
            its input comes out of; by default for a CPU.
        attend_with: The attention, given queries that are scaled; by default for a CPU.
        norms: Type of the weights of the layers' normalisation.

    Returns:
        The same network.
    """
    network: Any = model
    tables, config = network.embeddings, network.config
    # Folded into the weights of the query, so that no pass over the scores is needed for it.
    scale = 1 / math.sqrt(config.hidden_size / config.num_attention_heads)

    def multiply(weight: Tensor, bias: Tensor, norm: Norm | None = None) -> Product:
        return product(
            weight.detach().to(dtype, copy=True), bias.detach().to(dtype, copy=True), norm
        )

    def attention(part: Any, before: Norm) -> Attention:
        others = (part.key, part.value)
        weight = torch.cat([part.query.weight * scale, *(one.weight for one in others)])
        bias = torch.cat([part.query.bias * scale, *(one.bias for one in others)])
        return Attention(multiply(weight, bias, before), config.num_attention_heads, attend_with)

    with torch.inference_mode():
        embeddings = Embeddings(
            words=_copy(tables.word_embeddings.weight),
            positions=_copy(tables.position_embeddings.weight[-positions(config) :]),
            types=_copy(tables.token_type_embeddings.weight),
            norm=Norm.of(tables.LayerNorm),
            dtype=dtype,
        )
        layers, before = [], embeddings.norm
        for layer in network.encoder.layer:
            output, up, down = layer.attention.output, layer.intermediate.dense, layer.output
            middle, after = (Norm.of(part.LayerNorm, norms) for part in (output, down))
            layers.append(
                Layer(
                    attention=attention(layer.attention.self, before),
                    output=AddNorm(multiply(output.dense.weight, output.dense.bias), middle),
                    up=multiply(up.weight, up.bias, middle).gelu,
                    down=AddNorm(multiply(down.dense.weight, down.dense.bias), after),
                )
            )
            before = after
    return Network(embeddings, layers)


def _copy(weight: Tensor) -> Tensor:
    """Copy a weight, so that the model that it came from can be dropped as a whole."""
    return weight.detach().float().clone()
