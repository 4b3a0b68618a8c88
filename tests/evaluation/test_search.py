"""Exact search gives what a plain float64 loop gives, whatever the format of its search."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.errors import UserError
from sbert_repro.evaluation import search
from sbert_repro.inference.stream import read_lines
from sbert_repro.similarity import cosine

FORMATS = [torch.float32, torch.bfloat16]


def brute(corpus, queries, k):
    """Scores and rows by cosine of every pair; equal ones by row."""
    every = np.array([cosine(np.broadcast_to(q, corpus.shape), corpus) for q in queries])
    order = np.argsort(-every, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(every, order, 1), order


def brute_pairs(vectors, k):
    first, second = np.triu_indices(len(vectors), 1)
    scores = cosine(vectors[first], vectors[second])
    order = np.argsort(-scores, kind="stable")[:k]
    return scores[order], np.stack([first[order], second[order]], 1)


def vectors(n, width=24, *, seed=0, close=0.0):
    """Random vectors of many lengths; `close` puts them near one direction, as BERT's are."""
    random = np.random.default_rng(seed)
    made = random.normal(size=(n, width)) + close * np.ones(width)
    return (made * random.uniform(0.1, 30, (n, 1))).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(search, "BLOCK", 16)
    monkeypatch.setattr(search, "QUERIES", 7)
    monkeypatch.setattr(search, "PAIR_BLOCK", 16)
    monkeypatch.setattr(search, "_PAIR_COLUMNS", 2)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("close", [0.0, 3.0])
@pytest.mark.parametrize("k", [1, 10, 20, 203])
def test_the_k_closest_are_those_of_a_plain_loop(small_blocks, dtype, close, k):
    corpus, queries = vectors(203, close=close), vectors(30, seed=1, close=close)
    scores, rows = brute(corpus, queries, k)
    found = search.top_k(corpus, queries, k, dtype=dtype)
    assert np.array_equal(found.rows, rows)
    assert found.scores == pytest.approx(scores, abs=1e-14)


@pytest.mark.parametrize("dtype", FORMATS)
def test_of_equal_cosines_the_lower_row_comes_first(small_blocks, dtype):
    corpus = np.repeat(vectors(9, seed=3), 11, axis=0)[np.random.default_rng(0).permutation(99)]
    queries = vectors(5, seed=4)
    found = search.top_k(corpus, queries, 25, dtype=dtype)
    assert np.array_equal(found.rows, brute(corpus, queries, 25)[1])


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("n", "k"), [(2, 1), (16, 1), (17, 120), (83, 1), (83, 40), (83, 3403)])
@pytest.mark.parametrize("close", [0.0, 3.0])
def test_the_closest_pairs_are_those_of_a_plain_loop(small_blocks, dtype, n, k, close):
    given = vectors(n, close=close, seed=n)
    scores, rows = brute_pairs(given, k)
    found = search.top_pairs(given, k, dtype=dtype)
    assert np.array_equal(found.rows, rows)
    assert found.scores == pytest.approx(scores, abs=1e-14)


def test_equal_pairs_come_in_the_order_of_their_rows(small_blocks):
    given = np.repeat(vectors(12), 5, axis=0)
    assert np.array_equal(search.top_pairs(given, 100).rows, brute_pairs(given, 100)[1])


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_corpus_that_repeats_itself_keeps_few_candidates(small_blocks, monkeypatch, dtype):
    monkeypatch.setattr(search, "_HELD", 50)
    held, settle = [], search.Candidates._settle

    def settled(one):
        settle(one)
        held.append(len(one._group))

    monkeypatch.setattr(search.Candidates, "_settle", settled)
    corpus = np.repeat(vectors(2, seed=3), 300, axis=0)[np.random.default_rng(0).permutation(600)]
    queries = np.concatenate([vectors(3, seed=4), corpus[:4]])
    found = search.top_k(corpus, queries, 5, dtype=dtype)
    assert np.array_equal(found.rows, brute(corpus, queries, 5)[1])
    assert max(held) <= 4 * 5 * len(queries)
    held.clear()
    closest = search.top_pairs(corpus, 5, dtype=dtype)
    assert np.array_equal(closest.rows, brute_pairs(corpus, 5)[1])
    assert max(held) <= 50


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 130), st.integers(0, 10**6), st.floats(0, 8),
    st.sampled_from(FORMATS),
)  # fmt: skip
def test_no_true_cosine_lies_outside_its_bound(n, width, seed, close, dtype):
    a, b = vectors(n, width, seed=seed, close=close), vectors(33, width, seed=seed + 1, close=close)
    columns = search.Columns(search.unit_rows(a, 0, "a", dtype), 33)
    found = columns.cosines(search.unit_rows(b, 0, "b", dtype))
    true = np.array([cosine(np.broadcast_to(x, a.shape), a) for x in b])
    value = found.values.double()
    assert (np.abs(value.numpy() - true) <= found.spread(value).numpy()).all()
    assert (found.values.float() >= found.at_least(torch.from_numpy(true))).all()
    # A bound that says nothing would keep everything, and be slow.
    assert found.error < (0.02 if dtype == torch.bfloat16 else 1e-4)


def test_a_memory_map_of_another_float_type_is_read_in_place(small_blocks, tmp_path):
    given = vectors(70).astype(np.float16)
    np.save(tmp_path / "e.npy", given)
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    found = search.top_k(mapped, given[:3], 4)
    assert np.array_equal(found.rows, brute(given, given[:3], 4)[1])


