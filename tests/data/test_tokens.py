"""Ids are the tokenizer's own; they are made once, whoever else is making them."""

from __future__ import annotations

import logging
import multiprocessing
import resource
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from sbert_repro.data import tokens
from sbert_repro.data.batches import BatchStream
from sbert_repro.data.read import Split
from sbert_repro.data.tokens import (
    PairColumn,
    PairTemplate,
    TokenColumn,
    WordPieces,
    cache_key,
    tokenise,
    tokenizer_sha256,
)
from sbert_repro.errors import UserError

# Forked, because importing the libraries once more would take longer than the tests.
FORK = multiprocessing.get_context("fork")
ODD_TEXTS = ["a dog runs in the park", "", "  ", "two men play guitar . " * 9, "é 犬 !", "x\ud83d"]
PAIR_TEXTS = ["a man plays the guitar", "no", "", "the dog runs in the park, quickly", "cat"]
TEXTS = {
    "premise": ["a dog runs", "", "two men play guitar outside in the park"],
    "hypothesis": ["a cat runs", "a man sings", "nobody eats"],
}


@pytest.fixture(scope="module")
def bert(tiny_bert):
    return AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture(scope="module")
def roberta(tiny_roberta):
    return AutoTokenizer.from_pretrained(tiny_roberta)


