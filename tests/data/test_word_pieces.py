"""Ids are the tokenizer's own; the limit counts word pieces and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sbert_repro.data.word_pieces import WordPieces, identity
from sbert_repro.errors import UserError

TEXTS = [
    "a dog runs in the park",
    "",
    "  ",
    "two men play guitar and piano outside . " * 9,
    "é 犬 !",
]


@pytest.fixture(scope="session", params=["tiny_bert", "tiny_roberta"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(request.getfixturevalue(request.param))


@pytest.mark.parametrize("max_length", [1, 5, 30])
def test_ids_are_those_of_the_tokenizer_cut_inside_its_special_tokens(
    tokenizer: PreTrainedTokenizerBase, max_length: int
) -> None:
    ours = WordPieces(tokenizer, max_length)(TEXTS)
    theirs = tokenizer(TEXTS, truncation=True, max_length=max_length + 2)["input_ids"]
    assert [row.tolist() for row in ours] == theirs


def test_real_word_pieces(minilm: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    ours = WordPieces(tokenizer, 6)(["A plane is taking off.", "Unbelievably antidisestablished"])
    theirs = tokenizer(
        ["A plane is taking off.", "Unbelievably antidisestablished"], truncation=True, max_length=8
    )
    assert [row.tolist() for row in ours] == theirs["input_ids"]


@given(words=st.integers(0, 12), max_length=st.integers(1, 12))
def test_a_text_is_cut_only_when_it_is_longer(
    tokenizer: PreTrainedTokenizerBase, words: int, max_length: int
) -> None:
    text = " ".join(["dog"] * words)
    length = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    pieces = WordPieces(tokenizer, max_length)
    (row,) = pieces([text])
    assert len(row) == min(length, max_length) + 2
    assert pieces.truncated == (length > max_length)
    assert pieces.empty == (words == 0)


def test_very_long_and_empty_texts_are_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    pieces = WordPieces(tokenizer, 8)
    rows = pieces(["a dog " * 16_667, "x" * 100_000, "", "dog"])
    assert max(map(len, rows)) <= 10
    assert len(rows[2]) == 2
    assert pieces.truncated >= 1
    assert pieces.empty == 1


def test_the_tokenizer_itself_is_left_as_it_was(tokenizer: PreTrainedTokenizerBase) -> None:
    before = tokenizer.backend_tokenizer.to_str()
    WordPieces(tokenizer, 3)(TEXTS)
    assert tokenizer.backend_tokenizer.to_str() == before


def test_identity_is_of_what_it_does(
    tokenizer: PreTrainedTokenizerBase, tiny_bert: Path, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    again(TEXTS, truncation=True, max_length=4, padding=True)
    assert identity(again) == identity(tokenizer)
    again.add_tokens(["sbert"])
    assert identity(again) != identity(tokenizer)


@pytest.mark.parametrize("bad", [0, -1])
def test_a_limit_that_leaves_nothing(tokenizer: PreTrainedTokenizerBase, bad: int) -> None:
    with pytest.raises(UserError, match=f"max_length={bad}"):
        WordPieces(tokenizer, bad)


def test_a_tokenizer_of_another_kind() -> None:
    slow: Any = SimpleNamespace(name_or_path="some/model")
    with pytest.raises(UserError, match=r"some/model has no tokenizer\.json"):
        WordPieces(slow, 3)


def test_counts_begin_afresh_and_the_tokenizer_is_shared(tokenizer):
    pieces = WordPieces(tokenizer, 2)
    again = pieces.afresh()
    found = [one(TEXTS) for one in (pieces, again)]
    assert [a.tolist() for a in found[0]] == [b.tolist() for b in found[1]]
    assert pieces.truncated == again.truncated > 0 and pieces.empty == again.empty
    assert pieces.afresh().truncated == pieces.afresh().empty == 0