def test_a_zero_vector_is_like_nothing(small_blocks):
    corpus = vectors(40)
    corpus[[3, 20]] = 0
    queries = np.stack([corpus[5], np.zeros(24, np.float32)])
    found = search.top_k(corpus, queries, 40)
    assert np.array_equal(found.rows, brute(corpus, queries, 40)[1])
    assert not found.scores[1].any()


@pytest.mark.parametrize("scale", [1e-45, 1e-42, 1e-39, 1e-30, 1e30, 5e35])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_length_of_a_vector_does_not_count(small_blocks, scale, dtype):
    """Below 3e-39 one over a length is beyond float32, above 8e37 it has few digits."""
    corpus = (vectors(60) * (4 * scale)).astype(np.float32)
    corpus[::2] = vectors(60)[::2]
    queries = np.stack([corpus[5], corpus[6]])
    found = search.top_k(corpus, queries, 9, dtype=dtype)
    scores, rows = brute(corpus, queries, 9)
    assert np.array_equal(found.rows, rows) and found.scores == pytest.approx(scores, abs=1e-12)


def test_progress_adds_up(small_blocks):
    rows, cells = [], []
    search.top_k(vectors(50), vectors(9), 2, advance=rows.append)
    search.top_pairs(vectors(50), 2, advance=cells.append)
    assert sum(rows) == 50 and sum(cells) == search.number_of_pairs(50) == 1225


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_number_that_is_none_is_refused_with_its_row(small_blocks, bad):
    corpus = vectors(40).astype(np.float64)
    corpus[37, 2] = bad
    for look in (lambda: search.top_k(corpus, corpus[:2], 1), lambda: search.top_pairs(corpus, 1)):
        with pytest.raises(UserError, match="corpus: row 37 holds NaN"):
            look()


@pytest.mark.parametrize(
    ("corpus", "queries", "k", "says"),
    [
        (vectors(5), vectors(2), 6, "k=6: corpus has 5 vectors, expected k from 1 to 5"),
        (vectors(5), vectors(2), 0, "k=0"),
        (vectors(5), vectors(2, width=25), 1, "queries: vectors 25 wide, but corpus has 24"),
        (vectors(5)[:0], vectors(2), 1, "corpus: holds no vectors"),
        (vectors(5), vectors(2)[:, 0], 1, "expected floating-point vectors"),
        (vectors(5).astype(int), vectors(2), 1, "int64 numbers"),
    ],
)
def test_a_search_without_an_answer_is_refused(corpus, queries, k, says):
    with pytest.raises(UserError, match=says):
        search.top_k(corpus, queries, k)


def test_more_pairs_than_there_are_is_refused():
    with pytest.raises(UserError, match="5 vectors and 10 pairs"):
        search.top_pairs(vectors(5), 11)


ROOT = Path(__file__).resolve().parents[2]
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


@pytest.mark.parametrize(
    ("words", "count", "said"),
    [
        (["queries=queries.txt"], 5, "k=10 was asked for; there are 5 vectors"),
        (["k=99"], 10, "k=99 was asked for; there are 10 pairs"),
    ],
)
def test_a_small_corpus_gives_what_it_has_and_says_so(typed, tmp_path, capsys, words, count, said):
    typed("corpus=corpus.txt", "output=f.parquet", *words)
    assert max(pq.read_table(tmp_path / "f.parquet")["rank"].to_pylist()) == count
    assert said in capsys.readouterr().out.splitlines()


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


def test_a_file_has_the_lines_that_encode_finds_in_it(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_bytes(b"\xef\xbb\xbfone\rone\r\n\ntwo\xe2\x80\xa8two\n")
    blocks = read_lines(path, 8).blocks()
    assert search._read(path) == [text for block in blocks for text in block]


def test_mistakes_are_one_line(typed, tmp_path, capsys):
    np.save("narrow.npy", np.ones((3, 5), np.float32))
    np.save("whole.npy", np.ones((3, 5), np.int64))
    Path("empty.txt").write_text("\n")
    Path("one.txt").write_text("alone\n")
    Path("bytes.txt").write_bytes(b"na\xefve\n")
    Path("half.npy").write_bytes(Path("narrow.npy").read_bytes()[:140])
    both = ("corpus=corpus.txt", "queries=queries.txt")
    for says, words in {
        "k=0": (*both, "k=0"),
        "vectors 5 wide, but corpus.txt has 32": ("corpus=corpus.txt", "queries=narrow.npy"),
        "int64 numbers": ("corpus=whole.npy", "queries=whole.npy", "k=1"),
        "holds no text": ("corpus=empty.txt", "queries=queries.txt"),
        "nowhere.txt: no such file": ("corpus=nowhere.txt", "queries=queries.txt"),
        "bytes.txt: cannot be read": ("corpus=bytes.txt",),
        "half.npy: cannot be read": ("corpus=half.npy", "queries=narrow.npy", "k=1"),
        "one.txt: one vector makes no pair": ("corpus=one.txt",),
        "cannot be written": (*both, "k=1", "output=corpus.txt/f.parquet"),
        "found with index=exact only": ("corpus=corpus.txt", "index=faiss", "k=1"),
        "corpus: is not set": ("queries=queries.txt",),
    }.items():
        assert says in refused(typed, capsys, *words), says


def test_tf32_by_the_environment_is_refused_on_a_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert search.fastest_format() == torch.float32
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    with pytest.raises(UserError, match=r"OVERRIDE=1: .*rounded to TF32.*: unset TORCH_ALLOW"):
        search.fastest_format()
