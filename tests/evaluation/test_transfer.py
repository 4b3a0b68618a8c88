"""From texts and labels to what a classifier sees; the classifiers have tests of their own."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import as_json, evaluate, table
from sbert_repro.evaluation.logistic import BatchedClassifier
from sbert_repro.evaluation.run import score_key
from sbert_repro.evaluation.tasks import GROUPS, TASKS, resolve
from sbert_repro.evaluation.transfer import load, score
from sbert_repro.facts import sentences

QUICK = BatchedClassifier(kfold=2, max_epoch=4)
GOOD, BAD = "good fine great".split(), "bad poor awful".split()


def reviews(count, seed=0):
    """Texts of one to five words, all 1s and then all 0s as upstream; one of them empty."""
    random = np.random.default_rng(seed)
    rows = [
        (
            " ".join([random.choice(GOOD if label else BAD), *["word"] * random.integers(0, 5)]),
            label,
        )
        for label in (1, 0)
        for _ in range(count // 2)
    ]
    rows[count // 2] = ("", 0)
    return pd.DataFrame(rows, columns=["text", "label"])


@pytest.fixture
def root(tmp_path):
    """mr, sst2, trec and mrpc, all of them incomplete."""
    trec = reviews(40, 5).assign(label=lambda frame: ["HUM" if x else "LOC" for x in frame.label])
    pairs = reviews(40, 6).rename(columns={"text": "sentence1"}).assign(sentence2="good word")
    frames = {"mr/all": reviews(60), "trec/train": trec, "trec/test": trec[15:25]}
    frames |= {f"sst2/{split}": reviews(40, n) for n, split in enumerate(("train", "dev", "test"))}
    frames |= {"mrpc/train": pairs, "mrpc/test": pairs[::4]}
    for name, frame in frames.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        frame.to_parquet(path)
    return tmp_path


class Counts:
    """How many good and bad words a text has."""

    label, identity, facts = "counts", {"encoder": "counts"}, ()

    def encode(self, sentences):
        return np.array(
            [[sum(w in words for w in s.split()) for words in (GOOD, BAD)] for s in sentences],
            np.float32,
        )


def read(name, root, **options):
    return load(TASKS[name], root, allow_partial=True, **options)


def test_senteval_is_the_seven_columns_of_table_5(tmp_path):
    names = ["mr", "cr", "subj", "mpqa", "sst2", "trec", "mrpc"]
    assert [task.name for task in resolve("senteval", tmp_path)] == names


def test_texts_stand_in_sentevals_order_and_empty_ones_stay(root):
    data = read("mr", root)
    (texts,) = data.texts
    assert texts[0] == "" and len(texts) == 60 and "" in data.sentences
    keys = [(len(t.split()), y) for t, y in zip(texts, data.labels, strict=True)]
    assert keys == sorted(keys)
    # Of equal keys the first in the file comes first.
    frame = reviews(60)
    ones = frame[(frame.label == 1) & (frame.text.str.split().str.len() == 2)]
    assert [t for t, key in zip(texts, keys, strict=True) if key == (2, 1)] == ones.text.tolist()
    assert sentences(data.facts) == ["MR: 60 of 10,662 texts"]


def test_splits_follow_each_other_and_are_told_apart(root):
    data = read("sst2", root)
    assert [len(part) for part in data.parts] == [40, 40, 40]
    assert np.concatenate(data.parts).tolist() == list(range(120))
    for part in data.parts:
        assert data.labels[part].mean() == 0.5
    assert read("trec", root).labels.max() == 4  # LOC, after ABBR, DESC, ENTY and HUM


def test_pairs_become_difference_and_product(root):
    data = read("mrpc", root)
    vectors = np.random.default_rng(0).normal(size=(len(data.sentences), 3)).astype(np.float32)
    features = data.features(vectors)
    of = dict(zip(data.sentences, vectors, strict=True))
    u, v = of[data.texts[0][7]], of[data.texts[1][7]]
    np.testing.assert_array_equal(features[7], [*np.abs(u - v), *(u * v)])
    assert features.shape == (50, 6)


@pytest.mark.parametrize("name", ["mr", "sst2", "trec"])
def test_what_the_vectors_tell_apart_the_classifier_does(name, root):
    data = read(name, root, classifier=BatchedClassifier(kfold=3, learning_rate=0.1))
    scores = score(Counts(), data, None)
    assert scores["accuracy"] >= 90 and scores["dev"] >= 90
    assert scores["n"] == {"mr": 60, "sst2": 40, "trec": 10}[name]
    assert (scores["seed"], len(scores["strengths"])) == (1111, 3 if name == "mr" else 1)
    predictions = scores.pop("predictions")
    again = score(Counts(), data, None)
    assert np.array_equal(again.pop("predictions")["correct"], predictions["correct"])
    assert again == scores
    folds = [predictions["correct"][predictions["part"] == part] for part in range(3)]
    of_folds = [100 * right.mean() for right in folds if len(right)]
    assert np.mean(of_folds) == pytest.approx(scores["accuracy"])


@pytest.mark.parametrize("name", ["mr", "sst2"])
def test_one_label_is_one_line(name, root):
    path = root / name / ("all.parquet" if name == "mr" else "train.parquet")
    pd.read_parquet(path).assign(label=1).to_parquet(path)
    with pytest.raises(UserError, match=r"all [46]0 texts have the label 1, expected at least two"):
        read(name, root)


def test_models_without_sentence_vectors_are_refused(root, lengths):
    with pytest.raises(UserError, match=r"task=mr: trains a classifier .* lengths has none"):
        score(lengths, read("mr", root), None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_vector_that_is_no_number_is_refused(value, root):
    class Broken(Counts):
        def encode(self, sentences):
            return np.full((len(sentences), 2), value, np.float32)

    with pytest.raises(UserError, match="results are NaN or infinite"):
        score(Broken(), read("mr", root), None)


def test_a_collapsed_model_has_a_score(root):
    class Collapsed(Counts):
        def encode(self, sentences):
            return np.zeros((len(sentences), 2), np.float32)

    assert score(Collapsed(), read("mr", root, classifier=QUICK), None)["accuracy"] == 50


def test_through_the_one_path_to_json_and_screen(root, tmp_path):
    scores = evaluate(
        Counts(), "mr,mrpc", root, allow_partial=True, cache=tmp_path / "cache", classifier=QUICK
    )
    written = json.loads(as_json(scores))
    assert list(written) == ["senteval", "_meta"]
    assert set(written["senteval"]) == {"mr", "mrpc"}
    assert written["senteval"]["mr"]["notes"] == ["MR: 60 of 10,662 texts"]
    assert "mrpc" in str(list(table(scores).columns[0].cells))
    assert set(GROUPS["senteval"]) <= set(TASKS)


def test_the_classifier_is_part_of_a_scores_name(root):
    keys = {
        score_key(Counts(), read("mr", root, classifier=kind))
        for kind in (None, BatchedClassifier(), BatchedClassifier(seed=2), QUICK)
    }
    assert len(keys) == 3
