"""The reference engine: padded batches through the model as it stands, one after the other.

Slow and plain on purpose; any faster engine must give these vectors.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbert_repro.batch import Tokens
from sbert_repro.data.batches import pad
from sbert_repro.inference.batches import Pieces, lengths_of, run
from sbert_repro.inference.plan import plan
from sbert_repro.inference.progress import Advance

BUDGET = {"cpu": 2048, "cuda": 65536}
"""Word pieces in a batch: on a CPU what stays in its caches, on a GPU what fills it."""


def encode(
    pieces: Pieces,
    embed: Callable[[Tokens], Tensor],
    *,
    pad_id: int,
    device: torch.device | str = "cpu",
    advance: Advance = lambda done: None,
) -> NDArray[np.float32]:
    """Embed tokenised sentences.

    Args:
        pieces: Word-piece ids of ``N`` sentences, ``N`` at least 1.
        embed: Gives vectors ``[n, D]`` for ``n`` sentences; must not let padding change them.
        pad_id: Word piece to pad with.
        device: Where ``embed`` computes.
        advance: Told how many sentences are done.

    Returns:
        NDArray[np.float32]: ``[N, D]``, in the order of ``pieces``.
    """
    batches = plan(lengths_of(pieces), BUDGET.get(torch.device(device).type, BUDGET["cpu"]))
    return run(pieces, batches, lambda some: embed(pad(some, pad_id).to(device)), advance)
