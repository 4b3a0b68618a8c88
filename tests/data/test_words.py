"""The tokenisation rules, the authors' against their own code; and the rows of words."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.data.word_vectors import WordVectors
from sbert_repro.data.words import (
    DESCRIPTION,
    WordRows,
    WordTokenizer,
    authors,
    moses,
    penn_treebank,
    senteval,
    stop_words,
)
from sbert_repro.errors import UserError

KNOWN = {"Paris", "cat", "u.s.", "cats", "n't", "don't", ",", "the", "."}
CASED = ["the", "The", "do", "n't", "don", "'t", "go", "<s>", "</s>", "."]
LOWER = ["the", "go", "."]


def test_authors_choose_the_same_words_as_the_authors_code(data_root):
    modules = "sentence_transformers.sentence_transformer.modules.tokenizer"
    assert set(pytest.importorskip(f"{modules}.word").ENGLISH_STOP_WORDS) == stop_words()
    whitespace = pytest.importorskip(f"{modules}.whitespace")
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
        ("Cat CAT (Cats)", ["cat", "cat", "cats"]),
        ("U.S. u.s.", [None, "u.s."]),
        ("a zebra ?! ... --", [None]),
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
        # Where NLTK splits otherwise; the numbers of every BiLSTM row rest on these.
        ("we cannot say `` no ''", "we cannot say `` no ''"),
        ("gonna '70s *** Jr.'s", "gonna '70s *** Jr.'s"),
        ("", ""),
    ],
)
def test_penn_treebank(sentence, tokens):
    assert penn_treebank(sentence) == tokens.split()


def test_moses_moves_the_n_as_infersents_second_version_does():
    assert moses("I don't go.") == ["I", "don", "'t", "go", "."]
    assert moses("We can't") == ["We", "ca", "n't"], "not at the end"


def test_senteval_keeps_every_token_in_lower_case():
    assert senteval("The cat, PARIS.", KNOWN) == ["the", "cat", ",", None, "."]


@given(st.lists(st.sampled_from("the cat u.s. n't 's `` '' . ... 1,000 dogs ' don".split())))
def test_a_sentence_that_is_split_stays_so(tokens):
    once = penn_treebank(" ".join(tokens))
    assert penn_treebank(" ".join(once)) == once


@given(st.text())
def test_nothing_is_invented_or_lost(text):
    assert set(authors(text, KNOWN)) <= KNOWN | {None}
    assert all(token in KNOWN or token is None for token in senteval(text, KNOWN))
    without_quotes = text.replace('"', "").replace("`", "").replace("'", "")
    assert "".join(penn_treebank(without_quotes)) == "".join(without_quotes.split())


def tokenizer_of(words, **options):
    index = {word: row for row, word in enumerate(words)}
    values = np.zeros((len(words), 2), np.float32)
    return WordTokenizer(WordVectors(index, values, "ab" * 32, []), "v.txt", **options)


def words_of(vocabulary, text, **options):
    names = [*vocabulary, "<zeros>"]
    return [names[row] for row in WordRows(tokenizer_of(vocabulary, **options), 100)([text])[0]]


def test_words_are_looked_up_as_written_between_markers():
    assert words_of(CASED, "The zebra Go, don't go.") == "<s> The do n't go . </s>".split()
    assert words_of(CASED, "don't go", split="moses") == "<s> don 't go </s>".split()
    assert tokenizer_of(CASED).num_special_tokens_to_add() == 2


def test_vectors_without_capitals_are_asked_for_lower_case():
    assert words_of(LOWER, "The zebra GO.") == ["the", "go", "."]
    assert tokenizer_of(LOWER).num_special_tokens_to_add() == 0


def test_a_text_of_which_nothing_is_left_is_the_end_marker():
    assert words_of(CASED, "") == ["<s>", "</s>"]
    assert words_of(LOWER, "zebra") == ["<zeros>"], "a vector of zeros where the marker has none"


def test_cut_empty_and_unknown_words_are_counted():
    split = WordRows(tokenizer_of(CASED), 2)
    rows = split(["the do go", "the do", "zebra", ""])
    assert [len(row) for row in rows] == [4, 4, 2, 2]
    assert (split.truncated, split.empty, split.words, split.unknown) == (1, 2, 6, 1)
    assert rows[0].dtype == np.int32


def test_what_it_does_tells_one_from_another():
    assert tokenizer_of(CASED).identity == tokenizer_of(CASED).identity
    others = [tokenizer_of(CASED), tokenizer_of(CASED, split="moses"), tokenizer_of(LOWER)]
    others += [tokenizer_of(CASED, markers=("<p>", "</p>"))]
    assert len({one.identity for one in others}) == 4


def test_a_model_folder_says_which_vectors_it_needs(tmp_path):
    tokenizer_of(CASED).save_pretrained(tmp_path)
    assert json.loads((tmp_path / DESCRIPTION).read_text()) == {
        "word_vectors": "v.txt",
        "sha256": "ab" * 32,
        "split": "penn_treebank",
        "markers": ["<s>", "</s>"],
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "spaces"}, r"encoder\.tokenisation=spaces: unknown: use penn_treebank or mos"),
        ({"markers": ["<s>"]}, r"encoder\.markers=\['<s>'\]: expected two"),
    ],
)
def test_an_unknown_option_is_one_line(options, said):
    with pytest.raises(UserError, match=said):
        tokenizer_of(CASED, **options)


def test_no_length_at_all_is_refused():
    with pytest.raises(UserError, match="max_length=0"):
        WordRows(tokenizer_of(CASED), 0)
