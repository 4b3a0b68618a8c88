"""``what=search``: exact search beside FAISS's flat index: time, memory, and the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from omegaconf import DictConfig

from sbert_repro.benchmarks.timing import Figures, conditions, interleaved, peak_gb
from sbert_repro.errors import UserError
from sbert_repro.evaluation.faiss_index import faiss_module
from sbert_repro.evaluation.search import top_k

GOAL = 1.0
"""Least ratio of FAISS's time to ours."""
MEMORY_GOAL = 1.0
"""Most memory besides the vectors, in GB."""
_AT_ONCE = 4096
"""Vectors that are normalised together. To normalise all of them at once would need their size
again, and that peak of memory would hide whatever the search needs."""


@dataclass(frozen=True)
class SearchBenchmark:
    """Options of the benchmark.

    Attributes:
        vectors: Size of the corpus.
        width: ``D``.
        queries: Number of queries.
        k: Neighbours of each query.
        repeats: How often each side is timed.
    """

    vectors: int
    width: int
    queries: int
    k: int
    repeats: int

    def run(self, config: DictConfig) -> Figures:
        """Time both in turns.

        Args:
            config: Composed options of ``scripts/benchmark.py``; none is read.

        Returns:
            Seconds, ratio, GB besides the vectors.

        Raises:
            UserError: If FAISS is not installed, or a number is out of range.
        """
        del config
        if min(self.vectors, self.width, self.queries, self.k, self.repeats) < 1:
            raise UserError("every number has to be 1 or more", where="what=search")
        faiss = faiss_module()
        faiss.omp_set_num_threads(torch.get_num_threads())
        corpus = unit_vectors(self.vectors, self.width, seed=0)
        queries = unit_vectors(self.queries, self.width, seed=1)
        before = peak_gb()
        nearest = top_k(corpus, queries, self.k)
        memory = peak_gb() - before
        index = faiss.IndexFlatIP(self.width)
        index.add(corpus)
        works = {
            "ours": partial(top_k, corpus, queries, self.k),
            "faiss": partial(index.search, queries, self.k),
        }
        times = interleaved(works, self.repeats, title="search")
        same = 100 * float((index.search(queries, self.k)[1] == nearest.rows).mean())
        ours, theirs = times["ours"].median, times["faiss"].median
        met = theirs / ours >= GOAL and memory <= MEMORY_GOAL
        row = {
            "vectors": f"{self.vectors:,} × {self.width}",
            "queries": self.queries,
            "ours s": ours,
            "faiss s": theirs,
            "times faster": theirs / ours,
            "ours GFLOP/s": 2.0 * self.vectors * self.width * self.queries / ours / 1e9,
            "GB beside": memory,
            "same rows %": same,
            "goal": f"≥ {GOAL:.1f}×, ≤ {MEMORY_GOAL:.0f} GB: {'met' if met else 'not met'}",
        }
        ends = ", ".join(
            f"{name} {min(timing.seconds):.2f} to {max(timing.seconds):.2f} s"
            for name, timing in times.items()
        )
        notes = [
            f"exact top {self.k} of random vectors, faiss {faiss.__version__} IndexFlatIP, median "
            f"of {self.repeats} in turns ({ends}); {conditions()}",
            "rows differ where two cosines are equal in float32; ours decides in float64",
        ]
        return Figures("Exact search: ours beside FAISS", [row], notes)


def unit_vectors(count: int, width: int, seed: int) -> np.ndarray:
    """Draw random vectors of length 1, in no more memory than they need themselves.

    Args:
        count: ``N``.
        width: ``D``.
        seed: Of the draw.

    Returns:
        ``[N, D]``, float32.
    """
    vectors = np.random.default_rng(seed).standard_normal((count, width), np.float32)
    for start in range(0, count, _AT_ONCE):
        block = vectors[start : start + _AT_ONCE]
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return vectors
