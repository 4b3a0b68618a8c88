"""Exact search by cosine: the closest rows of a corpus for each query, or its closest pairs.

The corpus is read once, in blocks, from memory or a memory map; all that is held besides is a few
blocks and the candidates. Products run in the number format that is fastest on this machine, with a
proven bound on their error: whatever might belong to the answer is scored again in float64, so the
answer is that of a plain loop. The end of the file is what ``scripts/search.py`` does.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from sbert_repro.backbone.packed import why_not_prepacked
from sbert_repro.compose import build
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.run import encoder_of
from sbert_repro.facts import Fact, fact
from sbert_repro.progress import showing
from sbert_repro.similarity import cosine

Matrix = NDArray[np.floating]
"""Vectors ``[N, D]`` in memory or memory-mapped, of any length and float type."""
Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]

BLOCK = 2048
"""Rows of the corpus at once: their product with a group of queries stays in a CPU's caches."""
QUERIES = 1024
"""Queries that are multiplied together."""
PAIR_BLOCK = 1024
"""Rows on each side of a product when pairs are searched for."""
_PAIR_COLUMNS = 8
"""Blocks of pairs that are laid out at once, so that the other side is read less often."""
_MAX_CELLS = 1 << 25
"""Cosines of one product; a larger k needs larger blocks and therefore fewer queries."""
_COUNTED = -2.0
"""Stands where a row meets itself or an earlier one; below every cosine."""

# Products with a bound on their error.

_ROUNDING = {torch.float32: 0.0, torch.bfloat16: 2.0**-8}
"""Largest relative error of one rounding to the format of a product."""
_ADDITION = 2.0**-23
"""Largest relative error of one addition in fp32, even where a unit truncates."""
_TF32 = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"
"""With it PyTorch rounds the factors of fp32 products on a GPU, whatever its own switch says."""
_TINY = 1e-12
"""What float64, and fp32 numbers too small to be stored, may lose."""
_FAR = 2.0**100
"""Vectors longer than this, or shorter than one over it, are scaled by it first, because one over
their length would lose digits in float32. A power of two rounds nothing that it brings back."""


@dataclass(frozen=True)
class UnitRows:
    """Vectors scaled to length 1 and rounded to the format of the products.

    Attributes:
        rows: ``[n, D]``.
        error: Length of the largest difference from the row that is not rounded.
    """

    rows: Tensor
    error: float


@dataclass(frozen=True)
class Approximate:
    """Cosines between two blocks, each off by ``error + relative · |value|`` at most.

    Attributes:
        values: ``[n, q]``, a row for each row of one block, a column for each row of the other.
        error: The part that is the same for all.
        relative: The part from rounding the cosine itself.
    """

    values: Tensor
    error: float
    relative: float

    def at_least(self, cosine: Tensor) -> Tensor:
        """Return the smallest values, float32, whose true cosines might reach ``cosine``."""
        wanted = cosine.double() - self.error
        factor = torch.where(wanted > 0, 1 + self.relative, 1 - self.relative)
        # Rounded down, so that the comparison in fp32 loses nothing.
        return (wanted / factor - _TINY).float().nextafter(torch.tensor(-2.0))

    def spread(self, values: Tensor) -> Tensor:
        """Return how far the true cosines can be from ``values`` of this product, float64."""
        return self.error + self.relative * values.abs()


