"""Averaged word vectors, by hand and on the real tasks."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.compose import build, compose
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.encoders.word_average import WordAverageEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import evaluate

VECTORS = "cat 1 2\ndog 3 4\nthe 9 9\n. 5 5\nParis 0 1\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("words") / "v.txt"
    path.write_text(VECTORS)
    return path


def encoder(path: Path, tokenisation: str = "authors") -> WordAverageEncoder:
    return WordAverageEncoder(str(path), None, tokenisation, cache=str(path.parent / "cache"))


def test_authors_leave_out_stop_words_and_punctuation(small):
    vectors = encoder(small).encode(["The cat, dog.", "paris Paris", "the zebra", ""])
    np.testing.assert_array_equal(vectors, [[2, 3], [0, 1], [0, 0], [0, 0]])
    assert vectors.dtype == np.float32


def test_senteval_keeps_every_token(small):
    vectors = encoder(small, "senteval").encode(["the cat dog .", "Paris", ""])
    np.testing.assert_array_equal(vectors, [[4.5, 5], [0, 0], [0, 0]])


def test_it_is_a_sentence_encoder_that_knows_what_it_is(small, tmp_path):
    one, other = encoder(small), encoder(small, "senteval")
    assert isinstance(one, SentenceEncoder) and one.label == "Avg. v.txt"
    assert one.identity != other.identity
    (tmp_path / "elsewhere.txt").write_text(VECTORS)
    assert encoder(tmp_path / "elsewhere.txt").identity == one.identity


def test_words_without_a_vector_are_counted(small, caplog):
    with caplog.at_level(logging.INFO):
        encoder(small).encode(["cat zebra", "yak", "dog the"])
    assert "50.0 % of 4 words have no vector, 1 of 3 sentences have none at all" in caplog.text


def test_no_sentences_no_vectors(small):
    assert encoder(small).encode([]).shape == (0, 2)


def test_one_sentence_after_the_other_gives_the_same_vectors(small):
    loop = WordAverageEncoder(str(small), cache=str(small.parent / "cache"), loop=True)
    texts = ["The cat, dog.", "paris Paris", "the zebra", "", "dog cat cat"]
    np.testing.assert_allclose(loop.encode(texts), encoder(small).encode(texts), rtol=1e-6)
    assert loop.encode(texts).dtype == np.float32 and loop.encode([]).shape == (0, 2)
    assert loop.identity == encoder(small).identity, "records are found again"


@settings(max_examples=15)
@given(st.lists(st.text("catdogParis. ", max_size=30), max_size=20))
def test_a_sentence_does_not_depend_on_its_neighbours(tmp_path_factory, sentences):
    path = tmp_path_factory.getbasetemp() / "v.txt"
    path.write_text(VECTORS)
    one = encoder(path)
    alone = [one.encode([sentence])[0] for sentence in sentences]
    np.testing.assert_array_equal(one.encode(sentences), np.array(alone).reshape(-1, 2))


def test_long_inputs_are_cut_into_pieces_that_join_again(small, monkeypatch):
    sentences = ["cat", "", "cat dog", "zebra", "dog"] * 3
    whole = encoder(small).encode(sentences)
    monkeypatch.setattr("sbert_repro.encoders.word_average._BLOCK", 4)
    np.testing.assert_array_equal(encoder(small).encode(sentences), whole)


def test_an_unknown_tokenisation_is_one_line(small):
    with pytest.raises(UserError, match="there are: authors, senteval"):
        encoder(small, "moses")


@pytest.mark.parametrize("name", ["glove", "fasttext"])
def test_the_papers_rows_say_which_file_is_missing(name, tmp_path):
    config = compose([f"encoder={name}", f"paths.data={tmp_path}"], "evaluate")
    with pytest.raises(UserError, match=f"^{tmp_path}/word_vectors: .* download https"):
        build(config.encoder)


# Measured, then fixed: all words of glove.6B, 50 numbers each. The paper's GloVe row has 58.02 on
# STSb with 300. Words alone, without punctuation, give 41.81 there instead of 38.50.
GLOVE_50D = {
    "authors": [53.669, 65.998, 55.892, 66.360, 60.255, 55.684, 51.971],
    "senteval": [49.937, 42.275, 38.212, 50.873, 42.452, 38.496, 53.377],
}


@pytest.mark.parametrize("tokenisation", GLOVE_50D)
def test_sts_scores_of_the_packages_vectors(tokenisation, data_root, tmp_path):
    words = ["encoder=glove_6b_50d", f"encoder.tokenisation={tokenisation}"]
    config = compose([*words, f"paths.data={tmp_path}", f"paths.cache={tmp_path}"], "evaluate")
    try:
        one = build(config.encoder)
    except UserError as missing:
        assert missing.code == "missing", missing
        pytest.skip(str(missing))
    assert one.label == "Avg. GloVe 6B, 50 d" and len(one.vectors.index) == 400_000
    assert not list(tmp_path.iterdir())  # mapped where pip put it, not copied
    assert sts(one, data_root) == pytest.approx(GLOVE_50D[tokenisation], abs=0.01)


# Measured, then fixed. With other vectors the paper has 61.32 on average; others report the same
# gulf between the two tokenisations (58 against 41 on STSb).
MEASURED = {
    "authors": [49.106, 57.146, 52.322, 61.989, 52.080, 52.874, 48.674],
    "senteval": [42.896, 29.527, 32.672, 46.135, 34.873, 34.297, 51.085],
}


@pytest.mark.parametrize("tokenisation", MEASURED)
def test_sts_scores_of_the_real_vectors(tokenisation, data_root, tmp_path):
    path = data_root / "word_vectors" / "glove10k.100d.txt"
    one = WordAverageEncoder(str(path), None, tokenisation, cache=str(tmp_path))
    assert sts(one, data_root) == pytest.approx(MEASURED[tokenisation], abs=0.01)


def sts(one: WordAverageEncoder, data_root: Path) -> list[float]:
    """The seven scores of Table 1."""
    scores = evaluate(one, "sts", data_root)
    tasks = [*(f"sts{year}" for year in range(12, 17)), "stsb", "sickr"]
    return [scores[task].get("all", scores[task].get("spearman")) for task in tasks]
