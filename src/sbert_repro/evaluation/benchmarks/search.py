"""Exact search beside FAISS's flat index: time, memory, and whether both find the same."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from sbert_repro.errors import UserError
from sbert_repro.evaluation.benchmarks.figures import Figures, conditions
from sbert_repro.evaluation.faiss_index import faiss_module
from sbert_repro.evaluation.search import top_k
from sbert_repro.evaluation.speed.timing import interleaved

GOAL = 1.0
"""Ours at least as fast as the peer."""
_MEMORY_GOAL = 1.0
"""GB beside the vectors."""
_AT_ONCE = 4096
"""Vectors that are scaled together. Scaling all of them would need their size again, and the peak
of memory that this leaves would hide whatever the search needs."""


@dataclass(frozen=True)
class SearchBenchmark:
    """Options of the benchmark.

    Attributes:
        vectors: Size of the corpus.
        width: ``D``.
        queries: How many.
        k: Closest ones of each.
        repeats: How often each is timed.
    """

    vectors: int
    width: int
    queries: int
    k: int
    repeats: int

    def run(self, config: DictConfig) -> Figures:
        """Measure both in turns.

        Args:
            config: Composed options of ``scripts/benchmark.py``; nothing of it is needed.

        Returns:
            Figures: Seconds, ratio, GB beside the vectors.

        Raises:
            UserError: If FAISS is not installed, or a number is out of range.
        """
        del config
        if min(self.vectors, self.width, self.queries, self.k, self.repeats) < 1:
            raise UserError("what=search: every number has to be 1 or more")
        faiss = faiss_module()
        faiss.omp_set_num_threads(torch.get_num_threads())
        corpus, queries = self._unit(self.vectors, 0), self._unit(self.queries, 1)
        before = _peak_gb()
        ours = top_k(corpus, queries, self.k)
        memory = _peak_gb() - before
        index = faiss.IndexFlatIP(self.width)
        index.add(corpus)
        works = {
            "ours": partial(top_k, corpus, queries, self.k),
            "faiss": partial(index.search, queries, self.k),
        }
        times = interleaved(works, self.repeats, title="search")
        same = 100 * float((index.search(queries, self.k)[1] == ours.rows).mean())
        ends = (f"{what} {t.ends[0]:.2f} to {t.ends[1]:.2f} s" for what, t in times.items())
        notes = [
            f"exact top {self.k} of random vectors, faiss {faiss.__version__} IndexFlatIP, median "
            f"of {self.repeats} in turns ({', '.join(ends)}); {conditions()}",
            "rows differ where two cosines are equal in float32; ours decides in float64",
        ]
        row = self._row(times["ours"].median, times["faiss"].median, memory, same)
        return Figures("Exact search: ours beside FAISS", [row], notes)

    def _row(self, ours: float, faiss: float, memory: float, same: float) -> dict[str, Any]:
        met = faiss / ours >= GOAL and memory <= _MEMORY_GOAL
        return {
            "vectors": f"{self.vectors:,} × {self.width}",
            "queries": self.queries,
            "ours s": ours,
            "faiss s": faiss,
            "times faster": faiss / ours,
            "ours GFLOP/s": 2.0 * self.vectors * self.width * self.queries / ours / 1e9,
            "GB beside": memory,
            "same rows %": same,
            "goal": f"≥ {GOAL:.1f}×, ≤ {_MEMORY_GOAL:.0f} GB: {'met' if met else 'not met'}",
        }

    def _unit(self, count: int, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        made = random.standard_normal((count, self.width), np.float32)
        for start in range(0, count, _AT_ONCE):
            some = made[start : start + _AT_ONCE]
            some /= np.linalg.norm(some, axis=1, keepdims=True)
        return made


def _peak_gb() -> float:
    """The most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