def fastest_format() -> torch.dtype:
    """Return the number format in which this machine finishes a search soonest.

    Returns:
        torch.dtype: bf16 on a CPU with instructions for it; fp32 elsewhere. On a GPU, moving the
        vectors there takes longer than their product.

    Raises:
        UserError: If this machine's fp32 products are not fp32.
    """
    if torch.cuda.is_available():
        if os.environ.get(_TF32, "0") != "0":
            raise UserError(
                "fp32 products would be rounded to TF32, and their error would have no bound",
                where=f"{_TF32}={os.environ[_TF32]}",
                mend=f"unset {_TF32}",
            )
        return torch.float32
    if not torch.backends.mkldnn.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def unit_rows(vectors: Matrix, first: int, what: str, dtype: torch.dtype) -> UnitRows:
    """Scale vectors to length 1; a zero vector stays zero, so its cosine with anything is 0.

    Args:
        vectors: ``[n, D]``.
        first: Number of the first row, for the message.
        what: What the vectors are, for the message.
        dtype: Format of the products.

    Returns:
        UnitRows: On the GPU if there is one.

    Raises:
        UserError: If a number is NaN or infinite.
    """
    # Copied: a memory map is read-only, and its pages may be those of another float type.
    with np.errstate(over="ignore"):  # refused below, with its row
        given = torch.from_numpy(np.array(vectors, np.float32))
    given = given.to("cuda" if torch.cuda.is_available() else "cpu")
    lengths = torch.linalg.vector_norm(given, dim=1, dtype=torch.float64)
    if not bool(torch.isfinite(lengths).all()):
        raise not_finite(what, first + int((~torch.isfinite(lengths)).nonzero()[0]))
    for far, factor in ((lengths < 1 / _FAR, _FAR), (lengths > _FAR, 1 / _FAR)):
        if bool(far.any()):
            given[far] *= factor
            lengths[far] *= factor
    scale = torch.where(lengths > 0, 1 / lengths, 0.0).float()
    given *= scale.unsqueeze(1)
    if dtype == torch.float32:
        # Scaling has rounded twice already, a part in 2^23 of the length.
        return UnitRows(given, 2.0**-22)
    rounded = given.to(dtype)
    lost = torch.linalg.vector_norm(given - rounded, dim=1).max()
    return UnitRows(rounded, float(lost) * (1 + 1e-3) + 2.0**-22)


def not_finite(what: str, row: int) -> UserError:
    """Make the error for a vector that holds something else than finite numbers.

    Args:
        what: What the vectors are.
        row: Its number.

    Returns:
        UserError: To be raised.
    """
    return UserError(
        f"row {row:,} holds NaN, an infinite number or one beyond float32, expected finite numbers",
        where=what,
        mend="encode its text again",
    )


class Columns:
    """One side of many products: its rows laid out once in the order the product reads them.

    Args:
        unit: The rows.
        other_rows: How many rows the other side usually has.
    """

    def __init__(self, unit: UnitRows, other_rows: int) -> None:
        self.error = unit.error
        self._prepacked = (
            unit.rows.device.type == "cpu" and why_not_prepacked(unit.rows.dtype) is None
        )
        self._weight = (
            torch.ops.mkldnn._reorder_linear_weight(unit.rows, other_rows)
            if self._prepacked
            else unit.rows.T
        )

    def cosines(self, unit: UnitRows) -> Approximate:
        """Multiply with the other side: ``values [n, q]``, a column for each row of this side."""
        if self._prepacked:
            linear = torch.ops.mkldnn._linear_pointwise
            values: Tensor = linear(unit.rows, self._weight, None, "none", [], "")
        else:
            values = unit.rows @ self._weight
        # Cauchy-Schwarz: |x·y - x'·y'| <= |x - x'| |y| + |x'| |y - y'|, then D fp32 additions.
        a, b = unit.error, self.error
        added = unit.rows.shape[1] * _ADDITION * (1 + a) * (1 + b)
        return Approximate(values, a + (1 + a) * b + added + _TINY, 1.01 * _ROUNDING[values.dtype])


# What might still belong to the answer.

_EXACT_AT_ONCE = 1 << 14
"""Pairs whose cosine is computed together: 16,384 pairs 768 wide take 200 MB in float64."""
_HELD = 1 << 19
"""Candidates that are held, 32 bytes each, before those of equal rank are told apart."""
_ROOM = 4
"""Candidates are held up to at least this many times what is wanted, so that scoring again stays a
small part of the work."""


