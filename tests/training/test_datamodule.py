"""The steps of a run as one sequence, from any step on."""

import subprocess
import sys
import threading
from itertools import chain, islice, product
from string import ascii_lowercase

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.backbone.packed import PackedTokens, pack
from sbert_repro.backbone.random_bert import Size, write_random_bert
from sbert_repro.batch import Tokens
from sbert_repro.data.batches import BatchStream
from sbert_repro.data.tokens import TokenColumn
from sbert_repro.errors import UserError
from sbert_repro.training.datamodule import TrainLoader, prepare_for


def stream(rows=7, size=3, seed=1):
    column = TokenColumn(np.arange(rows, dtype=np.int32), np.arange(rows + 1), 0, 0)
    return BatchStream([column, column], None, batch_size=size, seed=seed)


def rows_of(order):
    return [batch.rows.tolist() for batch in order]


def test_every_epoch_has_every_row_once_in_its_own_order():
    given_out = rows_of(TrainLoader(stream(), epochs=2))
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
    whole = rows_of(TrainLoader(stream(size=size), epochs, max_steps))
    order = TrainLoader(stream(size=size), epochs, max_steps)
    assert len(whole) == len(order) == order.steps
    stop = min(stop, len(whole))
    before = [next(batches).rows.tolist() for batches in [iter(order)] for _ in range(stop)]
    other = TrainLoader(stream(size=size), epochs, max_steps)
    other.load_state_dict(order.state_dict())
    assert before + rows_of(other) == whole


@pytest.mark.parametrize(("max_steps", "steps"), [(None, 6), (4, 4), (99, 6)])
def test_max_steps_shortens_and_never_lengthens(max_steps, steps):
    assert TrainLoader(stream(), 2, max_steps).steps == steps


def test_where_the_run_stands_counts_what_was_given_out():
    order = TrainLoader(stream(rows=30), epochs=2)
    batches = iter(order)
    for step in range(1, 20):
        next(batches)
        epoch, position = divmod(step - 1, 10)
        state = order.state_dict()
        assert state["step"] == step
        assert (state["stream"]["epoch"], state["stream"]["position"]) == (epoch, position + 1)
    order.close()


def test_a_batch_made_ahead_is_packed_as_the_network_would_and_draws_nothing():
    order, plain = TrainLoader(stream(rows=11), epochs=2), TrainLoader(stream(rows=11), epochs=2)
    order.prepare = prepare_for(torch.device("cpu"), packs=True)
    before = torch.get_rng_state()
    for ahead, batch in zip(order, plain, strict=True):
        assert isinstance(ahead.tokens.to("cpu"), PackedTokens)
        assert pack(ahead.tokens) is ahead.tokens.packing
        own = pack(batch.tokens)
        assert torch.equal(ahead.tokens.packing.ids, own.ids)
        assert torch.equal(ahead.tokens.packing.order, own.order)
        assert ahead.tokens.packing.lengths == own.lengths
        assert torch.equal(ahead.tokens.ids, batch.tokens.ids)
        assert torch.equal(ahead.rows, batch.rows)
    assert torch.equal(torch.get_rng_state(), before)


def test_elsewhere_packed_tokens_are_plain_ones():
    (batch,) = TrainLoader(stream(rows=3), epochs=1)
    packed = PackedTokens(batch.tokens.ids, batch.tokens.mask, packing=pack(batch.tokens))
    assert type(packed.to("meta")) is Tokens
    assert prepare_for(torch.device("cpu"), packs=False)(batch) is batch


def threads():
    return {t for t in threading.enumerate() if t.name.startswith("next-batch")}


def test_an_error_comes_out_as_itself_and_a_run_left_in_the_middle_leaves_no_thread():
    before = threads()  # of orders that other tests threw away
    order = TrainLoader(stream(rows=9), epochs=2)

    def gone(batch):
        if gone.left == 0:
            raise UserError("no room")
        gone.left -= 1
        return batch

    gone.left, order.prepare = 2, gone
    with pytest.raises(UserError, match=r"^no room$"):
        list(order)
    assert order.state_dict()["step"] == 2
    gone.left, batches = 9, iter(order)
    assert len(list(islice(batches, 1))) == 1
    assert threads() - before
    order.close()
    assert not threads() - before


LOADS = """
import sys
from sbert_repro.benchmarks.timing import peak_gb
from sbert_repro.compose import compose
from sbert_repro.training import pretrained
from sbert_repro.training.datamodule import load_examples

config = compose(sys.argv[1:])
backbone, tokenizer = pretrained.load(config)
batches = len(load_examples(config, tokenizer, backbone.positions).stream)
print(len(tokenizer), batches, peak_gb())
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_pairs_of_nli_are_tokenised_in_less_than_4_gb(tmp_path):
    """942,069 pairs of the lengths of NLI's sentences, and a vocabulary of BERT's size."""
    words = ["".join(letters) for letters in islice(product(ascii_lowercase, repeat=4), 30_433)]
    write_random_bert(tmp_path / "model", words, Size())
    draw, count = np.random.default_rng(0), 942_069

    def texts(mean):
        lengths = 1 + draw.poisson(mean - 1, count)
        chosen = np.array(words, object)[draw.integers(len(words), size=lengths.sum())]
        ends = np.cumsum(lengths)
        return [" ".join(chosen[a:b]) for a, b in zip(ends - lengths, ends, strict=True)]

    pairs = {"premise": texts(17), "hypothesis": texts(9), "label": "neutral", "source": "snli"}
    path = tmp_path / "nli" / "train.parquet"
    path.parent.mkdir()
    pd.DataFrame(pairs).to_parquet(path)
    options = ["experiment=nli", "encoder=transformer", f"encoder.path={tmp_path / 'model'}"]
    options += [f"paths.data={tmp_path}", f"paths.cache={tmp_path / 'cache'}", "checkpoint=last"]
    done = subprocess.run(
        [sys.executable, "-c", LOADS, *options], capture_output=True, text=True, check=True
    )
    pieces, batches, gigabytes = map(float, done.stdout.split())
    assert (pieces, batches) == (30_522, 58_880)
    assert 0 < gigabytes < 4
