"""What every engine does alike: batch after batch through the model, vectors to their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbert_repro.inference.plan import Rows
from sbert_repro.inference.progress import Advance

Pieces = Sequence[NDArray[np.integer]]
"""Word-piece ids of each sentence, of any length; ids above token types for pairs read as one."""


def lengths_of(pieces: Pieces) -> NDArray[np.int64]:
    """Count word pieces.

    Args:
        pieces: Word-piece ids of ``N`` sentences.

    Returns:
        NDArray[np.int64]: ``[N]``.
    """
    return np.fromiter((row.shape[-1] for row in pieces), np.int64, len(pieces))


def run(
    pieces: Pieces, batches: Sequence[Rows], embed: Callable[[Pieces], Tensor], advance: Advance
) -> NDArray[np.float32]:
    """Embed the batches of a plan.

    Args:
        pieces: Word-piece ids of ``N`` sentences, ``N`` at least 1.
        batches: Row numbers of each batch; each row in one of them.
        embed: Gives vectors ``[n, D]`` for ``n`` sentences.
        advance: Told how many sentences are done.

    Returns:
        NDArray[np.float32]: ``[N, D]``, in the order of ``pieces``.
    """
    vectors: NDArray[np.float32] | None = None
    with torch.inference_mode():
        for rows in batches:
            found = embed([pieces[row] for row in rows])
            if vectors is None:
                vectors = np.empty((len(pieces), found.shape[1]), np.float32)
            vectors[rows] = found.float().cpu().numpy()
            advance(len(rows))
    assert vectors is not None, "nothing to encode"
    return vectors
