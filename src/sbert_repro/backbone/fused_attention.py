"""Self-attention with its gradient written out, for packed rows on a CPU.

Shapes: ``S`` word pieces in a row, ``D`` width of the states, ``n`` sentences of ``L`` places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sbert_repro.backbone.attention_groups import AttentionGroup
from sbert_repro.backbone.fused_parts import Dense, Dropped


@dataclass(frozen=True)
class Attention:
    """What `SelfAttention` does.

    Attributes:
        dense: The linear layers of query, key and value as one, ``[3 · D, D]``.
        heads: How many.
        groups: How the sentences lie in the row.
        drops: Dropout of each group's shares of attention ``[n · heads, L, L]``, if any.
    """

    dense: Dense
    heads: int
    groups: Sequence[AttentionGroup]
    drops: Sequence[Dropped | None]


class SelfAttention(torch.autograd.Function):
    """Query, key and value, and what each word piece takes from those of its sentence."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, part: Attention, *_: Tensor) -> Tensor:
        """Compute it, group by group.

        Args:
            ctx: Autograd's.
            states: ``[S, D]``.
            part: What is done.

        Returns:
            Tensor: ``[S, D]``, before the product that follows.
        """
        rows = part.dense.apply(states)
        mixed, saved = torch.empty_like(states), [states]
        for group, drop in zip(part.groups, part.drops, strict=True):
            # [n · L, 3 · D] -> [3, n · heads, L, width of a head]
            shape = (group.count, group.length, 3, part.heads, -1)
            split = group.spread(rows).view(shape).permute(2, 0, 3, 1, 4).contiguous()
            query, key, value = split.flatten(1, 2)
            # In float32: PyTorch's softmax is many times slower on short rows of bf16.
            shares = torch.softmax(_scores(query, key, group, part.heads), -1)
            if drop is None:
                used = shares.to(rows.dtype)
            else:
                used = shares.mul(drop.scale).to(rows.dtype).mul_(drop.kept)
            heads = torch.bmm(used, value).view(group.count, part.heads, group.length, -1)
            whole = heads.transpose(1, 2).flatten(0, 1).flatten(1)
            mixed[group.start : group.stop] = group.gathered(whole)
            saved += [split, shares, used, *([] if drop is None else [drop.kept])]
        ctx.save_for_backward(*saved)
        ctx.part = part
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Give gradients.

        Args:
            ctx: Autograd's.
            gradient: Of the outcome.

        Returns:
            tuple[Tensor | None, ...]: Of what `forward` takes.
        """
        part: Attention = ctx.part
        states, *saved = ctx.saved_tensors
        rows = gradient.new_empty(gradient.shape[0], 3 * gradient.shape[1])
        for group, drop in zip(part.groups, part.drops, strict=True):
            size = 3 if drop is None else 4
            kept, saved = saved[:size], saved[size:]
            shape = (group.count, group.length, part.heads, -1)
            mixed = group.spread_gradient(gradient).view(shape).transpose(1, 2).flatten(0, 1)
            whole = _through_attention(mixed, kept, 1.0 if drop is None else drop.scale)
            rows[group.start : group.stop] = group.gathered(_side_by_side(whole, group, part))
        below, parameters = part.dense.gradients(states, rows)
        return (below, None, *parameters)


def _scores(query: Tensor, key: Tensor, group: AttentionGroup, heads: int) -> Tensor:
    """Give the scaled scores ``[n · heads, L, L]`` in float32, -inf on padding."""
    scores = torch.bmm(query, key.transpose(1, 2)).float().mul_(query.shape[-1] ** -0.5)
    if group.mask is not None:
        scores.view(group.count, heads, *scores.shape[1:]).add_(group.mask)
    return scores


def _through_attention(mixed: Tensor, kept: Sequence[Tensor], scale: float) -> Tensor:
    """Give the gradients of query, key and value ``[3, n · heads, L, width of a head]``."""
    split, shares, used, *stays = kept
    query, key, value = split.flatten(1, 2)
    shared = torch.bmm(mixed, value.transpose(1, 2))
    if stays:
        shared.mul_(stays[0])
    scores = torch._softmax_backward_data(shared.float(), shares, -1, torch.float32)
    # The gradient is linear: dropout's scale can wait for that of the scores.
    scores = scores.mul_(query.shape[-1] ** -0.5 * scale).to(mixed.dtype)
    return torch.stack(
        [
            torch.bmm(scores, key),
            torch.bmm(scores.transpose(1, 2), query),
            torch.bmm(used.transpose(1, 2), mixed),
        ]
    )


def _side_by_side(whole: Tensor, group: AttentionGroup, part: Attention) -> Tensor:
    """Turn ``[3, n · heads, L, width of a head]`` into ``[n · L, 3 · D]``."""
    split = whole.unflatten(1, (group.count, part.heads))
    return split.permute(1, 3, 0, 2, 4).flatten(0, 1).flatten(1)
