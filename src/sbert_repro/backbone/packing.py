"""Word pieces without padding: all sentences of a batch as one long row.

A batch of 16 NLI pairs is about two thirds padding, and the network multiplies it all. Here the
sentences stand one after the other, ordered by length; everything but the attention works row by
row and does not notice, and the attention runs once for each group of sentences of equal length,
with no mask. The network itself stays transformers' own: only its attention function is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sbert_repro.batch import Tokens

ATTENTION = "sbert_packed"
"""Name under which transformers finds `attend`; without a packing it is plain SDPA."""


@dataclass(frozen=True)
class Packing:
    """How ``N`` sentences lie in one row of ``S`` word pieces.

    Attributes:
        ids: Word-piece ids ``[1, S]``, sentences in order of length.
        places: Place of each word piece in its sentence, from 0; ``[1, S]``.
        groups: Length and number of the sentences of each group of equal length, in order.
        rows: Number of the sentence in the batch that each word piece belongs to, ``[S]``.
        types: Token types ``[1, S]``, or ``None`` where the batch has none.
    """

    ids: Tensor
    places: Tensor
    groups: tuple[tuple[int, int], ...]
    rows: Tensor
    types: Tensor | None = None


def pack(tokens: Tokens) -> Packing:
    """Put the sentences of a padded batch into one row.

    Args:
        tokens: ``N`` sentences, padded at the right.

    Returns:
        Packing: The same word pieces, without padding.
    """
    if isinstance(tokens, PackedTokens):
        return tokens.packing
    lengths = tokens.mask.sum(1)
    order = torch.argsort(lengths, stable=True)
    sizes, counts = torch.unique_consecutive(lengths[order], return_counts=True)
    mask = tokens.mask[order]
    every = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    return Packing(
        ids=tokens.ids[order][mask].unsqueeze(0),
        places=every[mask].unsqueeze(0),
        groups=tuple(zip(sizes.tolist(), counts.tolist(), strict=True)),
        rows=order.unsqueeze(1).expand_as(mask)[mask],
        types=None if tokens.types is None else tokens.types[order][mask].unsqueeze(0),
    )


@dataclass(frozen=True)
class PackedTokens(Tokens):
    """Padded word pieces that have been packed already, beside another batch's computing.

    On another device than the CPU they are padded tokens like others: there nobody asks for it.

    Attributes:
        packing: What `pack` makes of them.
    """

    packing: Packing = field(kw_only=True)

    def to(self, device: torch.device | str) -> Tokens:
        """Give the same tokens on another device.

        Args:
            device: Where to.

        Returns:
            Tokens: These on the CPU; plain ones elsewhere.
        """
        return self if torch.device(device).type == "cpu" else super().to(device)


def unpack(states: Tensor, packing: Packing, tokens: Tokens) -> Tensor:
    """Put states back where their word pieces stood.

    Args:
        states: ``[S, D]``.
        packing: How the sentences lie in it.
        tokens: The padded batch.

    Returns:
        Tensor: ``[N, T, D]``, 0 on padding.
    """
    padded = states.new_zeros(*tokens.mask.shape, states.shape[-1])
    return padded.index_put((packing.rows, packing.places[0]), states)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend within each sentence of a packed row; transformers calls this.

    Args:
        module: The attention layer.
        query: ``[1, heads, S, width of a head]``.
        key: As ``query``.
        value: As ``query``.
        attention_mask: Only without a packing.
        packing: How the sentences lie in the row; ``None`` for a padded batch.
        **options: ``dropout`` and ``scaling``, and what others of transformers' functions need.

    Returns:
        tuple[Tensor, None]: ``[1, S, heads, width of a head]``, and no attention weights.
    """
    if packing is None:
        padded: tuple[Tensor, None]
        padded = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return padded
    attended, start = [], 0
    for length, count in packing.groups:
        # [heads, count · length, d] -> [count, heads, length, d]
        q, k, v = (
            row[0, :, start : start + length * count].unflatten(1, (count, length)).transpose(0, 1)
            for row in (query, key, value)
        )
        mixed = F.scaled_dot_product_attention(
            q, k, v, dropout_p=options.get("dropout", 0.0), scale=options.get("scaling")
        )
        attended.append(mixed.transpose(1, 2).flatten(0, 1))
        start += length * count
    return torch.cat(attended).unsqueeze(0), None


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
