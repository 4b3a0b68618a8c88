"""Which sentences go through the model together ("smart batching", section 7 of the paper)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def plan(lengths: NDArray[np.integer], budget: int) -> list[Rows]:
    """Group sentences of like length so that little is spent on padding.

    # paper: sentences of similar length are grouped, padded to the longest of a mini-batch.
    # here: the same, lengths counted in word pieces, and a batch holds as many sentences as fit a
    # token budget, so that memory does not depend on how long they are.
    # effect: table 7; no vector changes.

    Args:
        lengths: Word pieces of each sentence ``[N]``.
        budget: Word pieces in a batch, padding included; a longer sentence stands alone.

    Returns:
        list[Rows]: Row numbers of each batch, the longest first: what does not fit into memory
        fails at once.
    """
    order = _longest_first(lengths)
    batches, start = [], 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = max(1, budget // longest)
        batches.append(order[start : start + size])
        start += size
    return batches


def plan_packed(lengths: NDArray[np.integer], budget: int) -> list[Rows]:
    """Group sentences that stand one after the other, without padding.

    Args:
        lengths: Word pieces of each sentence ``[N]``.
        budget: Word pieces in a batch; a longer sentence stands alone.

    Returns:
        list[Rows]: Row numbers of each batch, the longest first, so that sentences of equal length
        stand together.
    """
    order = _longest_first(lengths)
    ends = np.cumsum(np.asarray(lengths, np.int64)[order])
    batches, start, before = [], 0, 0
    while start < len(order):
        fitting = int(np.searchsorted(ends, before + budget, side="right"))
        end = max(start + 1, fitting)
        batches.append(order[start:end])
        start, before = end, int(ends[end - 1])
    return batches


def _longest_first(lengths: NDArray[np.integer]) -> Rows:
    return np.argsort(-np.asarray(lengths, np.int64), kind="stable")
