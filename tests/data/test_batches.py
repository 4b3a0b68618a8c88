"""An epoch is every row once; where it stops it goes on, under Lightning too."""

from __future__ import annotations

import threading
import time
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from sbert_repro.batch import Batch
from sbert_repro.data.batches import BatchStream, Prefetched, pad
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


def rows_of(batches) -> list[list[int]]:
    return [batch.rows.tolist() for batch in batches]


sizes = {"rows": st.integers(1, 40), "batch_size": st.integers(1, 9), "seed": st.integers(0, 2**31)}


@given(**sizes, epoch=st.integers(0, 5))
def test_an_epoch_is_every_row_once(rows, batch_size, seed, epoch):
    batches = stream(rows, batch_size=batch_size, seed=seed)
    batches.set_epoch(epoch)
    taken = rows_of(batches)
    assert sorted(chain.from_iterable(taken)) == list(range(rows))
    assert len(taken) == len(batches)
    assert all(len(batch) == batch_size for batch in taken[:-1])


@given(**sizes, epoch=st.integers(0, 5), data=st.data())
def test_it_goes_on_where_it_stood(rows, batch_size, seed, epoch, data):
    options = {"rows": rows, "batch_size": batch_size, "seed": seed}
    whole, stopped, resumed = (stream(**options) for _ in range(3))
    whole.set_epoch(epoch)
    expected = list(whole)
    stopped.set_epoch(epoch)
    stop = data.draw(st.integers(0, len(expected)))
    list(islice(stopped, stop))
    resumed.load_state_dict(stopped.state_dict())
    resumed.set_epoch(epoch)  # Lightning names the epoch under way after it has loaded a state
    remaining = list(resumed)
    assert rows_of(remaining) == rows_of(expected[stop:])
    for ours, theirs in zip(remaining, expected[stop:], strict=True):
        assert torch.equal(ours.tokens.ids, theirs.tokens.ids)
        assert torch.equal(ours.tokens.mask, theirs.tokens.mask)
        assert torch.equal(ours.target, theirs.target)
    resumed.set_epoch(epoch + 1)
    whole.set_epoch(epoch + 1)
    assert rows_of(resumed) == rows_of(whole)


def test_order_is_of_seed_and_epoch_alone():
    first = stream(50)
    zeroth = rows_of(first)
    assert zeroth == rows_of(stream(50)) != rows_of(stream(50, seed=2))
    first.set_epoch(1)
    assert rows_of(first) != zeroth
    first.set_epoch(0)
    assert rows_of(first) == zeroth


def test_dev_order_is_the_files_and_a_second_pass_begins_at_the_beginning():
    batches = stream(6, shuffle=False)
    list(islice(batches, 1))
    assert rows_of(batches) == [[0, 1, 2, 3], [4, 5]]


@given(rows=st.integers(1, 12), pad_id=st.integers(0, 3))
def test_both_sentences_are_in_one_batch_padded_to_its_longest(rows, pad_id):
    left, right = column(rows, 1), column(rows, 2)
    for batch in BatchStream([left, right], None, batch_size=5, seed=3, pad_id=pad_id):
        texts = [side.row(i) for side in (left, right) for i in batch.rows]
        ids, mask = batch.tokens.ids, batch.tokens.mask
        assert ids.shape == mask.shape == (len(texts), max(map(len, texts)))
        assert (ids.dtype, mask.dtype) == (torch.int64, torch.bool)
        for text, line, real in zip(texts, ids, mask, strict=True):
            assert line[real].tolist() == text.tolist()
            assert real.tolist() == [True] * len(text) + [False] * (len(real) - len(text))
            assert (line[~real] == pad_id).all()
        assert (batch.columns, batch.target, batch.tokens.types) == (2, None, None)


@pytest.mark.parametrize(
    ("target", "dtype"), [(np.arange(4), torch.int64), (np.linspace(0, 1, 4), torch.float32)]
)
def test_labels_are_whole_scores_are_float32_and_each_is_its_rows(target, dtype):
    for batch in BatchStream([column(4)], target, batch_size=3):
        assert batch.target.dtype == dtype
        assert batch.target.tolist() == pytest.approx(target[batch.rows.numpy()].tolist())


