"""The index on disk where FAISS is installed, and one line where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from sbert_repro.errors import UserError
from sbert_repro.evaluation import faiss_index
from sbert_repro.evaluation.search import top_k


def test_without_faiss_one_line_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(faiss_index.importlib, "import_module", missing)
    with pytest.raises(UserError, match="make setup EXTRAS=search"):
        faiss_index.faiss_module()


def test_an_index_on_disk_is_built_once_and_measured(tmp_path, monkeypatch):
    pytest.importorskip("faiss", reason="FAISS is not installed: make setup EXTRAS=search")
    monkeypatch.setattr(faiss_index, "SHARD", 700)
    random = np.random.default_rng(0)
    corpus = random.normal(size=(2000, 16)).astype(np.float32)
    queries, names = corpus[:30] + 0.01, ("corpus", "queries")
    every = faiss_index.FaissIndex(str(tmp_path / "faiss"), lists=20, probes=20)
    found = every.search(corpus, queries, 5, names)
    exact = top_k(corpus, queries, 5)
    assert np.array_equal(found.rows, exact.rows)
    assert found.scores == pytest.approx(exact.scores, abs=1e-5)
    assert every.facts[1] == {"code": "index_recall", "percent": 100.0, "queries": 30}
    (folder,) = [p for p in (tmp_path / "faiss").iterdir() if p.is_dir()]
    made = (folder / "index").stat().st_mtime_ns
    few = faiss_index.FaissIndex(str(tmp_path / "faiss"), lists=20, probes=1)
    rows = few.search(corpus, queries, 5, names).rows
    assert (folder / "index").stat().st_mtime_ns == made
    assert 0 < (rows == exact.rows).mean() < 1 and few.facts[1]["percent"] < 100


def test_an_index_refuses_what_is_no_number_and_scores_no_missing_row(tmp_path):
    pytest.importorskip("faiss", reason="FAISS is not installed: make setup EXTRAS=search")
    corpus = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    index = faiss_index.FaissIndex(str(tmp_path), lists=10, probes=1, check=0)
    found = index.search(corpus, corpus[:5], 300, ("corpus", "queries"))
    missing = found.rows < 0
    assert missing.any() and np.array_equal(np.isnan(found.scores), missing)
    damaged = corpus.copy()
    damaged[317, 2] = np.nan
    with pytest.raises(UserError, match="corpus: row 317 holds NaN"):
        index.search(damaged, corpus[:5], 3, ("corpus", "queries"))
    with pytest.raises(UserError, match="queries: row 3 holds NaN"):
        index.search(corpus, damaged[314:320], 3, ("corpus", "queries"))
