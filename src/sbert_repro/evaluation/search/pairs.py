"""The closest pairs of a corpus: the paper's headline, and paraphrase mining."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from sbert_repro.errors import UserError
from sbert_repro.evaluation.search.candidates import (
    Candidates,
    Doubles,
    Ints,
    best_of_each,
    exact_cosines,
)
from sbert_repro.evaluation.search.exact import at_least, check_vectors
from sbert_repro.evaluation.search.products import (
    Approximate,
    Columns,
    Matrix,
    fastest_format,
    unit_rows,
)

BLOCK = 1024
"""Rows on each side of a product."""
_COLUMNS = 8
"""Blocks that are laid out at once, so that the other side is read that much less often."""
_ALREADY_COUNTED = -2.0
"""Stands where a row meets itself or an earlier one; below every cosine."""


@dataclass(frozen=True)
class Pairs:
    """The closest pairs.

    Attributes:
        scores: Cosines ``[k]``, float64, the closest first.
        rows: Both rows of each pair ``[k, 2]``, the lower one first; of equal cosines the pair
            with the lower rows comes first.
    """

    scores: Doubles
    rows: Ints


def number_of_pairs(n: int) -> int:
    """Give n(n-1)/2, the paper's 49,995,000 for 10,000 sentences (section 1).

    Args:
        n: Sentences.

    Returns:
        int: Pairs of two different ones.
    """
    return n * (n - 1) // 2


def top_pairs(
    vectors: Matrix,
    k: int,
    *,
    dtype: torch.dtype | None = None,
    name: str = "corpus",
    advance: Callable[[int], object] = lambda pairs: None,
) -> Pairs:
    """Find the k closest pairs of all n(n-1)/2, never holding more than a block of cosines.

    Args:
        vectors: ``[N, D]``, in memory or memory-mapped.
        k: How many.
        dtype: Format of the products; ``None``: the fastest here. The answer is the same.
        name: What the vectors are called in messages.
        advance: Told after each product how many pairs were done.

    Returns:
        Pairs: Scores and rows.

    Raises:
        UserError: If there are fewer than k pairs, or a number is not finite.
    """
    check_vectors(vectors, name)
    if not 1 <= k <= number_of_pairs(len(vectors)):
        raise UserError(
            f"k={k}: {name} has {len(vectors):,} vectors and {number_of_pairs(len(vectors)):,} "
            "pairs, expected k from 1 to that"
        )
    candidates = Candidates(1, k, partial(_exact, vectors))
    with torch.inference_mode():
        for row, column, cosines in _products(vectors, dtype or fastest_format(), name):
            _gather(cosines, row, column, candidates, len(vectors))
            done = cosines.values.numel()
            advance(number_of_pairs(cosines.values.shape[0]) if row == column else done)
    group, places = candidates.left()
    best, chosen = best_of_each(group, places, _exact(vectors, group, places), k)
    return Pairs(best[0], np.stack(np.divmod(chosen[0], len(vectors)), axis=1))


def most_similar_pair(vectors: Matrix) -> Pairs:
    """Find the closest pair (section 1 of the paper).

    Args:
        vectors: ``[N, D]``, ``N`` at least 2.

    Returns:
        Pairs: Of one pair.
    """
    return top_pairs(vectors, 1)


def _exact(vectors: Matrix, _: Ints, places: Ints) -> Doubles:
    first, second = np.divmod(places, len(vectors))
    return exact_cosines(vectors, first, vectors, second)


def _products(
    vectors: Matrix, dtype: torch.dtype, name: str
) -> Iterator[tuple[int, int, Approximate]]:
    """Give each block of the lower triangle: its first row, its first column, its cosines."""
    for left in range(0, len(vectors), BLOCK * _COLUMNS):
        ends = range(left, min(left + BLOCK * _COLUMNS, len(vectors)), BLOCK)
        columns = {
            at: Columns(unit_rows(vectors[at : at + BLOCK], at, name, dtype), BLOCK) for at in ends
        }
        for row in range(left, len(vectors), BLOCK):
            unit = unit_rows(vectors[row : row + BLOCK], row, name, dtype)
            for at, of_block in columns.items():
                if at <= row:
                    yield row, at, of_block.cosines(unit)


def _gather(
    cosines: Approximate, first_row: int, first_column: int, candidates: Candidates, n: int
) -> None:
    """Hand over the pairs of a block that may belong to the answer."""
    values = cosines.values
    if first_row == first_column:
        values = values.masked_fill(torch.ones_like(values).triu().bool(), _ALREADY_COUNTED)
    if not np.isfinite(candidates.floor[0]) and values.numel() >= candidates.k:
        kth = values.flatten().float().topk(candidates.k).values[-1].double().cpu()
        if kth > _ALREADY_COUNTED:
            candidates.floor = (kth - cosines.spread(kth)).reshape(1).numpy()
    wanted = cosines.at_least(torch.from_numpy(candidates.floor)).to(values.device)
    row, column = at_least(values, wanted.expand(values.shape[1]))
    new = values[row, column] > _ALREADY_COUNTED
    row, column = row[new], column[new]
    value = values[row, column].double().cpu()
    place = (first_column + column.cpu().numpy()) * n + first_row + row.cpu().numpy()
    spread = cosines.spread(value).numpy()
    candidates.add(np.zeros(len(place), np.int64), place, value.numpy(), spread)
