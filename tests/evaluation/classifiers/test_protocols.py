"""Which rows train, which choose, which test."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from sbert_repro.errors import UserError
from sbert_repro.evaluation.classifiers.fold import Fold
from sbert_repro.evaluation.classifiers.protocols import run

FEATURES = np.zeros((200, 2), np.float32)
LABELS = np.array([1] * 120 + [0] * 80)


class Recorder:
    """A kind of classifier whose accuracies are made up; writes down what it is asked."""

    kfold, seed, identity = 10, 1111, {}

    def __init__(self, accuracy):
        self.accuracy_of = accuracy
        self.calls = []
        self.tested = []

    def strengths(self, protocol):
        return 0.1, 0.2, 0.3

    def on(self, features, labels):
        return self

    def whole(self, rows):
        return Fold(rows, rows[:0], drawn=len(rows))

    def fit(self, folds, strengths):
        self.calls.append((folds, strengths))
        self.watched = np.array(
            [[self.accuracy_of(f, s) for s in row] for f, row in enumerate(strengths)]
        )
        return self

    def accuracy(self, rows):
        self.tested.append(rows)
        return np.tile(np.arange(len(rows))[:, None] / 10.0, (1, self.watched.shape[1]))


def test_nested_never_tests_what_it_learns_or_chooses_from():
    recorder = Recorder(lambda fold, strength: strength)
    outcome = run("nested", recorder, FEATURES, LABELS, [np.arange(200)])
    (inner, grid), (final, chosen) = recorder.calls
    assert (len(inner), grid.shape) == (100, (100, 3))
    assert (len(final), chosen.shape) == (10, (10, 1))
    outer = list(StratifiedKFold(10, shuffle=True, random_state=1111).split(LABELS, LABELS))
    for number, (kept, out) in enumerate(outer):
        np.testing.assert_array_equal(final[number].train, kept)
        np.testing.assert_array_equal(recorder.tested[0][number], out)
        for fold in inner[10 * number : 10 * number + 10]:
            assert not set(out) & {*fold.train, *fold.watch}
            assert sorted([*fold.train, *fold.watch]) == kept.tolist()
            assert LABELS[fold.watch].mean() == pytest.approx(0.6, abs=0.05)
    assert outcome.strengths == [0.3] * 10
    assert (outcome.accuracy, outcome.dev) == (pytest.approx(0.45), pytest.approx(0.3))


def test_nested_in_part():
    recorder = Recorder(lambda fold, strength: strength)
    outcome = run("nested", recorder, FEATURES, LABELS, [np.arange(200)], first=2)
    assert (len(recorder.calls[0][0]), outcome.accuracies) == (20, [0.0, 0.1])


def test_cross_chooses_on_the_training_set_and_tests_on_the_test_set():
    recorder = Recorder(lambda fold, strength: 0.5 + 0.001 * (fold % 2))
    outcome = run("cross", recorder, FEATURES, LABELS, [np.arange(150), np.arange(150, 200)])
    (inner, _), (final, chosen) = recorder.calls
    assert len(inner) == 10 and all(fold.train.max() < 150 for fold in inner)
    np.testing.assert_array_equal(final[0].train, np.arange(150))
    np.testing.assert_array_equal(recorder.tested[0][0], np.arange(150, 200))
    # All equally good: the first.
    assert chosen.tolist() == [[0.1]] and outcome.dev == pytest.approx(0.5005)


def test_fixed_chooses_on_dev_and_trains_nothing_again():
    recorder = Recorder(lambda fold, strength: {0.1: 0.8, 0.2: 0.9, 0.3: 0.90004}[strength])
    parts = [np.arange(100), np.arange(100, 150), np.arange(150, 200)]
    outcome = run("fixed", recorder, FEATURES, LABELS, parts)
    ((folds, _),) = recorder.calls
    np.testing.assert_array_equal(folds[0].train, parts[0])
    np.testing.assert_array_equal(folds[0].watch, parts[1])
    np.testing.assert_array_equal(recorder.tested[0][0], parts[2])
    # 90.00 and 90.004 are equal to two digits, so the first of them.
    assert outcome.strengths == [0.2]


def test_another_seed_cuts_other_folds():
    recorder, other = Recorder(lambda *_: 0.5), Recorder(lambda *_: 0.5)
    other.seed = 7
    for kind in (recorder, other):
        run("nested", kind, FEATURES, LABELS, [np.arange(200)])
    assert recorder.tested[0][0].tolist() != other.tested[0][0].tolist()


def test_fewer_rows_than_folds_are_refused_and_a_rare_class_is_not():
    parts = [np.arange(112, 128), np.arange(10)]
    with pytest.raises(UserError, match=r"kfold=10 needs .* the largest has 8 of 16"):
        run("cross", Recorder(lambda *_: 0.5), FEATURES, LABELS, parts)
    run("cross", Recorder(lambda *_: 0.5), FEATURES, LABELS, [np.arange(122), np.arange(10)])
