"""Sentences one after the other in a row, through the layers of a `Network`, without padding.

Everything but the attention works word piece by word piece and does not notice where a sentence
ends. The attention is the caller's choice; here it runs once for each group of sentences of equal
length, with no mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sbert_repro.backbone.transformer import LAYERS
from sbert_repro.inference.batches import Pieces, lengths_of
from sbert_repro.inference.weights import Layer, Network

Groups = tuple[tuple[int, int], ...]
"""Length and number of the sentences of each group of equal length, in order."""


@dataclass(frozen=True)
class Row:
    """``n`` sentences of ``S`` word pieces together, those of equal length beside each other.

    Attributes:
        ids: Word-piece ids ``[S]``.
        places: Place of each word piece in its sentence, from 0; ``[S]``.
        types: Token types ``[S]``, or ``None`` for single sentences.
        groups: Where the sentences begin and end.
        bounds: The same for each sentence: where it begins, and ``S``; ``[n + 1]``, int32.
    """

    ids: Tensor
    places: Tensor
    types: Tensor | None
    groups: Groups
    bounds: Tensor


Attend = Callable[[Tensor, Row, int, bool], Tensor]
"""``(qkv [S, 3 D], row, heads, first_only) -> [S, D]``: attends within each sentence; Q is scaled.
With ``first_only`` only from the first word piece of each sentence: ``[n, D]``."""
Pool = Callable[[Tensor, Tensor], Tensor]
"""``(states [n, T, D], mask [n, T]) -> [n, D]``."""


def row_of(pieces: Pieces) -> Row:
    """Put sentences one after the other.

    Args:
        pieces: Word-piece ids of ``n`` sentences, at least one, in order of length.

    Returns:
        Row: The same word pieces.
    """
    lengths = lengths_of(pieces)
    whole = np.concatenate(pieces, axis=-1).astype(np.int64)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(whole.shape[-1]) - np.repeat(bounds[:-1], lengths)
    firsts = np.flatnonzero(np.diff(lengths, prepend=-1))
    counts = np.diff(firsts, append=len(lengths))
    types = torch.from_numpy(whole[1]) if whole.ndim > 1 else None
    return Row(
        ids=torch.from_numpy(whole[0] if whole.ndim > 1 else whole),
        places=torch.from_numpy(places),
        types=types,
        groups=tuple(zip(lengths[firsts].tolist(), counts.tolist(), strict=True)),
        bounds=torch.from_numpy(bounds.astype(np.int32)),
    )


def states(
    network: Network,
    row: Row,
    layer: str = "last",
    *,
    first_only: bool = False,
    attend: Attend | None = None,
) -> Tensor:
    """Run the network.

    Args:
        network: From `prepack`.
        row: ``n`` sentences.
        layer: Which layers' states are averaged; a name from ``LAYERS``. Later ones are not run.
        first_only: Of the last layer, compute only what the first word piece of each sentence
            needs; for ``layer="last"``.
        attend: The attention; ``None``: one call for each group of equal length.

    Returns:
        Tensor: States ``[S, D]``, or ``[n, D]`` of first word pieces; float32.
    """
    every = range(len(network.layers) + 1)
    wanted = sorted({every[index] for index in LAYERS[layer]})
    x = network.embeddings(row.ids, row.places, row.types)
    kept = [x.float()] if 0 in wanted else []
    for number, one in enumerate(network.layers[: wanted[-1]], start=1):
        firsts = first_only and number == wanted[-1]
        mixed = (attend or attend_in_groups)(one.qkv(x), row, one.heads, firsts)
        x = _through(one, x.index_select(0, row.bounds[:-1]) if firsts else x, mixed)
        if number in wanted:
            kept.append(x.float())
    return kept[0] if len(kept) == 1 else torch.stack(kept).mean(0)


def pooled(found: Tensor, row: Row, pool: Pool, *, first_only: bool = False) -> Tensor:
    """Pool each group of sentences of equal length.

    Args:
        found: From `states`, with the same ``first_only``.
        row: ``n`` sentences.
        pool: Called once for each group, so its mask is all true.
        first_only: There is one state for each sentence.

    Returns:
        Tensor: ``[n, D]``.
    """
    groups = tuple((1, count) for _, count in row.groups) if first_only else row.groups
    parts, vectors = found.split([length * count for length, count in groups]), []
    for (length, count), part in zip(groups, parts, strict=True):
        mask = torch.ones(count, length, dtype=torch.bool, device=found.device)
        vectors.append(pool(part.view(count, length, -1), mask))
    return torch.cat(vectors)


def _through(layer: Layer, x: Tensor, mixed: Tensor) -> Tensor:
    x = layer.out_norm(layer.out.plus(mixed, x))
    return layer.down_norm(layer.down.plus(layer.up.gelu(x), x))


def attend_in_groups(qkv: Tensor, row: Row, heads: int, first_only: bool) -> Tensor:
    """Attend within each sentence, those of equal length together.

    Groups of like length, padded inside the attention as `backbone.attention_groups` has them for
    training, would save calls and cost copies: of 512 sentences of STSb a batch has only four
    lengths, and MiniLM on one core takes 6 % longer with them (bf16: 4 %).

    Args:
        qkv: ``[S, 3 D]``.
        row: ``n`` sentences.
        heads: Heads of the attention.
        first_only: Only from first word pieces.

    Returns:
        Tensor: ``[S, D]``, or ``[n, D]`` of first word pieces.
    """
    mixed = []
    parts = qkv.split([length * count for length, count in row.groups])
    for (length, count), part in zip(row.groups, parts, strict=True):
        # [count · length, 3 D] -> 3 of [count, heads, length, d]
        q, k, v = part.view(count, length, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind()
        if first_only:
            q = q[:, :, :1]
        of_group = _attention(q, k, v)
        mixed.append(of_group.transpose(1, 2).reshape(count * q.shape[2], -1))
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed)


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    if q.dtype == torch.float32:
        # The root of the head's width is in Q already.
        return F.scaled_dot_product_attention(q, k, v, scale=1.0)
    # PyTorch's own attention on a CPU multiplies bf16 slower than fp32; plain products do not.
    scores = torch.matmul(q, k.transpose(2, 3))
    return torch.matmul(scores.softmax(-1), v)
