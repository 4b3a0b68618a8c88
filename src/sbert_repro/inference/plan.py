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
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    batches, start = [], 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = max(1, budget // longest)
        batches.append(order[start : start + size])
        start += size
    return batches
