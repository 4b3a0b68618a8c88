"""Sentences of like length that attend in one call, few calls a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_CALL = 3000
"""What another group costs, in scores of one head that could be computed instead (measured)."""


@dataclass(frozen=True)
class AttentionGroup:
    """``n`` sentences that follow each other in a packed row, of up to ``L`` word pieces.

    Attributes:
        count: ``n``.
        length: ``L``.
        start: Where they begin in the row.
        stop: Where they end.
        places: Which of the ``n · L`` places hold word pieces, one a word piece; ``None``: all.
        sources: Which word piece of the row stands on each place, any one on padding.
        mask: 0 on word pieces, -inf on padding; ``[n, 1, 1, L]``.
    """

    count: int
    length: int
    start: int
    stop: int
    places: Tensor | None = None
    sources: Tensor | None = None
    mask: Tensor | None = None

    def spread(self, rows: Tensor) -> Tensor:
        """Give each sentence ``L`` places.

        Args:
            rows: A packed row ``[S, D]``.

        Returns:
            Tensor: ``[n · L, D]``; anything finite on padding.
        """
        if self.sources is None:
            return rows[self.start : self.stop]
        return rows.index_select(0, self.sources)

    def spread_gradient(self, rows: Tensor) -> Tensor:
        """Give each sentence ``L`` places, 0 on padding.

        Args:
            rows: A packed row ``[S, D]``.

        Returns:
            Tensor: ``[n · L, D]``.
        """
        mine = rows[self.start : self.stop]
        if self.places is None:
            return mine
        spread = mine.new_zeros(self.count * self.length, rows.shape[1])
        return spread.index_copy_(0, self.places, mine)

    def gathered(self, spread: Tensor) -> Tensor:
        """Take the word pieces alone.

        Args:
            spread: ``[n · L, D]``.

        Returns:
            Tensor: ``[stop - start, D]``.
        """
        return spread if self.places is None else spread.index_select(0, self.places)


def grouped(lengths: Sequence[int]) -> tuple[AttentionGroup, ...]:
    """Cut sentences into groups, so that calls and padding together cost least.

    Args:
        lengths: Of the sentences of a packed row, in rising order.

    Returns:
        tuple[AttentionGroup, ...]: In the same order.
    """
    groups, start = [], 0
    for first, last in _cuts(lengths):
        group = _group(lengths[first:last], start)
        groups.append(group)
        start = group.stop
    return tuple(groups)


def _cuts(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Find the cheapest cuts: for each end, the best beginning of the last group."""
    best, begins = [0], [0]
    for end in range(1, len(lengths) + 1):
        square = lengths[end - 1] ** 2
        costs = [best[i] + _CALL + (end - i) * square for i in range(end)]
        best.append(min(costs))
        begins.append(costs.index(best[-1]))
    cuts, end = [], len(lengths)
    while end:
        cuts.append((begins[end], end))
        end = begins[end]
    return cuts[::-1]


def _group(lengths: Sequence[int], start: int) -> AttentionGroup:
    count, length, stop = len(lengths), lengths[-1], start + sum(lengths)
    if lengths[0] == length:
        return AttentionGroup(count, length, start, stop)
    real = torch.arange(length) < torch.tensor(lengths).unsqueeze(1)
    places = real.flatten().nonzero().squeeze(1)
    sources = torch.full((count * length,), start)
    sources[places] = torch.arange(start, stop)
    mask = torch.zeros(count, 1, 1, length).masked_fill_(~real[:, None, None], float("-inf"))
    return AttentionGroup(count, length, start, stop, places, sources, mask)