class Candidates:
    """Pairs (group, place) with an approximate cosine; of each group the best ``k`` are wanted.

    A group is a query and a place a row of the corpus; for pairs there is one group.

    Args:
        groups: How many groups.
        k: How many of each.
        exact: Returns the exact cosines ``[n]`` of groups ``[n]`` and places ``[n]``. In a corpus
            that repeats itself, no bound tells candidates apart, and there may be any number.
    """

    def __init__(self, groups: int, k: int, exact: Callable[[Ints, Ints], Doubles]) -> None:
        self.k = k
        self.exact = exact
        self.floor: Doubles = np.full(groups, -np.inf)
        """A cosine that ``k`` of the group are known to reach."""
        self._group: Ints = np.empty(0, np.int64)
        self._place: Ints = np.empty(0, np.int64)
        self._low: Doubles = np.empty(0)
        self._high: Doubles = np.empty(0)
        self._new: list[tuple[Ints, Ints, Doubles, Doubles]] = []
        self._waiting = 0

    def add(self, group: Ints, place: Ints, value: Doubles, spread: Doubles) -> None:
        """Add candidates.

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
        score = self.exact(self._group, self._place)
        order = np.lexsort((self._place, -score, self._group))
        group = self._group[order]
        start = np.searchsorted(group, np.arange(len(self.floor)))
        rank = np.arange(len(group)) - start[group]
        best = order[rank < self.k]
        self._group, self._place = self._group[best], self._place[best]
        self._low = self._high = score[best]
        last = rank == self.k - 1
        self.floor[group[last]] = score[order[last]]

    def best(self) -> tuple[Doubles, Ints]:
        """Return exact scores and places ``[groups, k]``, the closest first, then by place."""
        self._settle()
        group, place = self._group, self._place
        score = self.exact(group, place)
        order = np.lexsort((place, -score, group))
        start = np.searchsorted(group[order], np.arange(len(self.floor)))
        chosen = order[start[:, None] + np.arange(self.k)]
        return score[chosen], place[chosen]


def exact_cosines(u: Matrix, rows: Ints, v: Matrix, columns: Ints) -> Doubles:
    """Compute the cosines of chosen pairs of rows as every score of this project does.

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
    scores = np.empty(len(rows))
    for at in range(0, len(order), _EXACT_AT_ONCE):
        some = order[at : at + _EXACT_AT_ONCE]
        scores[some] = cosine(u[rows[some]], v[columns[some]])
    return scores


