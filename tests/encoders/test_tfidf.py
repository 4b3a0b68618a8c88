"""tf-idf: by hand, on sentences it has not seen, and kept away from what it is tested on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.compose import build, compose
from sbert_repro.encoders.base import FittedEncoder, SentenceEncoder
from sbert_repro.encoders.tfidf import TfidfEncoder
from sbert_repro.errors import UserError

TRAINING = ["the cat sat", "the dog sat", "the cat ran"]


def test_weights_are_smooth_inverse_document_frequencies():
    vector = TfidfEncoder().fitted(TRAINING).encode(["cat dog dog"])[0]
    # ln((1 + 3) / (1 + sentences with the word)) + 1, times the count, scaled to length 1
    cat, dog = np.log(4 / 3) + 1, 2 * (np.log(4 / 2) + 1)
    expected = np.array([cat, dog]) / np.hypot(cat, dog)
    np.testing.assert_allclose(sorted(vector[vector > 0]), sorted(expected), rtol=1e-6)
    assert vector.dtype == np.float32


def test_unknown_words_do_not_count_and_none_known_is_zero():
    fitted = TfidfEncoder().fitted(TRAINING)
    known, more, none = fitted.encode(["CAT", "cat zebra!", "zebra"])
    np.testing.assert_array_equal(known, more)
    assert not none.any() and fitted.encode([]).shape == (0, len(known))


def test_it_is_fitted_anew_each_time_and_says_on_what():
    encoder = TfidfEncoder()
    one, other = encoder.fitted(TRAINING), encoder.fitted(["another dog"])
    assert one.identity != other.identity and one.encode(["sat"]).any()
    assert one.identity == encoder.fitted([*TRAINING, TRAINING[0]]).identity
    assert isinstance(encoder, FittedEncoder) and not isinstance(encoder, SentenceEncoder)
    assert isinstance(one, SentenceEncoder) and not isinstance(one, FittedEncoder)


def test_sentences_without_a_word_are_one_line():
    with pytest.raises(UserError, match="tf-idf cannot be fitted on 2 sentences"):
        TfidfEncoder().fitted(["", "a !"])


def test_the_option_builds_it():
    assert build(compose(["encoder=tfidf"], "evaluate").encoder).label == "tf-idf"


@given(st.lists(st.text("catdog ", max_size=12), max_size=8))
def test_vectors_have_length_one_or_zero(sentences):
    lengths = np.linalg.norm(TfidfEncoder().fitted(TRAINING).encode(sentences), axis=1)
    assert (np.isclose(lengths, 1, atol=1e-5) | (lengths == 0)).all()
