"""The demo's word vectors: meaning lies in them as it lies in real ones."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from sbert_repro.data import demo
from sbert_repro.data.demo_language.vectors import as_text, word_vectors
from sbert_repro.data.demo_language.words import CONCEPTS, vocabulary
from sbert_repro.data.word_vectors import find, load
from sbert_repro.encoders.word_average import WordAverageEncoder
from sbert_repro.evaluation.evaluate import evaluate

PINNED = "9c148bba710ae6b21bb78d6f2be4ba463b77c24ac54d7b32569f3b4944bbc051"


@pytest.fixture(scope="module")
def vectors():
    return word_vectors(24, 1)


def likeness(one, other) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_they_are_the_same_on_every_machine(vectors):
    text = "\n".join(as_text(vectors, header=True))
    assert hashlib.sha256(text.encode()).hexdigest() == PINNED, "raise demo.VERSION, pin this"


def test_every_word_has_one(vectors):
    whole = {word for word in vocabulary() if not word.startswith("##")}
    stems = {word for word in whole if f"{word}e" in vectors}
    assert whole - stems <= set(vectors) and {"pushes", "loved", "mending"} <= set(vectors)


def test_words_of_a_concept_lie_closer_than_others(vectors):
    first = {c.name: [vectors[word] for word in c.words] for c in CONCEPTS.values()}
    same = [likeness(words[0], words[1]) for words in first.values()]
    names = list(first)
    others = [likeness(first[a][0], first[b][0]) for a in names for b in names if a < b]
    assert np.mean(same) > 0.8
    assert np.mean(others) < 0.3


def test_opposites_are_alike_as_they_are_in_real_vectors(vectors):
    pairs = [(c.name, c.opposite) for c in CONCEPTS.values() if c.opposite]
    assert np.mean([likeness(vectors[a], vectors[b]) for a, b in pairs]) > 0.5


def test_both_files_are_read_and_averaging_them_says_something(tmp_path):
    root = tmp_path / "data"
    demo.write_demo(root)
    for name, width in (("demo-glove.txt", 24), ("demo-fasttext.vec", 32)):
        found = load(find(name, [root / "word_vectors"]), tmp_path / "cache")
        assert found.values.shape[1] == width and found.facts == []
    encoder = WordAverageEncoder(name, data_root=str(root), cache=str(tmp_path / "cache"))
    scores = evaluate(encoder, "stsb,bws", root, allow_partial=True)
    assert scores["stsb"]["spearman"] > 30
