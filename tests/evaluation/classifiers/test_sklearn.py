"""SentEval's path through scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from sbert_repro.evaluation.classifiers.batched import BatchedClassifier
from sbert_repro.evaluation.classifiers.fold import Fold
from sbert_repro.evaluation.classifiers.protocols import run
from sbert_repro.evaluation.classifiers.sklearn import SklearnClassifier

RANDOM = np.random.default_rng(3)
LABELS = RANDOM.integers(0, 3, 300)
FEATURES = (np.eye(3)[LABELS] @ RANDOM.normal(size=(3, 8)) * 0.7).astype(np.float32)
FEATURES += RANDOM.normal(size=FEATURES.shape).astype(np.float32)


def test_each_classifier_is_scikit_learns():
    trainer = SklearnClassifier().on(FEATURES, LABELS)
    folds = [Fold(np.arange(200), np.arange(200, 250)), trainer.whole(np.arange(250))]
    assert folds[1].train.tolist() == list(range(250)) and not len(folds[1].watch)
    models = trainer.fit(folds[:1], np.array([[0.25, 8.0]]))
    test = np.arange(250, 300)
    for place, strength in enumerate((0.25, 8.0)):
        alone = LogisticRegression(C=strength).fit(FEATURES[:200], LABELS[:200])
        assert models.watched[0, place] == alone.score(FEATURES[200:250], LABELS[200:250])
        assert models.accuracy([test])[0, place] == alone.score(FEATURES[test], LABELS[test])
    assert np.isnan(trainer.fit(folds[1:], np.array([[1.0]])).watched).all()


def test_strengths_are_sentevals():
    kind = SklearnClassifier()
    assert kind.strengths("nested") == kind.strengths("fixed") == (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    assert kind.strengths("cross") == (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


def test_both_kinds_agree_within_the_noise():
    parts = [np.arange(300)]
    ours, theirs = (
        run("nested", kind, FEATURES, LABELS, parts)
        for kind in (
            BatchedClassifier(kfold=5, tenacity=50, learning_rate=0.01),
            SklearnClassifier(kfold=5),
        )
    )
    # 300 texts: the standard error of an accuracy is about 3 points.
    assert abs(ours.accuracy - theirs.accuracy) < 0.06
    assert SklearnClassifier().identity != BatchedClassifier().identity
