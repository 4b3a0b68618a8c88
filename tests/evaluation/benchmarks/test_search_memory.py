"""The vectors of what=search leave no peak of memory behind that would hide the search's own."""

import tracemalloc

import numpy as np

from sbert_repro.evaluation.benchmarks.search import SearchBenchmark


def test_making_the_vectors_needs_no_second_copy_of_them():
    benchmark = SearchBenchmark(vectors=40_000, width=32, queries=1, k=1, repeats=1)
    tracemalloc.start()
    try:
        made = benchmark._unit(benchmark.vectors, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.3 * made.nbytes
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