def _at_least(values: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return row and column of the cells of ``values [n, q]`` that reach ``wanted [q]``."""
    # One quick pass finds the few columns that hold anything; only these are looked at closely.
    hot = (values.amax(0).float() >= wanted).nonzero()[:, 0]
    row, of_hot = (values[:, hot].float() >= wanted[hot]).nonzero(as_tuple=True)
    return row, hot[of_hot]


# The closest rows for each query.


@dataclass(frozen=True)
class Found:
    """The closest rows.

    Attributes:
        scores: Cosines ``[Q, k]``, float64, the closest first.
        rows: Rows of the corpus ``[Q, k]``; of equal cosines the lower row comes first.
    """

    scores: Doubles
    rows: Ints


def check_vectors(vectors: Matrix, what: str) -> None:
    """Refuse what is not a matrix of vectors.

    Args:
        vectors: What was read.
        what: Its file, for the message.

    Raises:
        UserError: If it is empty, has another shape, or holds no floating-point numbers.
    """
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):  # noqa: PLR2004
        raise UserError(
            f"{vectors.dtype} numbers of shape {vectors.shape}, expected floating-point vectors "
            "[N, D] as scripts/encode.py writes them",
            where=what,
        )
    if 0 in vectors.shape:
        raise UserError(
            f"holds no vectors (shape {vectors.shape}), expected at least one", where=what
        )


def check_search(corpus: Matrix, queries: Matrix, k: int, names: tuple[str, str]) -> None:
    """Refuse a search that has no answer.

    Args:
        corpus: ``[N, D]``.
        queries: ``[Q, D]``.
        k: How many for each query.
        names: What corpus and queries are called in messages.

    Raises:
        UserError: If k is not between 1 and N, or the widths differ.
    """
    check_vectors(corpus, names[0])
    check_vectors(queries, names[1])
    if corpus.shape[1] != queries.shape[1]:
        raise UserError(
            f"vectors {queries.shape[1]} wide, but {names[0]} has {corpus.shape[1]}",
            where=names[1],
            mend="encode both with the same encoder",
        )
    if not 1 <= k <= len(corpus):
        raise UserError(
            f"{names[0]} has {len(corpus):,} vectors, expected k from 1 to {len(corpus)}",
            where=f"k={k}",
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
    step = max(1, min(QUERIES, _MAX_CELLS // size))
    dtype = dtype or fastest_format()
    groups: list[tuple[Columns, Candidates]] = []
    with torch.inference_mode():
        for start in range(0, len(queries), step):
            some = queries[start : start + step]

            def exact(query: Ints, row: Ints, some: Matrix = some) -> Doubles:
                return exact_cosines(some, query, corpus, row)

            columns = Columns(unit_rows(some, start, names[1], dtype), size)
            groups.append((columns, Candidates(len(some), k, exact)))
        for first in range(0, len(corpus), size):
            block = unit_rows(corpus[first : first + size], first, names[0], dtype)
            for columns, candidates in groups:
                _gather_rows(columns.cosines(block), first, candidates)
            advance(len(block.rows))
    scores, rows = zip(*(candidates.best() for _, candidates in groups), strict=True)
    return Found(np.concatenate(scores), np.concatenate(rows))


def _gather_rows(cosines: Approximate, first: int, candidates: Candidates) -> None:
    """Add what may belong to the answer of a query; the block begins with row ``first``."""
    values = cosines.values
    if not np.isfinite(candidates.floor).all():
        kth = values.float().topk(candidates.k, dim=0).values[-1].double().cpu()
        candidates.floor = (kth - cosines.spread(kth)).numpy()
    wanted = cosines.at_least(torch.from_numpy(candidates.floor)).to(values.device)
    row, column = _at_least(values, wanted)
    value = values[row, column].double().cpu()
    query, place = column.cpu().numpy(), first + row.cpu().numpy()
    candidates.add(query, place, value.numpy(), cosines.spread(value).numpy())


# The closest pairs: the paper's headline, and paraphrase mining.


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
    """Return n(n-1)/2, the paper's 49,995,000 for 10,000 sentences (section 1)."""
    return n * (n - 1) // 2


def top_pairs(
    vectors: Matrix,
    k: int,
    *,
    dtype: torch.dtype | None = None,
    name: str = "corpus",
    advance: Callable[[int], object] = lambda pairs: None,
) -> Pairs:
    """Find the k closest of all n(n-1)/2 pairs, never holding more than a block of cosines.

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
    count = len(vectors)
    if not 1 <= k <= number_of_pairs(count):
        raise UserError(
            f"{name} has {count:,} vectors and {number_of_pairs(count):,} pairs, expected k from 1 "
            "to that",
            where=f"k={k}",
        )

    def exact(_: Ints, places: Ints) -> Doubles:
        first, second = np.divmod(places, count)
        return exact_cosines(vectors, first, vectors, second)

    candidates = Candidates(1, k, exact)
    with torch.inference_mode():
        for row, column, cosines in _pair_products(vectors, dtype or fastest_format(), name):
            _gather_pairs(cosines, row, column, candidates, count)
            done = cosines.values.numel()
            advance(number_of_pairs(cosines.values.shape[0]) if row == column else done)
    scores, places = candidates.best()
    return Pairs(scores[0], np.stack(np.divmod(places[0], count), axis=1))


def most_similar_pair(vectors: Matrix) -> Pairs:
    """Find the closest pair of ``vectors [N, D]`` (section 1 of the paper)."""
    return top_pairs(vectors, 1)


def _pair_products(
    vectors: Matrix, dtype: torch.dtype, name: str
) -> Iterator[tuple[int, int, Approximate]]:
    """Yield each block of the lower triangle: its first row, its first column, its cosines."""
    unit = partial(unit_rows, what=name, dtype=dtype)
    size, step = PAIR_BLOCK, PAIR_BLOCK * _PAIR_COLUMNS
    for left in range(0, len(vectors), step):
        columns = {
            at: Columns(unit(vectors[at : at + size], at), size)
            for at in range(left, min(left + step, len(vectors)), size)
        }
        for row in range(left, len(vectors), size):
            rows = unit(vectors[row : row + size], row)
            for at, block in columns.items():
                if at <= row:
                    yield row, at, block.cosines(rows)


def _gather_pairs(
    cosines: Approximate, first_row: int, first_column: int, candidates: Candidates, n: int
) -> None:
    """Add the pairs of a block that may belong to the answer."""
    values = cosines.values
    if first_row == first_column:
        values = values.masked_fill(torch.ones_like(values).triu().bool(), _COUNTED)
    if not np.isfinite(candidates.floor[0]) and values.numel() >= candidates.k:
        kth = values.flatten().float().topk(candidates.k).values[-1].double().cpu()
        if kth > _COUNTED:
            candidates.floor = (kth - cosines.spread(kth)).reshape(1).numpy()
    wanted = cosines.at_least(torch.from_numpy(candidates.floor)).to(values.device)
    row, column = _at_least(values, wanted.expand(values.shape[1]))
    new = values[row, column] > _COUNTED
    row, column = row[new], column[new]
    value = values[row, column].double().cpu()
    place = (first_column + column.cpu().numpy()) * n + first_row + row.cpu().numpy()
    spread = cosines.spread(value).numpy()
    candidates.add(np.zeros(len(place), np.int64), place, value.numpy(), spread)


# scripts/search.py: files of texts or vectors in, the closest rows out.


class ExactIndex:
    """No index: every vector of the corpus is looked at."""

    name: ClassVar[str] = "exact"

    def __init__(self, progress: bool = False) -> None:
        """Set what is shown.

        Args:
            progress: Show a bar when the work is long.
        """
        self.progress = progress
        self.facts: list[Fact] = []

    def search(self, corpus: Matrix, queries: Matrix, k: int, names: tuple[str, str]) -> Found:
        """Find the k closest vectors for each query.

        Args:
            corpus: ``[N, D]``.
            queries: ``[Q, D]``.
            k: How many.
            names: What corpus and queries are called in messages.

        Returns:
            Found: Cosines and rows.
        """
        with showing("searching", len(corpus), shown=self.progress) as advance:
            return top_k(corpus, queries, k, names=names, advance=advance)


@dataclass(frozen=True)
class Side:
    """A corpus or queries.

    Attributes:
        name: Its file.
        texts: One for each row; ``None`` where the file holds vectors.
        vectors: ``[N, D]``.
    """

    name: str
    texts: list[str] | None
    vectors: Matrix

    def texts_of(self, rows: Iterable[int]) -> list[str]:
        """Return the texts of rows, "" for -1."""
        assert self.texts is not None
        return ["" if row < 0 else self.texts[row] for row in rows]


@dataclass(frozen=True)
class Result:
    """What is written and shown.

    Attributes:
        table: One line for each row found: ``query, rank, row, score``, or for pairs ``rank, first,
            second, score``, and the texts where they are known.
        facts: What a reader must know.
    """

    table: pa.Table
    facts: list[Fact]

    def as_parquet(self) -> bytes:
        """Return the table as the bytes of a Parquet file."""
        stream = io.BytesIO()
        pq.write_table(self.table, stream)
        return stream.getvalue()


def run(config: DictConfig) -> Result:
    """Search, or find the closest pairs of the corpus where there are no queries.

    Args:
        config: Composed options of ``scripts/search.py``.

    Returns:
        Result: The closest first.

    Raises:
        UserError: If a file is missing, empty or of another width, or k is too large.
    """
    index = build(config.index, progress=config.progress)
    if config.queries is None and not isinstance(index, ExactIndex):
        raise UserError(
            "is not set, and pairs of a corpus are found with index=exact only",
            where="queries",
            mend="give queries=…",
        )
    paths = [config.corpus] + ([] if config.queries is None else [config.queries])
    contents = {path: _read(Path(path)) for path in paths}
    k, facts = _possible_k(config, len(contents[config.corpus]))
    encoder: SentenceEncoder | None = None
    if any(isinstance(content, list) for content in contents.values()):
        model = encoder_of(config)
        if not isinstance(model, SentenceEncoder):
            found = f"{model.label} has no sentence vectors"
            raise UserError(found, mend="choose another encoder")
        encoder = model
        facts += encoder.facts
    sides = {}
    for path, content in contents.items():
        if isinstance(content, list):
            assert encoder is not None
            sides[path] = Side(path, content, encoder.encode(content))
        else:
            sides[path] = Side(path, None, content)
    corpus = sides[config.corpus]
    if config.queries is None:
        return Result(_pairs_table(corpus, k), facts)
    queries = sides[config.queries]
    found = index.search(corpus.vectors, queries.vectors, k, (corpus.name, queries.name))
    return Result(_rows_table(corpus, queries, found), [*facts, *index.facts])


def _possible_k(config: DictConfig, rows: int) -> tuple[int, list[Fact]]:
    """Return how many can be found, and say so where that is less than was asked for."""
    asked, there, what = int(config.k), rows, "vectors"
    if config.queries is None:
        there, what = number_of_pairs(rows), "pairs"
        if not there:
            raise UserError("one vector makes no pair; expected at least 2", where=config.corpus)
    if asked <= there:
        return asked, []
    return there, [fact("fewer_found", asked=asked, found=there, what=what)]


def _read(path: Path) -> Matrix | list[str]:
    """Return the vectors of an ``.npy`` file, memory-mapped, or the lines of any other."""
    try:
        if path.suffix == ".npy":
            vectors: Matrix = np.load(path, mmap_mode="r", allow_pickle=False)
            check_vectors(vectors, str(path))
            return vectors
        # Bytes, as scripts/encode.py reads them: reading as text would end a line at each \r too.
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError("no such file, expected a sentence a line, or .npy", where=path) from None
    except (OSError, ValueError, EOFError) as problem:
        raise UserError(
            f"cannot be read ({problem}); expected UTF-8 text with a sentence a line, or vectors "
            "in an .npy file as scripts/encode.py writes them",
            where=path,
        ) from problem
    # Not splitlines: U+2028 and its like are part of a sentence.
    lines = text.removesuffix("\n").split("\n")
    if not text.strip():
        raise UserError("holds no text, expected a sentence a line", where=path)
    return [line.removesuffix("\r") for line in lines]


def _rows_table(corpus: Side, queries: Side, found: Found) -> pa.Table:
    count, k = found.rows.shape
    query, row = np.repeat(np.arange(count), k), found.rows.ravel()
    columns: dict[str, Any] = {
        "query": query,
        "rank": np.tile(np.arange(1, k + 1), count),
        "row": row,
        "score": found.scores.ravel(),
    }
    if queries.texts is not None:
        columns["query_text"] = queries.texts_of(query)
    if corpus.texts is not None:
        columns["row_text"] = corpus.texts_of(row)
    return pa.table(columns)


def _pairs_table(corpus: Side, k: int) -> pa.Table:
    found = top_pairs(corpus.vectors, k, name=corpus.name)
    first, second = found.rows.T
    columns: dict[str, Any] = {
        "rank": np.arange(1, k + 1),
        "first": first,
        "second": second,
        "score": found.scores,
    }
    if corpus.texts is not None:
        columns |= {"first_text": corpus.texts_of(first), "second_text": corpus.texts_of(second)}
    return pa.table(columns)