@pytest.mark.parametrize(
    "other", [{"batch_size": 5}, {"seed": 2}, {"shuffle": False}, {"rows": 12}]
)
def test_a_state_of_other_batches_is_refused(other):
    with pytest.raises(UserError, match="resume with the same settings"):
        stream().load_state_dict(stream(**other).state_dict())


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(UserError, match="batch_size=0"):
        stream(batch_size=0)


def test_padding_on_its_own():
    tokens = pad([np.array([5]), np.array([6, 7, 8])], pad_id=9)
    assert tokens.ids.tolist() == [[5, 9, 9], [6, 7, 8]]
    assert tokens.mask.tolist() == [[True, False, False], [True, True, True]]


class Recorder(LightningModule):
    """One weight that depends on every batch and on their order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, list[int]]] = []

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch.rows.tolist()))
        return ((self.weight - batch.rows.float().mean()) ** 2).sum()

    def validation_step(self, batch: Batch, _: int) -> None:
        assert batch.rows.tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, options, resume=None) -> Recorder:
    module = Recorder()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        callbacks=[
            ModelCheckpoint(
                folder,
                "{step}",
                every_n_train_steps=1,
                save_top_k=-1,
                save_on_train_epoch_end=False,
            )
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module, stream(), stream(shuffle=False), ckpt_path=resume)
    return module


@pytest.mark.parametrize(
    "options",
    [
        {"limit_val_batches": 0},
        {"val_check_interval": 2},
        {"val_check_interval": 2, "check_val_every_n_epoch": None},
        {"limit_train_batches": 2},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_lightning_resumes_after_any_step_with_the_same_batches(options, tmp_path):
    whole = fit(tmp_path / "whole", options)
    epochs = [[rows for epoch, rows in whole.seen if epoch == wanted] for wanted in (0, 1)]
    assert epochs[0] != epochs[1], "each epoch has its own order"
    if "limit_train_batches" not in options:
        assert all(sorted(chain.from_iterable(epoch)) == list(range(11)) for epoch in epochs)
    checkpoints = sorted((tmp_path / "whole").glob("*.ckpt"))
    assert len(checkpoints) == len(whole.seen)
    for checkpoint in checkpoints:
        step = int(checkpoint.stem.removeprefix("step="))
        resumed = fit(tmp_path / "resumed", options, checkpoint)
        assert resumed.seen == whole.seen[step:], f"after step {step}"
        assert torch.equal(resumed.weight, whole.weight)


@pytest.fixture
def threads():
    """The threads that a test has started, without what others have dropped."""
    others = set(threading.enumerate())
    return lambda: [thread for thread in threading.enumerate() if thread not in others]


def test_prefetched_items_are_the_same_in_the_same_order(threads):
    assert list(Prefetched(iter(range(50)))) == list(range(50))
    items = Prefetched(iter([0, None, ""]))
    assert list(items) == [0, None, ""], "an item may be false"
    assert list(items) == [], "after its end it stays ended"
    assert threads() == []


def test_the_next_item_is_made_while_this_one_is_used():
    made: list[tuple[int, bool]] = []
    second = threading.Event()

    def items():
        for number in range(4):
            made.append((number, threading.current_thread() is threading.main_thread()))
            if number == 1:
                second.set()
            yield number

    ahead = Prefetched(items())
    assert next(ahead) == 0
    assert second.wait(30)
    time.sleep(0.01)
    assert made == [(0, False), (1, False)], "one ahead and not more"
    ahead.close()


def test_an_error_is_raised_as_itself_in_its_place(threads):
    def items():
        yield 1
        raise UserError("the file is gone")

    ahead, seen = Prefetched(items()), []
    with pytest.raises(UserError, match=r"^the file is gone$"):
        seen.extend(ahead)
    assert seen == [1] and threads() == []


def test_closed_in_the_middle_it_leaves_no_thread(threads):
    ahead = Prefetched(iter(range(10)))
    assert next(ahead) == 0 and len(threads()) == 1
    ahead.close()
    assert threads() == []


def test_dropped_it_waits_for_nothing_and_its_thread_ends(threads):
    slow = threading.Event()

    def items():
        yield 1
        slow.wait(60)
        yield 2

    ahead = Prefetched(items())
    assert next(ahead) == 1
    (thread,) = threads()
    del ahead  # collected here and now, while its thread is busy
    slow.set()
    thread.join(60)
    assert not thread.is_alive()