@pytest.fixture(params=["bert", "roberta"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("max_length", [1, 5, 30])
def test_ids_are_those_of_the_tokenizer_cut_inside_its_special_tokens(tokenizer, max_length):
    ours = WordPieces(tokenizer, max_length)(ODD_TEXTS)
    valid = [text.replace("\ud83d", "\ufffd") for text in ODD_TEXTS]
    theirs = tokenizer(valid, truncation=True, max_length=max_length + 2)["input_ids"]
    assert [row.tolist() for row in ours] == theirs


@pytest.mark.parametrize("words", [0, 1, 5, 6, 16_667])
def test_a_text_is_cut_only_when_it_is_longer(bert, words):
    pieces = WordPieces(bert, 5)
    (row,) = pieces(["dog " * words])
    assert len(row) == min(words, 5) + 2
    assert (pieces.truncated, pieces.empty) == (words > 5, words == 0)
    again = pieces.copy()
    assert again(["dog"])[0].tolist() == pieces(["dog"])[0].tolist() and again.truncated == 0


def test_the_tokenizer_itself_is_left_as_it_was(tokenizer):
    before = tokenizer.backend_tokenizer.to_str()
    WordPieces(tokenizer, 3)(ODD_TEXTS)
    assert tokenizer.backend_tokenizer.to_str() == before


def test_a_tokenizer_is_identified_by_what_it_does(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    again(ODD_TEXTS[0], truncation=True, max_length=4, padding=True)
    assert tokenizer_sha256(again) == tokenizer_sha256(tokenizer)
    again.add_tokens(["sbert"])
    assert tokenizer_sha256(again) != tokenizer_sha256(tokenizer)


def test_what_cannot_be_used_is_refused(bert):
    with pytest.raises(UserError, match="max_length=0: expected at least 1"):
        WordPieces(bert, 0)
    with pytest.raises(UserError, match=r"some/model: the tokenizer has no tokenizer\.json"):
        WordPieces(SimpleNamespace(name_or_path="some/model"), 3)


def test_a_cached_row_is_what_the_tokenizer_makes(bert, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(tokens, "_CHUNK", 2)
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            columns = tokenise(TEXTS, bert, 5, tmp_path, "key")
        assert caplog.messages == ["1 texts cut to 5 word pieces, 1 empty"], "in every run"
        assert list(columns) == list(TEXTS)
        for name, texts in TEXTS.items():
            rows = [columns[name].row(i).tolist() for i in range(len(columns[name]))]
            assert rows == [row.tolist() for row in WordPieces(bert, 5)(texts)]
        assert isinstance(columns["premise"].ids, np.memmap)
        assert columns["premise"].ids.dtype == np.int32
        monkeypatch.setattr(tokens, "_splitter", None)  # made once, then only read
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_the_key_is_of_everything_that_changes_the_rows(bert, roberta):
    split = Split("train", TEXTS, np.array([0, 1, 2]), None, [], "f" * 64, 3, 3)
    keys = [
        cache_key(split, None, bert, 128),
        cache_key(split, 3, bert, 128),
        cache_key(split, None, bert, 64),
        cache_key(replace(split, sha256="e" * 64), None, bert, 128),
        cache_key(replace(split, name="dev"), None, bert, 128),
        cache_key(replace(split, texts={k: v[:2] for k, v in TEXTS.items()}), None, bert, 128),
        cache_key(split, None, roberta, 128),
    ]
    assert len(set(keys)) == len(keys)
    assert cache_key(replace(split, target=None), None, bert, 128) == keys[0]


def test_a_failed_attempt_leaves_nothing(bert, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokens.AppendedArray, "append", full)
    with pytest.raises(UserError, match="no space left"):
        tokenise(TEXTS, bert, 5, tmp_path, "key")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_at_once(bert, tmp_path):
    texts = {"a": ["a dog runs " + "quickly " * (i % 9) for i in range(2_000)]}
    together, answers = FORK.Barrier(2), FORK.SimpleQueue()

    def race() -> None:
        together.wait()
        column = tokenise(texts, bert, 6, tmp_path, "key")["a"]
        answers.put((len(column), int(column.ids.sum())))

    racers = [FORK.Process(target=race) for _ in range(2)]
    for racer in racers:
        racer.start()
    found = [answers.get() for _ in racers]
    for racer in racers:
        racer.join()
    assert found[0] == found[1] and found[0][0] == 2_000
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("name", ["premise.ids.npy", "premise.offsets.npy", "premise.json"])
def test_a_damaged_cache_is_set_aside_named_and_made_again(name, bert, tmp_path, caplog):
    whole = tokenise(TEXTS, bert, 5, tmp_path, "key")["premise"].ids.tolist()
    file = tmp_path / "key" / name
    for content in (file.read_bytes()[:-3], b""):
        file.write_bytes(content)
        assert tokenise(TEXTS, bert, 5, tmp_path, "key")["premise"].ids.tolist() == whole
    assert caplog.text.count("its word pieces are made again") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["key", "key.broken", "key.broken2"]


def test_ids_beyond_the_vocabulary_are_not_believed(bert, tmp_path, caplog):
    whole = tokenise(TEXTS, bert, 5, tmp_path, "key")["premise"].ids.tolist()
    file = tmp_path / "key" / "premise.ids.npy"
    for wrong in (-1, 99_999):
        ids = np.load(file)
        ids[2] = wrong
        np.save(file, ids)
        assert tokenise(TEXTS, bert, 5, tmp_path, "key")["premise"].ids.tolist() == whole
    assert caplog.text.count("its premise is not") == 2


def test_other_texts_under_the_same_key_are_made_again(bert, tmp_path, caplog):
    tokenise(TEXTS, bert, 5, tmp_path, "key")
    assert len(tokenise({"premise": ["a", "b"]}, bert, 5, tmp_path, "key")["premise"]) == 2
    assert "is not 2 texts of" in caplog.text


class OnDemand(Sequence[str]):
    """Texts that exist only while they are asked for."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, part):
        return ["nobody eats outside . " * 16 for _ in range(*part.indices(self.rows))]


def test_memory_does_not_grow_with_the_rows(bert, tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "_CHUNK", 256)
    peaks = FORK.SimpleQueue()

    def measure() -> None:
        for rows in (1_024, 13_312):
            tokenise({"a": OnDemand(rows)}, bert, 64, tmp_path, f"{rows}")
            peaks.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    child = FORK.Process(target=measure)
    child.start()
    few, many = peaks.get(), peaks.get()
    child.join()
    # 12,288 more rows of 66 word pieces are 3.2 MB on disk, and more in any form in memory.
    assert many - few < 2, f"{many - few:.1f} MiB more"


def column_of(tokenizer, texts):
    rows = WordPieces(tokenizer, 200)(texts)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return TokenColumn(np.concatenate(rows), offsets, 0, 0)


@pytest.mark.parametrize("max_length", [7, 12, 13, 64])
def test_a_pair_is_what_the_tokenizer_makes_of_it(tokenizer, max_length):
    template, rows = PairTemplate(tokenizer), WordPieces(tokenizer, 200)(PAIR_TEXTS)
    for first, one in zip(PAIR_TEXTS, rows, strict=True):
        # As a batch: alone, an empty second text counts there as none at all.
        wanted = tokenizer(
            [first] * len(rows), PAIR_TEXTS, truncation="longest_first", max_length=max_length
        )
        for number, other in enumerate(rows):
            ids, types = template.join(one, other, max_length)
            assert ids.tolist() == wanted["input_ids"][number], (first, PAIR_TEXTS[number])
            if "token_type_ids" in wanted:
                assert types.tolist() == wanted["token_type_ids"][number]
            assert ids.dtype == np.int32


@given(st.integers(0, 30), st.integers(0, 30), st.integers(4, 40))
def test_the_longer_text_is_cut_first(bert, one, other, max_length):
    template = PairTemplate(bert)
    rows = [np.r_[2, np.arange(100, 100 + n), 3].astype(np.int32) for n in (one, other)]
    pair = template.join(*rows, max_length)
    kept = [int(((pair[1] == kind) & (pair[0] >= 100)).sum()) for kind in (0, 1)]
    room = max_length - template.specials
    assert sum(kept) == min(one + other, room)
    assert min(kept) == min(one, other, room // 2)
    assert pair.shape[1] == min(int(template.lengths(one + 2, other + 2)), max_length)


def test_a_column_of_pairs_counts_what_it_cuts(tokenizer):
    first, second = (column_of(tokenizer, texts) for texts in (PAIR_TEXTS, PAIR_TEXTS[::-1]))
    lengths = [len(ids) for ids in tokenizer(PAIR_TEXTS, PAIR_TEXTS[::-1])["input_ids"]]
    longest = sorted(lengths)[2]
    pairs = PairColumn(first, second, PairTemplate(tokenizer), longest)
    assert len(pairs) == len(PAIR_TEXTS)
    assert pairs.cut == sum(length > longest for length in lengths)
    assert [pairs.row(i).shape[1] for i in range(len(pairs))] == [min(n, longest) for n in lengths]


def test_in_both_orders_each_pair_comes_twice_with_its_score_and_its_row(bert):
    columns = [column_of(bert, texts) for texts in (PAIR_TEXTS, PAIR_TEXTS[::-1])]
    once, back = (PairColumn(*some, PairTemplate(bert), 9) for some in (columns, columns[::-1]))
    both = PairColumn(*columns, PairTemplate(bert), 9, swapped=True)
    assert len(both) == 2 * len(once) and both.cut == once.cut > 0
    for i in range(5):
        assert np.array_equal(both.row(i), once.row(i))
        assert np.array_equal(both.row(5 + i), back.row(i))
    gold = np.arange(5) / 4
    batches = list(BatchStream([both], gold, batch_size=3, seed=1))
    rows, target = (torch.cat([getattr(b, name) for b in batches]) for name in ("rows", "target"))
    assert sorted(rows.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert torch.equal(target, torch.from_numpy(gold)[rows].float())


def test_batches_of_pairs_carry_types_and_padding_has_type_0(bert):
    columns = [column_of(bert, texts) for texts in (PAIR_TEXTS, PAIR_TEXTS[::-1])]
    pairs = PairColumn(*columns, PairTemplate(bert), 64)
    stream = BatchStream([pairs], np.arange(5) / 4, batch_size=5, shuffle=False, pad_id=9)
    (batch,) = stream
    wanted = bert(PAIR_TEXTS, PAIR_TEXTS[::-1], padding=True, return_tensors="pt")
    assert batch.columns == 1
    assert torch.equal(batch.tokens.types, wanted["token_type_ids"])
    assert torch.equal(batch.tokens.mask, wanted["attention_mask"].bool())
    assert torch.equal(batch.tokens.ids[batch.tokens.mask], wanted["input_ids"][batch.tokens.mask])
    assert (batch.tokens.ids[~batch.tokens.mask] == 9).all()
