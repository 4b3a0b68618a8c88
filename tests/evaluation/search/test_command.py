"""scripts/search.py as it is typed, and the index on disk where FAISS is installed."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sbert_repro.errors import UserError
from sbert_repro.evaluation.search import faiss_index
from sbert_repro.evaluation.search.exact import top_k

ROOT = Path(__file__).resolve().parents[3]
TEXTS = ["the man plays guitar", "a dog runs", "the [red] cat sleeps", "the man plays piano", ""]


@pytest.fixture
def typed(tmp_path, tiny_bert, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    (tmp_path / "queries.txt").write_text("a dog runs\r\nthe man\n", encoding="utf-8")

    def run(*words):
        encoder = ["encoder=transformer", f"encoder.path={tiny_bert}", "progress=false"]
        monkeypatch.setattr(sys, "argv", ["search.py", *encoder, *words])
        runpy.run_path(str(ROOT / "scripts" / "search.py"), run_name="__main__")

    return run


def refused(run, capsys, *words):
    with pytest.raises(SystemExit) as end:
        run(*words)
    said = capsys.readouterr()
    assert end.value.code == 2 and said.out == "" and said.err.count("\n") == 1
    return said.err


def test_texts_are_found_and_written(typed, tmp_path, capsys):
    typed("corpus=corpus.txt", "queries=queries.txt", "k=2", "output=out/found.parquet")
    assert "the man plays" in capsys.readouterr().out
    found = pq.read_table(tmp_path / "out" / "found.parquet").to_pylist()
    assert [line["query"] for line in found] == [0, 0, 1, 1]
    assert [line["rank"] for line in found] == [1, 2, 1, 2]
    assert found[0] | {"score": 1.0} == {
        "query": 0, "rank": 1, "row": 1, "score": 1.0,
        "query_text": "a dog runs", "row_text": "a dog runs",
    }  # fmt: skip
    assert found[0]["score"] == pytest.approx(1)


def test_without_queries_the_closest_pairs_are_found(typed, tmp_path):
    typed("corpus=corpus.txt", "k=10", "output=pairs.parquet")
    found = pq.read_table(tmp_path / "pairs.parquet").to_pylist()
    assert len({(line["first"], line["second"]) for line in found}) == 10
    assert [line["score"] for line in found] == sorted((p["score"] for p in found), reverse=True)
    assert all(line["first_text"] == TEXTS[line["first"]] for line in found)


def test_vectors_on_disk_need_no_encoder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    np.save("corpus.npy", vectors)
    np.save("queries.npy", vectors[:6])
    words = ["corpus=corpus.npy", "queries=queries.npy", "k=3", "output=f.parquet"]
    monkeypatch.setattr(sys, "argv", ["search.py", "encoder.path=nowhere", *words])
    runpy.run_path(str(ROOT / "scripts" / "search.py"), run_name="__main__")
    found = pq.read_table("f.parquet")
    assert found.column_names == ["query", "rank", "row", "score"]
    assert found["row"].to_numpy().reshape(6, 3)[:, 0].tolist() == list(range(6))


def test_mistakes_are_one_line(typed, tmp_path, capsys):
    np.save("narrow.npy", np.ones((3, 5), np.float32))
    np.save("whole.npy", np.ones((3, 5), np.int64))
    Path("empty.txt").write_text("\n")
    Path("bytes.txt").write_bytes(b"na\xefve\n")
    Path("half.npy").write_bytes(Path("narrow.npy").read_bytes()[:140])
    both = ("corpus=corpus.txt", "queries=queries.txt")
    for says, words in {
        "k=6: corpus.txt has 5 vectors": (*both, "k=6"),
        "k=0": (*both, "k=0"),
        "vectors 5 wide, but corpus.txt has 32": ("corpus=corpus.txt", "queries=narrow.npy"),
        "found int64 numbers": ("corpus=whole.npy", "queries=whole.npy", "k=1"),
        "holds no text": ("corpus=empty.txt", "queries=queries.txt"),
        "nowhere.txt: no such file": ("corpus=nowhere.txt", "queries=queries.txt"),
        "bytes.txt: cannot be read": ("corpus=bytes.txt",),
        "half.npy: cannot be read": ("corpus=half.npy", "queries=narrow.npy", "k=1"),
        "5 vectors and 10 pairs": ("corpus=corpus.txt", "k=11"),
        "cannot be written": (*both, "k=1", "output=corpus.txt/f.parquet"),
        "found with index=exact only": ("corpus=corpus.txt", "index=faiss", "k=1"),
        "corpus is not set": ("queries=queries.txt",),
    }.items():
        assert says in refused(typed, capsys, *words), says


def test_without_faiss_one_line_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(faiss_index.importlib, "import_module", missing)
    with pytest.raises(UserError, match="make setup EXTRAS=search"):
        faiss_index.faiss_module()


def test_an_index_on_disk_is_made_once_and_measured(tmp_path, monkeypatch):
    pytest.importorskip("faiss", reason="extra search")
    monkeypatch.setattr(faiss_index, "SHARD", 700)
    random = np.random.default_rng(0)
    corpus = random.normal(size=(2000, 16)).astype(np.float32)
    queries, names = corpus[:30] + 0.01, ("corpus", "queries")
    every = faiss_index.FaissIndex(str(tmp_path / "faiss"), lists=20, probes=20)
    found = every.search(corpus, queries, 5, names)
    exact = top_k(corpus, queries, 5)
    assert np.array_equal(found.rows, exact.rows)
    assert found.scores == pytest.approx(exact.scores, abs=1e-5)
    assert "100.0 %" in every.notes[1] and "(30 queries)" in every.notes[1]
    (folder,) = [p for p in (tmp_path / "faiss").iterdir() if p.is_dir()]
    made = (folder / "index").stat().st_mtime_ns
    few = faiss_index.FaissIndex(str(tmp_path / "faiss"), lists=20, probes=1)
    rows = few.search(corpus, queries, 5, names).rows
    assert (folder / "index").stat().st_mtime_ns == made
    assert 0 < (rows == exact.rows).mean() < 1 and "100.0 %" not in few.notes[1]


def test_an_index_refuses_what_is_no_number_and_scores_no_missing_row(tmp_path):
    pytest.importorskip("faiss", reason="extra search")
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
