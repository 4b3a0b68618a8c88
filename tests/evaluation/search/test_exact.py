"""Exact search gives what a plain float64 loop gives, whatever the format of its products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.errors import UserError
from sbert_repro.evaluation.search import candidates, exact, pairs, products
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
    monkeypatch.setattr(exact, "BLOCK", 16)
    monkeypatch.setattr(exact, "QUERIES", 7)
    monkeypatch.setattr(pairs, "BLOCK", 16)
    monkeypatch.setattr(pairs, "_COLUMNS", 2)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("close", [0.0, 3.0])
@pytest.mark.parametrize("k", [1, 10, 20, 203])
def test_the_k_closest_are_those_of_a_plain_loop(small_blocks, dtype, close, k):
    corpus, queries = vectors(203, close=close), vectors(30, seed=1, close=close)
    scores, rows = brute(corpus, queries, k)
    found = exact.top_k(corpus, queries, k, dtype=dtype)
    assert np.array_equal(found.rows, rows)
    assert found.scores == pytest.approx(scores, abs=1e-14)


@pytest.mark.parametrize("dtype", FORMATS)
def test_of_equal_cosines_the_lower_row_comes_first(small_blocks, dtype):
    corpus = np.repeat(vectors(9, seed=3), 11, axis=0)[np.random.default_rng(0).permutation(99)]
    queries = vectors(5, seed=4)
    found = exact.top_k(corpus, queries, 25, dtype=dtype)
    assert np.array_equal(found.rows, brute(corpus, queries, 25)[1])


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(("n", "k"), [(2, 1), (16, 1), (17, 120), (83, 1), (83, 40), (83, 3403)])
@pytest.mark.parametrize("close", [0.0, 3.0])
def test_the_closest_pairs_are_those_of_a_plain_loop(small_blocks, dtype, n, k, close):
    given = vectors(n, close=close, seed=n)
    scores, rows = brute_pairs(given, k)
    found = pairs.top_pairs(given, k, dtype=dtype)
    assert np.array_equal(found.rows, rows)
    assert found.scores == pytest.approx(scores, abs=1e-14)


def test_equal_pairs_come_in_the_order_of_their_rows(small_blocks):
    given = np.repeat(vectors(12), 5, axis=0)
    assert np.array_equal(pairs.top_pairs(given, 100).rows, brute_pairs(given, 100)[1])


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_corpus_that_repeats_itself_keeps_few_candidates(small_blocks, monkeypatch, dtype):
    monkeypatch.setattr(candidates, "_HELD", 50)
    held, settle = [], candidates.Candidates._settle

    def settled(one):
        settle(one)
        held.append(len(one._group))

    monkeypatch.setattr(candidates.Candidates, "_settle", settled)
    corpus = np.repeat(vectors(2, seed=3), 300, axis=0)[np.random.default_rng(0).permutation(600)]
    queries = np.concatenate([vectors(3, seed=4), corpus[:4]])
    found = exact.top_k(corpus, queries, 5, dtype=dtype)
    assert np.array_equal(found.rows, brute(corpus, queries, 5)[1])
    assert max(held) <= 4 * 5 * len(queries)
    held.clear()
    closest = pairs.top_pairs(corpus, 5, dtype=dtype)
    assert np.array_equal(closest.rows, brute_pairs(corpus, 5)[1])
    assert max(held) <= 50


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 130), st.integers(0, 10**6), st.floats(0, 8),
    st.sampled_from(FORMATS),
)  # fmt: skip
def test_no_true_cosine_lies_outside_its_bound(n, width, seed, close, dtype):
    a, b = vectors(n, width, seed=seed, close=close), vectors(33, width, seed=seed + 1, close=close)
    columns = products.Columns(products.unit_rows(a, 0, "a", dtype), 33)
    found = columns.cosines(products.unit_rows(b, 0, "b", dtype))
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
    found = exact.top_k(mapped, given[:3], 4)
    assert np.array_equal(found.rows, brute(given, given[:3], 4)[1])


def test_a_zero_vector_is_like_nothing(small_blocks):
    corpus = vectors(40)
    corpus[[3, 20]] = 0
    queries = np.stack([corpus[5], np.zeros(24, np.float32)])
    found = exact.top_k(corpus, queries, 40)
    assert np.array_equal(found.rows, brute(corpus, queries, 40)[1])
    assert not found.scores[1].any()


@pytest.mark.parametrize("scale", [1e-45, 1e-42, 1e-39, 1e-30, 1e30, 5e35])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_length_of_a_vector_does_not_count(small_blocks, scale, dtype):
    """Below 3e-39 one over a length is beyond float32, above 8e37 it has few digits."""
    corpus = (vectors(60) * (4 * scale)).astype(np.float32)
    corpus[::2] = vectors(60)[::2]
    queries = np.stack([corpus[5], corpus[6]])
    found = exact.top_k(corpus, queries, 9, dtype=dtype)
    scores, rows = brute(corpus, queries, 9)
    assert np.array_equal(found.rows, rows) and found.scores == pytest.approx(scores, abs=1e-12)


def test_progress_adds_up(small_blocks):
    rows, cells = [], []
    exact.top_k(vectors(50), vectors(9), 2, advance=rows.append)
    pairs.top_pairs(vectors(50), 2, advance=cells.append)
    assert sum(rows) == 50 and sum(cells) == pairs.number_of_pairs(50) == 1225


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_a_number_that_is_none_is_refused_with_its_row(small_blocks, bad):
    corpus = vectors(40).astype(np.float64)
    corpus[37, 2] = bad
    for search in (lambda: exact.top_k(corpus, corpus[:2], 1), lambda: pairs.top_pairs(corpus, 1)):
        with pytest.raises(UserError, match="corpus: row 37 holds NaN"):
            search()


@pytest.mark.parametrize(
    ("corpus", "queries", "k", "says"),
    [
        (vectors(5), vectors(2), 6, "k=6: corpus has 5 vectors, expected k from 1 to 5"),
        (vectors(5), vectors(2), 0, "k=0"),
        (vectors(5), vectors(2, width=25), 1, "queries: vectors 25 wide, but corpus has 24"),
        (vectors(5)[:0], vectors(2), 1, "corpus: holds no vectors"),
        (vectors(5), vectors(2)[:, 0], 1, "expected floating-point vectors"),
        (vectors(5).astype(int), vectors(2), 1, "found int64 numbers"),
    ],
)
def test_a_search_without_an_answer_is_refused(corpus, queries, k, says):
    with pytest.raises(UserError, match=says):
        exact.top_k(corpus, queries, k)


def test_more_pairs_than_there_are_is_refused():
    with pytest.raises(UserError, match="5 vectors and 10 pairs"):
        pairs.top_pairs(vectors(5), 11)
