"""what=search compares the same rows, and hides no memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from sbert_repro.benchmarks.search import unit_vectors


def test_search_is_compared_with_the_same_rows(figures, capsys):
    pytest.importorskip("faiss", reason="FAISS is not installed: make setup EXTRAS=search")
    few = ["what.vectors=3000", "what.width=16", "what.queries=9", "what.k=4", "what.repeats=1"]
    (row,) = figures("what=search", *few)["rows"]
    assert f"goals of {row['vectors']}: {row['goal']}" in capsys.readouterr().out
    assert row["same rows %"] == pytest.approx(100)
    assert row["times faster"] == pytest.approx(row["faiss s"] / row["ours s"])
    met = row["times faster"] >= 1 and row["GB beside"] <= 1
    assert row["goal"].endswith("not met") is not met


def test_numbers_that_measure_nothing_are_one_line(figures, capsys):
    with pytest.raises(SystemExit) as end:
        figures("what=search", "what.k=0")
    assert end.value.code == 2 and "what.k=0: expected at least 1" in capsys.readouterr().err


def test_making_the_vectors_needs_no_second_copy_of_them():
    tracemalloc.start()
    try:
        made = unit_vectors(40_000, 32, seed=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.3 * made.nbytes
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
