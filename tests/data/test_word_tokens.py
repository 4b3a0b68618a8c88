"""The two tokenisations: the authors', against their own code, and the Penn Treebank's."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.data.word_tokens import STOP_WORDS, authors, penn_treebank, senteval

KNOWN = {"Paris", "cat", "u.s.", "cats", "n't", "don't", ",", "the", "."}


def test_stop_words_are_the_authors():
    word = pytest.importorskip("sentence_transformers.sentence_transformer.modules.tokenizer.word")
    assert set(word.ENGLISH_STOP_WORDS) == STOP_WORDS


def test_authors_choose_the_same_words_as_the_authors_code(data_root):
    whitespace = pytest.importorskip(
        "sentence_transformers.sentence_transformer.modules.tokenizer.whitespace"
    )
    with (data_root / "word_vectors" / "glove10k.100d.txt").open(encoding="utf-8") as file:
        vocabulary = [line.partition(" ")[0] for line in file]
    theirs = whitespace.WhitespaceTokenizer(vocabulary)
    known = dict.fromkeys(vocabulary)
    texts = pq.read_table(data_root / "stsb" / "test.parquet")["sentence1"].to_pylist()
    for text in [*texts, "", " ", "'tis -- (U.S.) don't \"Cat\" ?!"]:
        ours = [word for word in authors(text, known) if word is not None]
        assert ours == [vocabulary[row] for row in theirs.tokenize(text)], text


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("The cat, in Paris!", ["cat", "Paris"]),
        ("Cat CAT cat", ["cat", "cat", "cat"]),
        ("(Cats)", ["cats"]),
        ("U.S. u.s.", [None, "u.s."]),
        ("a zebra", [None]),
        ("?! ... --", []),
        ("", []),
    ],
)
def test_authors(sentence, words):
    assert authors(sentence, KNOWN) == words


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("The cat sat, didn't it?", "The cat sat , did n't it ?"),
        ("It's the dogs' food; they'll eat.", "It 's the dogs ' food ; they 'll eat ."),
        ('He said "no".', "He said `` no '' ."),
        ("In the U.S. we paid $1,000 at 9:30.", "In the U.S. we paid $ 1,000 at 9:30 ."),
        ("Wait... what (really)?", "Wait ... what ( really ) ?"),
        ("yes -- 3.5% :", "yes -- 3.5 % :"),
        ("e-mail o'clock", "e-mail o'clock"),
        ("", ""),
    ],
)
def test_penn_treebank(sentence, tokens):
    assert penn_treebank(sentence) == tokens.split()


def test_senteval_keeps_every_token_in_lower_case():
    assert senteval("The cat, PARIS.", KNOWN) == ["the", "cat", ",", None, "."]


@given(st.lists(st.sampled_from("the cat u.s. n't 's `` '' . ... 1,000 dogs ' don".split())))
def test_a_sentence_that_is_split_stays_so(tokens):
    once = penn_treebank(" ".join(tokens))
    assert penn_treebank(" ".join(once)) == once


@given(st.text())
def test_nothing_is_invented(text):
    assert set(authors(text, KNOWN)) <= KNOWN | {None}
    assert all(token in KNOWN or token is None for token in senteval(text, KNOWN))
