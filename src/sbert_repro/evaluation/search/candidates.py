"""What might still belong to an answer, and the answer once everything has been seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sbert_repro.evaluation.search.products import Matrix
from sbert_repro.similarity import cosine

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]

_AT_ONCE = 1 << 14
"""Pairs whose cosine is computed together: 16,384 pairs 768 wide take 200 MB in float64."""
_HELD = 1 << 19
"""Candidates that are held, 32 bytes each, before those of equal rank are told apart."""
_ROOM = 4
"""Times what is wanted that is held at least, so that scoring again stays a small part."""


class Candidates:
    """Pairs (group, place) with an approximate cosine; of each group the best ``k`` are wanted.

    A group is a query and a place a row of the corpus; for pairs there is one group.

    Args:
        groups: How many groups.
        k: How many of each.
        exact: Gives the exact cosines ``[n]`` of groups ``[n]`` and places ``[n]``. Where a corpus
            repeats itself no bound tells candidates apart, and there may be any number of them.
    """

    def __init__(self, groups: int, k: int, exact: Callable[[Ints, Ints], Doubles]) -> None:
        self.k = k
        self._exact = exact
        self.floor: Doubles = np.full(groups, -np.inf)
        """A cosine that ``k`` of the group are known to reach."""
        self._group: Ints = np.empty(0, np.int64)
        self._place: Ints = np.empty(0, np.int64)
        self._low: Doubles = np.empty(0)
        self._high: Doubles = np.empty(0)
        self._new: list[tuple[Ints, Ints, Doubles, Doubles]] = []
        self._waiting = 0

    def add(self, group: Ints, place: Ints, value: Doubles, spread: Doubles) -> None:
        """Take candidates in.

        Args:
            group: ``[n]``.
            place: ``[n]``.
            value: Approximate cosines ``[n]``.
            spread: How far off each can be ``[n]``.
        """
        self._new.append((group, place, value - spread, value + spread))
        self._waiting += len(group)
        # Sorted once half as many have come as there are, so that sorting stays a small part.
        if self._waiting > max(self.k * len(self.floor), len(self._group)) // 2:
            self._settle()

    def _settle(self) -> None:
        """Raise the floors and drop what cannot reach them."""
        parts = [(self._group, self._place, self._low, self._high), *self._new]
        group, place, low, high = (np.concatenate(column) for column in zip(*parts, strict=True))
        self._new, self._waiting = [], 0
        order = np.lexsort((-low, group))
        sorted_group = group[order]
        start = np.searchsorted(sorted_group, np.arange(len(self.floor)))
        count = np.searchsorted(sorted_group, np.arange(len(self.floor)), "right") - start
        full = np.flatnonzero(count >= self.k)
        self.floor[full] = low[order[start[full] + self.k - 1]]
        kept = high >= self.floor[group]
        self._group, self._place = group[kept], place[kept]
        self._low, self._high = low[kept], high[kept]
        if len(self._group) > max(_HELD, _ROOM * self.k * len(self.floor)):
            self._thin_out()

    def _thin_out(self) -> None:
        """Score what is held exactly and keep the ``k`` best of each group."""
        score = self._exact(self._group, self._place)
        order = np.lexsort((self._place, -score, self._group))
        group = self._group[order]
        start = np.searchsorted(group, np.arange(len(self.floor)))
        rank = np.arange(len(group)) - start[group]
        best = order[rank < self.k]
        self._group, self._place = self._group[best], self._place[best]
        self._low = self._high = score[best]
        last = rank == self.k - 1
        self.floor[group[last]] = score[order[last]]

    def left(self) -> tuple[Ints, Ints]:
        """Give what may still belong to the answer.

        Returns:
            tuple[Ints, Ints]: Groups and places.
        """
        self._settle()
        return self._group, self._place


def exact_cosines(u: Matrix, rows: Ints, v: Matrix, columns: Ints) -> Doubles:
    """Compute cosines of chosen pairs of rows as every score of this project does.

    Args:
        u: ``[N, D]``.
        rows: Of ``u``, ``[n]``.
        v: ``[M, D]``.
        columns: Of ``v``, ``[n]``.

    Returns:
        Doubles: ``[n]``, float64.
    """
    # In the order of the file: candidates of one block lie close together on disk.
    order = np.argsort(columns, kind="stable")
    found = np.empty(len(rows))
    for at in range(0, len(order), _AT_ONCE):
        some = order[at : at + _AT_ONCE]
        found[some] = cosine(u[rows[some]], v[columns[some]])
    return found


def best_of_each(group: Ints, place: Ints, score: Doubles, k: int) -> tuple[Doubles, Ints]:
    """Order candidates, the closest first; of equal ones the one with the lower place first.

    Args:
        group: ``[n]``; each of 0 … Q - 1 at least ``k`` times.
        place: ``[n]``.
        score: Exact cosines ``[n]``.
        k: How many of each group.

    Returns:
        tuple[Doubles, Ints]: Scores and places, both ``[Q, k]``.
    """
    order = np.lexsort((place, -score, group))
    start = np.searchsorted(group[order], np.arange(group.max() + 1))
    chosen = order[start[:, None] + np.arange(k)]
    return score[chosen], place[chosen]
