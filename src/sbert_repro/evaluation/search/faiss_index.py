"""An index on disk for a corpus beyond memory: FAISS's inverted lists, searched approximately."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sbert_repro.errors import UserError
from sbert_repro.evaluation.search import exact
from sbert_repro.evaluation.search.candidates import Ints
from sbert_repro.evaluation.search.exact import Found, check_search
from sbert_repro.evaluation.search.products import Matrix
from sbert_repro.storage import lock, unwritable

VERSION = 1
"""Raised when the same options would give another index."""
SHARD = 200_000
"""Vectors of one shard, which is all of the corpus that is in memory while the index is made."""
_POINTS_A_LIST = 39
"""FAISS warns below it: too few points to place the middle of a list."""
_log = logging.getLogger(__name__)


class FaissIndex:
    """Splits the corpus into lists of like vectors and looks only into those nearest to a query.

    The index is made once for a corpus, shard by shard, and kept by its content; it is searched
    from disk. What it misses is measured on the first ``check`` queries against exact search.

    Args:
        folder: Where indexes are kept.
        lists: How many lists; ``None``: 4·√N.
        probes: How many of them a query looks into.
        check: Queries that are also searched exactly; 0: none.
    """

    def __init__(
        self, folder: str, lists: int | None = None, probes: int = 32, check: int = 100
    ) -> None:
        if probes < 1 or check < 0 or (lists is not None and lists < 1):
            raise UserError(
                f"index.lists={lists} index.probes={probes} index.check={check}: expected lists "
                "and probes of 1 or more, and check of 0 or more"
            )
        self.folder, self.lists, self.probes, self.check = Path(folder), lists, probes, check
        self.notes: list[str] = []

    def search(self, corpus: Matrix, queries: Matrix, k: int, names: tuple[str, str]) -> Found:
        """Find about the k closest vectors for each query.

        Args:
            corpus: ``[N, D]``, usually memory-mapped.
            queries: ``[Q, D]``.
            k: How many; at most ``N``.
            names: What corpus and queries are called in messages.

        Returns:
            Found: Cosines and rows; row -1 and NaN where the lists that were looked into hold
            fewer than k.

        Raises:
            UserError: If FAISS is not installed, the index cannot be written, or as in `top_k`.
        """
        check_search(corpus, queries, k, names)
        faiss = faiss_module()
        with _quiet():
            made = str(self._made(corpus, names[0]))
            index = faiss.read_index(made, faiss.IO_FLAG_ONDISK_SAME_DIR)
        index.nprobe = self.probes
        unit = _unit(queries, np.arange(len(queries)), names[1])
        scores, rows = index.search(unit, k)
        self.notes = [
            f"faiss {faiss.__version__}: {index.nlist:,} lists, {self.probes} looked into"
        ]
        if self.check:
            some = queries[: self.check]
            true = exact.top_k(corpus, some, k, names=names).rows
            hit = [len(set(a) & set(b)) for a, b in zip(true, rows[: self.check], strict=True)]
            share = 100 * sum(hit) / true.size
            self.notes.append(
                f"finds {share:.1f} % of what exact search does ({len(some)} queries)"
            )
        # FAISS gives a sentinel as the score of a row it did not find.
        return Found(np.where(rows < 0, np.nan, scores.astype(np.float64)), rows)

    def _made(self, corpus: Matrix, name: str) -> Path:
        """Give the index of a corpus, made when there is none yet."""
        lists = self.lists or round(4 * len(corpus) ** 0.5)
        lists = max(1, min(lists, len(corpus) // _POINTS_A_LIST))
        folder = self.folder / f"{_digest(corpus)}-{lists}-v{VERSION}"
        if not (folder / "index").exists():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with lock(self.folder / f".{folder.name}.lock", f"{folder}, being made,"):
                    if not (folder / "index").exists():
                        _make(corpus, lists, folder, name)
            except OSError as problem:
                raise unwritable(folder, problem) from problem
            except RuntimeError as problem:  # how FAISS says that a file could not be written
                raise UserError(f"cannot write {folder}: {problem}; free some space") from problem
        return folder / "index"


def faiss_module() -> Any:
    """Give FAISS, which only this file needs.

    Returns:
        Any: The module ``faiss``.

    Raises:
        UserError: If it is not installed.
    """
    for name in ("faiss.loader", "faiss.contrib.ondisk"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise UserError(
            "index=faiss needs faiss-cpu, which is not installed: run "
            "make setup EXTRAS=search, or leave index=exact"
        ) from None


def _make(corpus: Matrix, lists: int, folder: Path, what: str) -> None:
    faiss = faiss_module()
    ondisk = importlib.import_module("faiss.contrib.ondisk")
    width = corpus.shape[1]
    _log.info("an index of %s vectors in %s lists is made", f"{len(corpus):,}", f"{lists:,}")
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        fresh = Path(name)
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT
        )
        random = np.random.default_rng(0)
        count = min(len(corpus), 256 * lists)
        sample = np.sort(random.choice(len(corpus), count, replace=False))
        index.train(_unit(corpus[sample], sample, what))
        empty = fresh / "empty"
        faiss.write_index(index, str(empty))
        shards = []
        for start in range(0, len(corpus), SHARD):
            part = faiss.read_index(str(empty))
            rows = np.arange(start, min(start + SHARD, len(corpus)))
            part.add_with_ids(_unit(corpus[start : start + SHARD], rows, what), rows)
            shards.append(str(fresh / f"shard{start}"))
            faiss.write_index(part, shards[-1])
        ready = fresh / "ready"
        ready.mkdir()
        with _quiet():
            ondisk.merge_ondisk(index, shards, str(ready / "lists"))
        faiss.write_index(index, str(ready / "index"))
        ready.rename(folder)


def _unit(vectors: Matrix, rows: Ints, what: str) -> np.ndarray:
    """Scale to length 1, so that FAISS's inner product is the cosine; refuses as `unit_rows`."""
    with np.errstate(over="ignore"):  # refused below, with its row
        given = np.array(vectors, np.float32, order="C")
    lengths = np.linalg.norm(given.astype(np.float64), axis=1, keepdims=True)
    if not (finite := np.isfinite(lengths[:, 0])).all():
        raise UserError(
            f"{what}: row {rows[finite.argmin()]:,} holds NaN, an infinite number or one beyond "
            "float32, expected finite numbers; encode its text again"
        )
    return np.divide(given, lengths, out=np.zeros_like(given), where=lengths > 0).astype(np.float32)


def _digest(corpus: Matrix) -> str:
    digest = hashlib.sha256(f"{corpus.shape} {corpus.dtype}".encode())
    for start in range(0, len(corpus), SHARD):
        digest.update(np.ascontiguousarray(corpus[start : start + SHARD]).data)
    return digest.hexdigest()[:24]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what FAISS prints on stdout, from C++, to stderr: stdout carries results."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
