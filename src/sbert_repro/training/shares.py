"""Which rows of a batch each of several processes takes.

The batch of a step and the order of the rows are those of one process (section 3.1: batches of 16).
Each process takes its share of the rows; the mean of their gradients, and of their losses, is that
of the whole batch.

# paper: one GPU, as far as is known
# here: ``trainer.devices`` processes; each draws its own dropout, so that the weights have the
# distribution of one process's, and other bits
# effect: none that is meant, on any trained row; not yet measured on GPUs
"""

from __future__ import annotations

from dataclasses import replace

import torch

from sbert_repro.batch import Batch, Tokens
from sbert_repro.training.distributed import rank, ranks
from sbert_repro.training.order import Prepare


def shared(prepare: Prepare) -> Prepare:
    """Let a process prepare its share of each batch only.

    Args:
        prepare: What is done to the share; with one process, to the whole batch.

    Returns:
        Prepare: For `RunOrder.prepare`; what it gives is of this process in the run under way.
    """
    number, count = rank(), ranks()
    return prepare if count == 1 else lambda batch: prepare(share(batch, number, count))


def share(batch: Batch, number: int, count: int) -> Batch:
    """Give the rows of a batch that one of several processes takes.

    All objectives are means over examples, so a share of n of B rows weighs ``count · n / B`` in
    the mean over the processes. Where a batch has fewer rows than there are processes, one that
    has none computes the first row without weight, since the others wait for its gradients.

    Args:
        batch: ``B`` examples.
        number: Of the process, from 0.
        count: Of processes.

    Returns:
        Batch: Its examples, padded to the longest of them; ``rows`` are the whole batch's.
    """
    size = len(batch.rows)
    own = torch.arange(size)[number::count]
    taken = own if len(own) else torch.zeros(1, dtype=torch.int64)
    # Column after column, as the sentences of a batch stand.
    index = torch.cat([taken + column * size for column in range(batch.columns)])
    mask = batch.tokens.mask[index]
    longest = int(mask.sum(1).max())
    types = batch.tokens.types
    return replace(
        batch,
        tokens=Tokens(
            batch.tokens.ids[index, :longest],
            mask[:, :longest],
            None if types is None else types[index, :longest],
        ),
        target=None if batch.target is None else batch.target[taken],
        weight=count * len(own) / size,
    )
