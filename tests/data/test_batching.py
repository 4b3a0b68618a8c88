"""An epoch is every row once; where it stops it goes on."""

from __future__ import annotations

from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.batch import Batch
from sbert_repro.data.batching import BatchStream, pad
from sbert_repro.data.tokens import TokenColumn
from sbert_repro.errors import UserError


def column(rows: int, seed: int = 0) -> TokenColumn:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 7, rows)
    ids = random.integers(1, 1000, lengths.sum()).astype(np.int32)
    return TokenColumn(ids, np.concatenate([[0], np.cumsum(lengths)]), 0, 0)


def stream(rows: int = 11, **options: Any) -> BatchStream:
    options = {"batch_size": 4, "seed": 1} | options
    columns = [column(rows, seed) for seed in (1, 2)]
    return BatchStream(columns, np.arange(rows) % 3, **options)


def rows_of(batches: list[Batch]) -> list[list[int]]:
    return [batch.rows.tolist() for batch in batches]


sizes = {"rows": st.integers(1, 40), "batch_size": st.integers(1, 9), "seed": st.integers(0, 2**31)}


@given(**sizes, epoch=st.integers(0, 5))
def test_an_epoch_is_every_row_once(rows: int, batch_size: int, seed: int, epoch: int) -> None:
    batches = stream(rows, batch_size=batch_size, seed=seed)
    batches.set_epoch(epoch)
    taken = rows_of(list(batches))
    assert sorted(chain.from_iterable(taken)) == list(range(rows))
    assert len(taken) == len(batches)
    assert all(len(batch) == batch_size for batch in taken[:-1])


@given(**sizes, epoch=st.integers(0, 5), data=st.data())
def test_it_goes_on_where_it_stood(
    rows: int, batch_size: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    whole = stream(rows, batch_size=batch_size, seed=seed)
    whole.set_epoch(epoch)
    expected = list(whole)
    stopped = stream(rows, batch_size=batch_size, seed=seed)
    stopped.set_epoch(epoch)
    stop = data.draw(st.integers(0, len(expected)))
    list(islice(stopped, stop))
    resumed = stream(rows, batch_size=batch_size, seed=seed)
    resumed.load_state_dict(stopped.state_dict())
    remaining = list(resumed)
    assert rows_of(remaining) == rows_of(expected[stop:])
    for ours, theirs in zip(remaining, expected[stop:], strict=True):
        assert torch.equal(ours.tokens.ids, theirs.tokens.ids)
        assert torch.equal(ours.tokens.mask, theirs.tokens.mask)
        assert torch.equal(ours.target, theirs.target)
    resumed.set_epoch(epoch + 1)
    whole.set_epoch(epoch + 1)
    assert rows_of(list(resumed)) == rows_of(list(whole))


def test_order_is_of_seed_and_epoch_alone() -> None:
    first, again, other = stream(50), stream(50), stream(50, seed=2)
    assert rows_of(list(first)) == rows_of(list(again))
    assert rows_of(list(first)) != rows_of(list(other))
    zeroth = rows_of(list(first))
    first.set_epoch(1)
    assert rows_of(list(first)) != zeroth
    first.set_epoch(0)
    assert rows_of(list(first)) == zeroth


def test_a_second_pass_begins_at_the_beginning() -> None:
    batches = stream(shuffle=False)
    list(islice(batches, 2))
    assert rows_of(list(batches))[0] == [0, 1, 2, 3]


def test_naming_the_epoch_under_way_changes_nothing() -> None:
    """Lightning does so after it has loaded a state."""
    batches = stream()
    expected = rows_of(list(batches))
    batches.load_state_dict(batches.state_dict() | {"position": 1})
    batches.set_epoch(0)
    assert rows_of(list(batches)) == expected[1:]


def test_dev_order_is_the_files() -> None:
    assert rows_of(list(stream(6, shuffle=False))) == [[0, 1, 2, 3], [4, 5]]


@given(rows=st.integers(1, 12), pad_id=st.integers(0, 3))
def test_both_sentences_are_in_one_batch_padded_to_its_longest(rows: int, pad_id: int) -> None:
    left, right = column(rows, 1), column(rows, 2)
    batches = BatchStream([left, right], None, batch_size=5, seed=3, pad_id=pad_id)
    for batch in batches:
        texts = [side.row(i) for side in (left, right) for i in batch.rows]
        ids, mask = batch.tokens.ids, batch.tokens.mask
        assert ids.shape == mask.shape == (len(texts), max(map(len, texts)))
        assert (ids.dtype, mask.dtype) == (torch.int64, torch.bool)
        for text, line, real in zip(texts, ids, mask, strict=True):
            assert line[real].tolist() == text.tolist()
            assert real.tolist() == [True] * len(text) + [False] * (len(real) - len(text))
            assert (line[~real] == pad_id).all()
        assert (batch.columns, batch.target) == (2, None)


def test_columns_line_up_with_the_target() -> None:
    for batch in stream(11):
        assert batch.target.tolist() == (batch.rows % 3).tolist()
        first, second = batch.tokens.ids.chunk(2)
        assert len(first) == len(second) == len(batch.rows)


@pytest.mark.parametrize(
    ("target", "dtype"), [(np.arange(4), torch.int64), (np.linspace(0, 1, 4), torch.float32)]
)
def test_labels_are_whole_and_scores_are_float32(target: np.ndarray, dtype: torch.dtype) -> None:
    (batch,) = BatchStream([column(4)], target, batch_size=4)
    assert batch.target.dtype == dtype
    assert batch.target.tolist() == pytest.approx(target[batch.rows].tolist())


@pytest.mark.parametrize(
    "other", [{"batch_size": 5}, {"seed": 2}, {"shuffle": False}, {"rows": 12}]
)
def test_a_state_of_other_batches_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="resume with the same settings"):
        stream().load_state_dict(stream(**other).state_dict())


@pytest.mark.parametrize("bad", [0, -1])
def test_a_batch_of_nothing(bad: int) -> None:
    with pytest.raises(UserError, match=f"batch_size={bad}"):
        stream(batch_size=bad)


def test_padding_on_its_own() -> None:
    tokens = pad([np.array([5]), np.array([6, 7, 8])], pad_id=9)
    assert tokens.ids.tolist() == [[5, 9, 9], [6, 7, 8]]
    assert tokens.mask.tolist() == [[True, False, False], [True, True, True]]
