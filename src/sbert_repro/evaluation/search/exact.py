"""Exact search: the k closest vectors of a corpus, by cosine, for each query.

The corpus is read once, in blocks, from memory or a memory map; all that is held beside it is a few
blocks and the candidates. Products run in the format that is fastest here (`products`), what might
belong to the answer is scored again in float64, so the answer is the one of a plain loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sbert_repro.errors import UserError
from sbert_repro.evaluation.search.candidates import (
    Candidates,
    Doubles,
    Ints,
    best_of_each,
    exact_cosines,
)
from sbert_repro.evaluation.search.products import (
    Approximate,
    Columns,
    Matrix,
    fastest_format,
    unit_rows,
)

BLOCK = 2048
"""Rows of the corpus at once: their product with a group of queries stays in a CPU's caches."""
QUERIES = 1024
"""Queries that are multiplied together."""
_MAX_CELLS = 1 << 25
"""Cosines of one product; a larger k needs larger blocks and therefore fewer queries."""


@dataclass(frozen=True)
class Found:
    """What a search gives.

    Attributes:
        scores: Cosines ``[Q, k]``, float64, the closest first.
        rows: Rows of the corpus ``[Q, k]``; of equal cosines the lower row comes first.
    """

    scores: Doubles
    rows: Ints


def check_vectors(vectors: Matrix, what: str) -> None:
    """Refuse what is no matrix of vectors.

    Args:
        vectors: What was read.
        what: Its file, for the message.

    Raises:
        UserError: If it is empty, has another shape, or holds no floating-point numbers.
    """
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):  # noqa: PLR2004
        raise UserError(
            f"{what}: found {vectors.dtype} numbers of shape {vectors.shape}, expected floating-"
            "point vectors [N, D] as scripts/encode.py writes them"
        )
    if 0 in vectors.shape:
        raise UserError(f"{what}: holds no vectors (shape {vectors.shape}), expected one or more")


def check_search(corpus: Matrix, queries: Matrix, k: int, names: tuple[str, str]) -> None:
    """Refuse a search that has no answer.

    Args:
        corpus: ``[N, D]``.
        queries: ``[Q, D]``.
        k: How many of each query.
        names: What corpus and queries are called in messages.

    Raises:
        UserError: If k is not between 1 and N, or the widths differ.
    """
    check_vectors(corpus, names[0])
    check_vectors(queries, names[1])
    if corpus.shape[1] != queries.shape[1]:
        raise UserError(
            f"{names[1]}: vectors {queries.shape[1]} wide, but {names[0]} has {corpus.shape[1]}; "
            "encode both with the same encoder"
        )
    if not 1 <= k <= len(corpus):
        raise UserError(
            f"k={k}: {names[0]} has {len(corpus):,} vectors, expected k from 1 to {len(corpus)}"
        )


def top_k(
    corpus: Matrix,
    queries: Matrix,
    k: int,
    *,
    dtype: torch.dtype | None = None,
    names: tuple[str, str] = ("corpus", "queries"),
    advance: Callable[[int], object] = lambda rows: None,
) -> Found:
    """Find the k closest vectors for each query.

    Args:
        corpus: ``[N, D]``, in memory or memory-mapped.
        queries: ``[Q, D]``.
        k: How many; at most ``N``.
        dtype: Format of the products; ``None``: the fastest here. The answer is the same.
        names: What corpus and queries are called in messages.
        advance: Told after each block how many rows were done.

    Returns:
        Found: Scores and rows.

    Raises:
        UserError: If k is not between 1 and N, the widths differ, or a number is not finite.
    """
    check_search(corpus, queries, k, names)
    size = max(BLOCK, k)  # a first block of at least k rows gives every query a floor
    kind = dtype or fastest_format()
    with torch.inference_mode():
        groups = [_group(*part, corpus, k) for part in _parts(queries, size, kind, names[1])]
        for first in range(0, len(corpus), size):
            block = unit_rows(corpus[first : first + size], first, names[0], kind)
            for group in groups:
                _gather(group.columns.cosines(block), first, group.candidates)
            advance(len(block.rows))
    found = [_answer(group) for group in groups]
    return Found(np.concatenate([f.scores for f in found]), np.concatenate([f.rows for f in found]))


@dataclass(frozen=True)
class _Group:
    """Queries that are multiplied together, and what may be their answer."""

    columns: Columns
    candidates: Candidates
    exact: Callable[[Ints, Ints], Doubles]


def _parts(
    queries: Matrix, size: int, dtype: torch.dtype, name: str
) -> Iterator[tuple[Matrix, Columns]]:
    step = max(1, min(QUERIES, _MAX_CELLS // size))
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        yield some, Columns(unit_rows(some, start, name, dtype), size)


def _group(queries: Matrix, columns: Columns, corpus: Matrix, k: int) -> _Group:
    def exact(query: Ints, row: Ints) -> Doubles:
        return exact_cosines(queries, query, corpus, row)

    return _Group(columns, Candidates(len(queries), k, exact), exact)


def _gather(cosines: Approximate, first: int, candidates: Candidates) -> None:
    """Hand over what may belong to a query's answer.

    Args:
        cosines: ``[n, q]``.
        first: Row of the corpus that the block begins with.
        candidates: Of these queries.
    """
    values = cosines.values
    if not np.isfinite(candidates.floor).all():
        kth = values.float().topk(candidates.k, dim=0).values[-1].double().cpu()
        candidates.floor = (kth - cosines.spread(kth)).numpy()
    wanted = cosines.at_least(torch.from_numpy(candidates.floor)).to(values.device)
    row, column = at_least(values, wanted)
    value = values[row, column].double().cpu()
    candidates.add(
        column.cpu().numpy(),
        first + row.cpu().numpy(),
        value.numpy(),
        cosines.spread(value).numpy(),
    )


def at_least(values: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Find the cells of a matrix that reach what is wanted of their column.

    Args:
        values: ``[n, q]``.
        wanted: float32 ``[q]``.

    Returns:
        tuple[Tensor, Tensor]: Rows and columns of those cells.
    """
    # One quick pass finds the few columns that hold anything; only these are looked at closely.
    hot = (values.amax(0).float() >= wanted).nonzero()[:, 0]
    row, of_hot = (values[:, hot].float() >= wanted[hot]).nonzero(as_tuple=True)
    return row, hot[of_hot]


def _answer(group: _Group) -> Found:
    query, row = group.candidates.left()
    return Found(*best_of_each(query, row, group.exact(query, row), group.candidates.k))
