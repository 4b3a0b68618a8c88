"""All steps of a run in one sequence, from any step on."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.data.batching import BatchStream
from sbert_repro.data.tokens import TokenColumn
from sbert_repro.training.order import RunOrder


def stream(rows=7, size=3, seed=1):
    column = TokenColumn(np.arange(rows, dtype=np.int32), np.arange(rows + 1), 0, 0)
    return BatchStream([column, column], None, batch_size=size, seed=seed)


def rows_of(order):
    return [batch.rows.tolist() for batch in order]


def test_every_epoch_has_every_row_once_in_its_own_order():
    given_out = rows_of(RunOrder(stream(), epochs=2))
    assert [len(rows) for rows in given_out] == [3, 3, 1, 3, 3, 1]
    first, second = list(chain(*given_out[:3])), list(chain(*given_out[3:]))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


@given(
    epochs=st.integers(1, 4),
    size=st.integers(1, 8),
    max_steps=st.none() | st.integers(1, 20),
    stop=st.integers(0, 25),
)
def test_going_on_from_any_step_gives_what_was_left(epochs, size, max_steps, stop):
    whole = rows_of(RunOrder(stream(size=size), epochs, max_steps))
    order = RunOrder(stream(size=size), epochs, max_steps)
    assert len(whole) == len(order) == order.steps
    stop = min(stop, len(whole))
    before = [next(batches).rows.tolist() for batches in [iter(order)] for _ in range(stop)]
    other = RunOrder(stream(size=size), epochs, max_steps)
    other.load_state_dict(order.state_dict())
    assert before + rows_of(other) == whole


@pytest.mark.parametrize(("max_steps", "steps"), [(None, 6), (4, 4), (99, 6)])
def test_max_steps_shortens_and_never_lengthens(max_steps, steps):
    assert RunOrder(stream(), 2, max_steps).steps == steps
