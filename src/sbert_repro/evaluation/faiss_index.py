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
from typing import Any, ClassVar

import numpy as np

from sbert_repro.errors import UserError
from sbert_repro.evaluation.search import Found, Ints, Matrix, check_search, not_finite, top_k
from sbert_repro.facts import Fact, fact
from sbert_repro.storage import as_system_errors, filling, lock

VERSION = 1
"""Raised when the same options would give another index."""
SHARD = 200_000
"""Vectors of one shard: all of the corpus that is in memory while the index is built."""
_POINTS_A_LIST = 39
"""FAISS warns below this: too few points to place the centre of a list."""
_log = logging.getLogger(__name__)


class FaissIndex:
    """Splits the corpus into lists of similar vectors and probes only those nearest to a query.

    The index is built once for a corpus, shard by shard, and kept by its content; it is searched
    from disk. What it misses is measured on the first ``check`` queries against exact search.

    Args:
        folder: Where indexes are kept.
        lists: How many lists; ``None``: 4·√N.
        probes: How many of them are searched for a query.
        check: Queries that are also searched exactly; 0: none.
    """

    name: ClassVar[str] = "faiss"

    def __init__(
        self, folder: str, lists: int | None = None, probes: int = 32, check: int = 100
    ) -> None:
        if probes < 1 or check < 0 or (lists is not None and lists < 1):
            raise UserError(
                "expected lists and probes of at least 1, and check of at least 0",
                where=f"index.lists={lists} index.probes={probes} index.check={check}",
            )
        self.folder, self.lists, self.probes, self.check = Path(folder), lists, probes, check
        self.facts: list[Fact] = []

    def search(self, corpus: Matrix, queries: Matrix, k: int, names: tuple[str, str]) -> Found:
        """Find about the k closest vectors for each query.

        Args:
            corpus: ``[N, D]``, usually memory-mapped.
            queries: ``[Q, D]``.
            k: How many; at most ``N``.
            names: What corpus and queries are called in messages.

        Returns:
            Found: Cosines and rows; row -1 and NaN where the lists that were searched hold fewer
            than k.

        Raises:
            UserError: If FAISS is not installed, the index cannot be written, or as in `top_k`.
        """
        check_search(corpus, queries, k, names)
        faiss = faiss_module()
        with _quiet():
            path = str(self._built(corpus, names[0]))
            index = faiss.read_index(path, faiss.IO_FLAG_ONDISK_SAME_DIR)
        index.nprobe = self.probes
        scores, rows = index.search(_unit(queries, np.arange(len(queries)), names[1]), k)
        self.facts = [
            fact(
                "approximate_index",
                library="faiss",
                version=faiss.__version__,
                lists=index.nlist,
                probes=self.probes,
            )
        ]
        if self.check:
            some = queries[: self.check]
            exact = top_k(corpus, some, k, names=names).rows
            hits = [len(set(a) & set(b)) for a, b in zip(exact, rows[: self.check], strict=True)]
            percent = 100 * sum(hits) / exact.size
            self.facts.append(fact("index_recall", percent=percent, queries=len(some)))
        # FAISS gives a sentinel as the score of a row it did not find.
        return Found(np.where(rows < 0, np.nan, scores.astype(np.float64)), rows)

    def _built(self, corpus: Matrix, name: str) -> Path:
        """Return the index of a corpus, built if there is none yet."""
        lists = self.lists or round(4 * len(corpus) ** 0.5)
        lists = max(1, min(lists, len(corpus) // _POINTS_A_LIST))
        folder = self.folder / f"{_digest(corpus)}-{lists}-v{VERSION}"
        if not (folder / "index").exists():
            with lock(self.folder / f".{folder.name}.lock", f"{folder}, being built,"):
                if not (folder / "index").exists():
                    _build(corpus, lists, folder, name)
        return folder / "index"


def faiss_module() -> Any:
    """Import FAISS, which only this file needs.

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
            "index=faiss needs faiss-cpu, which is not installed",
            mend="make setup EXTRAS=search, or leave index=exact",
            code="missing",
        ) from None


def _build(corpus: Matrix, lists: int, folder: Path, what: str) -> None:
    faiss = faiss_module()
    ondisk = importlib.import_module("faiss.contrib.ondisk")
    width = corpus.shape[1]
    _log.info("building an index of %s vectors in %s lists", f"{len(corpus):,}", f"{lists:,}")
    with (
        filling(folder) as own,
        as_system_errors(),
        tempfile.TemporaryDirectory(dir=own) as shard_folder,
    ):
        temporary = Path(shard_folder)
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT
        )
        random = np.random.default_rng(0)
        count = min(len(corpus), 256 * lists)
        sample = np.sort(random.choice(len(corpus), count, replace=False))
        index.train(_unit(corpus[sample], sample, what))
        empty = temporary / "empty"
        faiss.write_index(index, str(empty))
        shards = []
        for start in range(0, len(corpus), SHARD):
            part = faiss.read_index(str(empty))
            rows = np.arange(start, min(start + SHARD, len(corpus)))
            part.add_with_ids(_unit(corpus[start : start + SHARD], rows, what), rows)
            shards.append(str(temporary / f"shard{start}"))
            faiss.write_index(part, shards[-1])
        with _quiet():
            ondisk.merge_ondisk(index, shards, str(own / "lists"))
        faiss.write_index(index, str(own / "index"))


def _unit(vectors: Matrix, rows: Ints, what: str) -> np.ndarray:
    """Scale to length 1, so that FAISS's inner product is the cosine; refuses as `unit_rows`."""
    with np.errstate(over="ignore"):  # refused below, with its row
        given = np.array(vectors, np.float32, order="C")
    lengths = np.linalg.norm(given.astype(np.float64), axis=1, keepdims=True)
    if not (finite := np.isfinite(lengths[:, 0])).all():
        raise not_finite(what, int(rows[finite.argmin()]))
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
