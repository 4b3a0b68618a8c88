"""The reference engine: padded batches through the model as it stands, one after the other.

Slow and plain on purpose; any faster engine must give these vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from sbert_repro.batch import Tokens
from sbert_repro.data.batching import pad
from sbert_repro.inference.plan import Rows, plan

Pieces = Sequence[NDArray[np.integer]]
"""Word-piece ids of each sentence, of any length; ids above token types for pairs read as one."""
BUDGET = {"cpu": 2048, "cuda": 65536}
"""Word pieces in a batch: on a CPU what stays in its caches, on a GPU what fills it."""
LONG_WORK = 4000
"""Sentences from which on a progress bar is worth a line."""


def encode(
    pieces: Pieces,
    embed: Callable[[Tokens], Tensor],
    *,
    pad_id: int,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> NDArray[np.float32]:
    """Embed tokenised sentences.

    Args:
        pieces: Word-piece ids of ``N`` sentences, ``N`` at least 1.
        embed: Gives vectors ``[n, D]`` for ``n`` sentences; must not let padding change them.
        pad_id: Word piece to pad with.
        device: Where ``embed`` computes.
        progress: Show a bar when the work is long.

    Returns:
        NDArray[np.float32]: ``[N, D]``, in the order of ``pieces``.
    """
    lengths = np.array([row.shape[-1] for row in pieces], np.int64)
    batches = plan(lengths, BUDGET.get(torch.device(device).type, BUDGET["cpu"]))
    vectors: NDArray[np.float32] | None = None
    with torch.inference_mode():
        for rows in _shown(batches, total=len(pieces), progress=progress):
            found = embed(pad([pieces[row] for row in rows], pad_id).to(device))
            if vectors is None:
                vectors = np.empty((len(pieces), found.shape[1]), np.float32)
            vectors[rows] = found.float().cpu().numpy()
    assert vectors is not None, "nothing to encode"
    return vectors


def _shown(batches: list[Rows], *, total: int, progress: bool) -> Iterator[Rows]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    disable = not progress or total < LONG_WORK
    # On stderr, because stdout carries results; gone when done.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("sentences", total=total)
        for rows in batches:
            yield rows
            bar.advance(task, len(rows))
