"""Batches of token ids, in an order that a run can stop in and resume from.

What pytorch_lightning 2.6.6 does with a `BatchStream` as training data
(``tests/data/test_batches.py`` checks it): an iterable that has ``state_dict`` and
``load_state_dict`` counts as resumable. Its state is saved with the fit loop in every checkpoint;
on resuming, ``load_state_dict`` is called before ``iter``. Because the stream has a length,
Lightning fetches nothing ahead, so a checkpoint written after a step holds exactly the batches
trained on so far. At the start of each epoch it looks for a ``sampler`` and calls its
``set_epoch``; the stream is its own sampler.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from sbert_repro.batch import Batch, Tokens
from sbert_repro.errors import UserError

_T = TypeVar("_T")


class Column(Protocol):
    """What batches are made of: a `TokenColumn`, or a `PairColumn` for texts read as pairs."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def row(self, i: int) -> np.ndarray:
        """Return the ids of a row ``[T]``, or ids above token types ``[2, T]``."""


def pad(rows: Sequence[np.ndarray], pad_id: int) -> Tokens:
    """Put texts of different lengths into one array, padded at the right to the longest.

    Args:
        rows: ``N`` arrays of ids ``[T_i]``, or of ids above token types ``[2, T_i]``.
        pad_id: The id of padding; its token type is 0.

    Returns:
        ``[N, T]`` with ``T`` the greatest ``T_i``; with types if the rows have types.
    """
    import torch

    lengths = np.array([row.shape[-1] for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    # [1 or 2, sum of T_i]; a boolean index visits the texts in the same order.
    flat = np.atleast_2d(np.concatenate(rows, axis=-1))
    padded = np.zeros((len(flat), *mask.shape), dtype=np.int64)
    padded[0] = pad_id
    padded[:, mask] = flat
    ids, *types = torch.from_numpy(padded)
    return Tokens(ids, torch.from_numpy(mask), types[0] if types else None)


class BatchStream:
    """The batches of an epoch, epoch after epoch.

    The order is a function of the seed and the epoch alone. Batches are cut from it without sorting
    by length and padded to their longest text, as the authors trained (the paper's "smart batching"
    is for inference). The last batch may be smaller; none is left out.

    Args:
        columns: The ``k`` columns of sentences, ``N`` texts each; a column of ``2 N`` has each of
            the ``N`` rows a second time (a `PairColumn` in both orders).
        target: Class ids or gold scores in 0..1, ``[N]``; ``None`` for triplets.
        batch_size: ``B``.
        seed: Seed of the order.
        shuffle: ``False`` keeps the rows in their order in every epoch, for passes over dev data.
        pad_id: The id of padding.

    Raises:
        UserError: If ``batch_size`` is less than 1.
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
            raise UserError("expected at least 1", where=f"batch_size={batch_size}")
        self.batch_size = batch_size
        self.epoch = 0
        self.position = 0
        self._columns = columns
        self._target = target
        self._count = len(columns[0]) if target is None else len(target)
        self._seed = seed
        self._shuffle = shuffle
        self._pad_id = pad_id
        self._start = 0

    @property
    def sampler(self) -> BatchStream:
        """The stream itself: Lightning tells a loader's sampler which epoch it is."""
        return self

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(len(self._columns[0]) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the epoch from its beginning, or once from where a loaded state stood."""
        start, self._start = self._start, 0
        for position, batch in enumerate(self.batches(self.epoch, start), start):
            # Counted before it is handed out: by the time a state is saved it is trained on.
            self.position = position + 1
            yield batch

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Make the batches of an epoch, without looking at or changing where the stream stands.

        Args:
            epoch: Counted from 0.
            start: How many batches to leave out at the epoch's beginning.

        Yields:
            The batches up to the epoch's end.
        """
        rows = np.arange(len(self._columns[0]))
        if self._shuffle:
            rows = np.random.default_rng([self._seed, epoch]).permutation(len(rows))
        for at in range(start * self.batch_size, len(rows), self.batch_size):
            yield self._batch(rows[at : at + self.batch_size])

    def _batch(self, rows: np.ndarray) -> Batch:
        import torch

        tokens = pad([column.row(i) for column in self._columns for i in rows], self._pad_id)
        rows, target = rows % self._count, None
        if self._target is not None:
            dtype = np.int64 if np.issubdtype(self._target.dtype, np.integer) else np.float32
            target = torch.from_numpy(self._target[rows].astype(dtype))
        return Batch(tokens, len(self._columns), target, torch.from_numpy(rows.astype(np.int64)))

    def set_epoch(self, epoch: int) -> None:
        """Choose the next epoch, counted from 0; naming the one under way changes nothing."""
        if epoch != self.epoch:
            self.epoch, self.position, self._start = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands: the epoch, and how many of its batches it handed out."""
        return {"epoch": self.epoch, "position": self.position, "made_with": self._settings()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another stream stood; the batches that remain are the same ones.

        Args:
            state: From `state_dict`.

        Raises:
            UserError: If that stream had another order or other batches.
        """
        if state["made_with"] != self._settings():
            raise UserError(
                f"the checkpoint was made with {state['made_with']}, this run has "
                f"{self._settings()}",
                mend="resume with the same settings, or start a new run",
            )
        self.epoch, self.position = state["epoch"], state["position"]
        self._start = self.position

    def _settings(self) -> dict[str, Any]:
        return {
            "rows": len(self._columns[0]),
            "batch_size": self.batch_size,
            "seed": self._seed,
            "shuffle": self._shuffle,
        }


class Prefetched(Generic[_T]):
    """The same items in the same order, each made in a thread while the one before it is used.

    An error of ``items`` is raised instead of its item. ``items`` is only ever asked in the
    thread, so it must neither draw random numbers that others draw too nor count what others read.

    A `Prefetched` that is dropped without `close` may be collected in any thread, at any moment,
    even while a thread is being started; waiting for a thread there could wait for ever. So nothing
    happens on collection: the pool's thread ends when the pool is gone.

    Args:
        items: Makes the items; the first one is begun at once.
    """

    def __init__(self, items: Iterator[_T]) -> None:
        self._items = items
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="next-batch")
        self._next = self._thread.submit(_next_of, items)

    def __iter__(self) -> Prefetched[_T]:
        """Return itself."""
        return self

    def __next__(self) -> _T:
        """Return the item that was made, and begin to make the next one."""
        try:
            found = self._next.result()
        except BaseException:
            self.close()
            raise
        if found is None:
            self.close()
            raise StopIteration
        self._next = self._thread.submit(_next_of, self._items)
        return found[0]

    def close(self) -> None:
        """Wait for the item that is being made, and end the thread."""
        self._thread.shutdown(wait=True)


def _next_of(items: Iterator[_T]) -> tuple[_T] | None:
    """Return the next item in a tuple, or ``None`` at the end: a future cannot raise the end."""
    for item in items:
        return (item,)
    return None
