"""Batches of word pieces, in an order that a run can stop in and go on from.

What pytorch_lightning 2.6.6 does with a ``BatchStream`` as its training data, as
``tests/data/test_batching_lightning.py`` observes it: an iterable that has both ``state_dict`` and
``load_state_dict`` counts as resumable. Its state is saved with the fit loop in every checkpoint;
on resuming, ``load_state_dict`` is called before ``iter``. Because the stream has a length nothing
is fetched ahead, so a checkpoint written after a step holds exactly the batches trained on so far.
(`RunOrder` makes the next batch ahead all the same, and counts it when it is given out.)
At the start of each epoch Lightning looks for a ``sampler`` and calls its ``set_epoch``; the stream
is its own sampler.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from sbert_repro.batch import Batch, Tokens
from sbert_repro.errors import UserError


class Column(Protocol):
    """What batches are cut from: `TokenColumn`, or `JointColumn` for texts read as pairs."""

    def __len__(self) -> int:
        """Give the number of rows."""

    def row(self, i: int) -> np.ndarray:
        """Give the word-piece ids of a row ``[T]``, or ids above token types ``[2, T]``."""


def pad(rows: Sequence[np.ndarray], pad_id: int) -> Tokens:
    """Put texts of different lengths into one array, padded at the right to the longest of them.

    Args:
        rows: ``N`` arrays of word-piece ids ``[T_i]``, or of ids above token types ``[2, T_i]``.
        pad_id: What stands on padding.

    Returns:
        Tokens: ``[N, T]`` with ``T`` the greatest ``T_i``; with types where the rows have some.
    """
    lengths = np.array([row.shape[-1] for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    whole = np.concatenate(rows, axis=-1)
    types = torch.from_numpy(_spread(whole[1], mask, 0)) if whole.ndim > 1 else None
    ids = _spread(whole[0] if whole.ndim > 1 else whole, mask, pad_id)
    return Tokens(torch.from_numpy(ids), torch.from_numpy(mask), types)


def _spread(flat: np.ndarray, mask: np.ndarray, fill: int) -> np.ndarray:
    spread = np.full(mask.shape, fill, dtype=np.int64)
    # Both sides run through the texts in order, word piece by word piece.
    spread[mask] = flat
    return spread


class BatchStream:
    """The batches of an epoch, epoch after epoch.

    The order is a function of the seed and the epoch alone. Batches are cut from it without sorting
    by length and padded to their longest text, as the authors trained (the paper's "smart batching"
    is for inference). The last batch may be smaller; none is left out.

    Args:
        columns: The ``k`` columns of sentences, ``N`` texts each.
        target: Class ids or gold scores in 0..1, ``[N]``; ``None`` for triplets.
        batch_size: ``B``.
        seed: Seed of the order.
        shuffle: ``False`` keeps the rows in their order in every epoch, for passes over dev data.
        pad_id: What stands on padding.
    """

    # Lightning looks at both of a loader's samplers once it has seen one.
    batch_sampler = None

    def __init__(
        self,
        columns: Sequence[Column],
        target: np.ndarray | None,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        pad_id: int = 0,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size}: expected at least 1")
        self.batch_size = batch_size
        self.epoch = 0
        self.position = 0
        self._columns = columns
        self._target = target
        self._seed = seed
        self._shuffle = shuffle
        self._pad_id = pad_id
        self._start = 0

    @property
    def sampler(self) -> BatchStream:
        """The stream itself: Lightning tells a loader's sampler which epoch it is."""
        return self

    @property
    def sentences(self) -> int:
        """Sentences ``N`` of a full batch."""
        return self.batch_size * len(self._columns)

    def __len__(self) -> int:
        """Give the number of batches in an epoch."""
        return math.ceil(len(self._columns[0]) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Go through the epoch from its beginning, or once from where a loaded state left it."""
        start, self._start = self._start, 0
        for position, batch in enumerate(self.batches(self.epoch, start), start):
            # Counted before it leaves: what was given out is trained on when a state is kept.
            self.position = position + 1
            yield batch

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Make the batches of an epoch; where the stream stands is neither asked nor changed.

        Args:
            epoch: Counted from 0.
            start: How many are left out at the epoch's beginning.

        Yields:
            Batch: One after another, to the epoch's end.
        """
        order = self._order(epoch)
        for position in range(start, len(self)):
            yield self._batch(order[position * self.batch_size :][: self.batch_size])

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; saying the one that is under way changes nothing.

        Args:
            epoch: Counted from 0.
        """
        if epoch != self.epoch:
            self.epoch, self.position, self._start = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Give where the stream stands: the epoch, and how many of its batches it has given out.

        Returns:
            dict[str, Any]: For ``load_state_dict``.
        """
        return {"epoch": self.epoch, "position": self.position, "made_with": self._made_with()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stream stood; the batches that remain are the same ones.

        Args:
            state: From ``state_dict``.

        Raises:
            UserError: If that stream had another order or other batches.
        """
        if state["made_with"] != self._made_with():
            raise UserError(
                f"the checkpoint was made with {state['made_with']}, this run has "
                f"{self._made_with()}: resume with the same settings, or start a new run"
            )
        self.epoch, self.position = state["epoch"], state["position"]
        self._start = self.position

    def _made_with(self) -> dict[str, Any]:
        rows = len(self._columns[0])
        return {
            "rows": rows,
            "batch_size": self.batch_size,
            "seed": self._seed,
            "shuffle": self._shuffle,
        }

    def _order(self, epoch: int) -> np.ndarray:
        rows = len(self._columns[0])
        if not self._shuffle:
            return np.arange(rows)
        return np.random.default_rng([self._seed, epoch]).permutation(rows)

    def _batch(self, rows: np.ndarray) -> Batch:
        tokens = pad([column.row(i) for column in self._columns for i in rows], self._pad_id)
        target = None
        if self._target is not None:
            wanted = np.int64 if np.issubdtype(self._target.dtype, np.integer) else np.float32
            target = torch.from_numpy(self._target[rows].astype(wanted))
        return Batch(tokens, len(self._columns), target, torch.from_numpy(rows.astype(np.int64)))
