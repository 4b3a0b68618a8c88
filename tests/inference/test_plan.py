"""Batches of like length: each sentence once, none over the budget."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.inference.plan import plan

LENGTHS = st.lists(st.integers(1, 200), max_size=60)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 500))
def test_every_sentence_is_in_one_batch_and_batches_keep_to_the_budget(lengths, budget):
    batches = plan(np.array(lengths, np.int64), budget)
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= budget


@settings(deadline=None)
@given(LENGTHS.filter(bool), st.integers(1, 500))
def test_the_longest_comes_first_and_no_batch_could_take_one_more(lengths, budget):
    batches = plan(np.array(lengths), budget)
    in_order = [lengths[row] for rows in batches for row in rows]
    assert in_order == sorted(lengths, reverse=True)
    for rows in batches[:-1]:
        assert (len(rows) + 1) * lengths[rows[0]] > budget


def test_equal_lengths_keep_their_order():
    assert [rows.tolist() for rows in plan(np.array([3, 3, 3, 5]), 6)] == [[3], [0, 1], [2]]
