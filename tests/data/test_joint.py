"""Two texts in one row, as transformers puts them together."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.backbone.transformer import load_tokenizer
from sbert_repro.data.batching import BatchStream, pad
from sbert_repro.data.joint import JointColumn, PairForm
from sbert_repro.data.tokens import TokenColumn
from sbert_repro.data.word_pieces import WordPieces

TEXTS = ["a man plays the guitar", "no", "", "the dog runs in the park, quickly", "cat"]


def alone(tokenizer, texts, longest=200):
    return WordPieces(tokenizer, longest)(texts)


def column(rows):
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return TokenColumn(np.concatenate(rows), offsets, 0, 0)


@pytest.fixture(params=["tiny_bert", "tiny_roberta"])
def tokenizer(request):
    return load_tokenizer(request.getfixturevalue(request.param))


@pytest.mark.parametrize("longest", [7, 12, 13, 64])
def test_a_row_is_what_the_tokenizer_makes_of_the_pair(tokenizer, longest):
    form = PairForm(tokenizer)
    for first in TEXTS:
        for second in TEXTS:
            row = form.join(*alone(tokenizer, [first, second]), longest)
            # As a batch: alone, an empty second text counts there as none at all.
            batch = tokenizer([first], [second], truncation="longest_first", max_length=longest)
            wanted = {name: rows[0] for name, rows in batch.items()}
            assert row[0].tolist() == wanted["input_ids"], (first, second)
            assert row[1].tolist() == wanted.get("token_type_ids", [0] * row.shape[1])
            assert row.dtype == np.int32


def test_the_second_sentence_of_bert_has_another_type(tiny_bert):
    tokenizer = load_tokenizer(tiny_bert)
    ids, types = PairForm(tokenizer).join(*alone(tokenizer, ["a man", "the dog runs"]), 64)
    text = ["[CLS]", "a", "man", "[SEP]", "the", "dog", "runs", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(ids.tolist()) == text
    assert types.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(4, 40))
def test_only_the_longer_text_is_cut_as_long_as_that_is_enough(tiny_form, one, other, longest):
    form, specials = tiny_form
    rows = [np.arange(100, 100 + n, dtype=np.int32) for n in (one, other)]
    whole = form.join(*([np.r_[2, row, 3] for row in rows]), longest)
    kept = [int(((whole[1] == kind) & (whole[0] >= 100)).sum()) for kind in (0, 1)]
    room = longest - specials
    assert sum(kept) == min(one + other, room)
    short = min(one, other)
    assert min(kept) == min(short, room // 2)
    assert whole.shape[1] == min(int(form.lengths(len(rows[0]) + 2, len(rows[1]) + 2)), longest)


@pytest.fixture(scope="module")
def tiny_form(tiny_bert):
    form = PairForm(load_tokenizer(tiny_bert))
    return form, form.specials


def test_a_column_of_pairs_counts_what_it_cuts(tokenizer):
    first, second = alone(tokenizer, TEXTS), alone(tokenizer, TEXTS[::-1])
    form = PairForm(tokenizer)
    lengths = [len(ids) for ids in tokenizer(TEXTS, TEXTS[::-1])["input_ids"]]
    longest = sorted(lengths)[2]
    pairs = JointColumn(column(first), column(second), form, longest)
    assert len(pairs) == len(TEXTS)
    assert pairs.cut == sum(length > longest for length in lengths)
    assert [pairs.row(i).shape[1] for i in range(len(pairs))] == [min(n, longest) for n in lengths]


def test_batches_of_pairs_carry_types_and_padding_has_type_0(tiny_bert):
    tokenizer = load_tokenizer(tiny_bert)
    columns = [column(alone(tokenizer, texts)) for texts in (TEXTS, TEXTS[::-1])]
    pairs = JointColumn(*columns, PairForm(tokenizer), 64)
    stream = BatchStream([pairs], np.arange(5) / 4, batch_size=5, shuffle=False, pad_id=9)
    (batch,) = stream
    assert batch.columns == 1 and len(batch.split(torch.zeros(5, 2))) == 1
    wanted = tokenizer(TEXTS, TEXTS[::-1], padding=True, return_tensors="pt")
    assert torch.equal(batch.tokens.types, wanted["token_type_ids"])
    assert torch.equal(batch.tokens.mask, wanted["attention_mask"].bool())
    assert torch.equal(batch.tokens.ids[batch.tokens.mask], wanted["input_ids"][batch.tokens.mask])
    assert (batch.tokens.ids[~batch.tokens.mask] == 9).all()
    assert torch.equal(batch.to("cpu").tokens.types, batch.tokens.types)


def test_single_texts_have_no_types(tokenizer):
    assert pad(alone(tokenizer, TEXTS), 0).types is None
