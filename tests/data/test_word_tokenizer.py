"""Which rows of a file of word vectors a text becomes."""

import json

import numpy as np
import pytest

from sbert_repro.data.word_tokenizer import DESCRIPTION, WordRows, WordTokenizer
from sbert_repro.data.word_tokens import moses
from sbert_repro.data.word_vectors import WordVectors
from sbert_repro.errors import UserError

CASED = ["the", "The", "do", "n't", "don", "'t", "go", "<s>", "</s>", "."]
LOWER = ["the", "go", "."]


def tokenizer(words, **options):
    index = {word: row for row, word in enumerate(words)}
    values = np.zeros((len(words), 2), np.float32)
    return WordTokenizer(WordVectors(index, values, "ab" * 32, []), "v.txt", **options)


def words_of(made, text, max_length=100):
    names = [*CASED, "0"] if made.pad_token_id == len(CASED) else [*LOWER, "0"]
    return [names[row] for row in WordRows(made, max_length)([text])[0]]


def test_words_are_looked_up_as_written_between_markers():
    made = tokenizer(CASED)
    assert words_of(made, "The zebra Go, don't go.") == "<s> The do n't go . </s>".split()
    assert made.num_special_tokens_to_add() == 2 and not made.lowercase


def test_vectors_without_capitals_are_asked_for_lower_case():
    made = tokenizer(LOWER)
    assert words_of(made, "The zebra GO.") == ["the", "go", "."]
    assert made.num_special_tokens_to_add() == 0 and made.lowercase


def test_a_text_of_which_nothing_is_left_is_the_end_marker():
    assert words_of(tokenizer(CASED), "") == ["<s>", "</s>"]
    assert words_of(tokenizer(LOWER), "zebra") == ["0"], "a vector of zeros where it has none"


def test_moses_moves_the_n_as_infersents_second_version_does():
    assert moses("I don't go.") == ["I", "don", "'t", "go", "."]
    assert moses("We can't") == ["We", "ca", "n't"], "not at the end"
    assert words_of(tokenizer(CASED, split="moses"), "don't go") == "<s> don 't go </s>".split()


def test_cut_empty_and_unknown_words_are_counted():
    made = WordRows(tokenizer(CASED), 2)
    rows = made(["the do go", "the do", "zebra", ""])
    assert [len(row) for row in rows] == [4, 4, 2, 2]
    assert (made.truncated, made.empty, made.words, made.unknown) == (1, 2, 6, 1)
    assert rows[0].dtype == np.int32


def test_what_it_does_tells_one_from_another_and_not_where_the_file_lies():
    one = tokenizer(CASED)
    assert one.identity == tokenizer(CASED).identity
    others = [tokenizer(CASED, split="moses"), tokenizer(CASED, markers=("<p>", "</p>"))]
    others += [tokenizer(LOWER)]
    assert len({made.identity for made in (one, *others)}) == 4


def test_a_model_folder_says_which_vectors_it_needs(tmp_path):
    tokenizer(CASED).save_pretrained(tmp_path)
    assert json.loads((tmp_path / DESCRIPTION).read_text()) == {
        "word_vectors": "v.txt",
        "sha256": "ab" * 32,
        "split": "penn_treebank",
        "markers": ["<s>", "</s>"],
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "spaces"}, r"encoder\.tokenisation=spaces is unknown: use penn_treebank or mos"),
        ({"markers": ["<s>"]}, r"encoder\.markers=\['<s>'\]: expected two"),
    ],
)
def test_an_unknown_way_is_one_line(options, said):
    with pytest.raises(UserError, match=said):
        tokenizer(CASED, **options)


def test_no_length_at_all_is_refused():
    with pytest.raises(UserError, match="max_length=0"):
        WordRows(tokenizer(CASED), 0)
