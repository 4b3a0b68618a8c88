"""SentEval's three ways from features and labels to an accuracy (``senteval/tools/validation.py``).

* ``nested`` (MR, CR, SUBJ, MPQA): ten folds test; inside each one's training part ten folds choose
  the L2 strength, then one classifier learns from the whole part.
* ``cross`` (TREC, MRPC): ten folds of the training set choose, the test set is fixed.
* ``fixed`` (SST2): the dev set chooses, the test set is fixed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from sbert_repro.errors import UserError
from sbert_repro.evaluation.classifiers.fold import (
    Classifier,
    FloatArray,
    Fold,
    IntArray,
    Models,
    ProtocolName,
    Trainer,
)

# paper: "a logistic regression classifier … in a 10-fold cross-validation setup" for all tasks
# here: SentEval's own protocols; only four of the seven tasks are tested by cross-validation
# effect: table 5


@dataclass(frozen=True)
class Outcome:
    """What a protocol finds.

    Attributes:
        accuracies: On the test rows of each test fold, 0..1; one where the test set is fixed.
        dev: Accuracy with which the strengths were chosen, 0..1.
        strengths: The strength chosen, for each test fold.
    """

    accuracies: list[float]
    dev: float
    strengths: list[float]

    @property
    def accuracy(self) -> float:
        """Mean over the test folds, 0..1."""
        return float(np.mean(self.accuracies))


def run(
    protocol: ProtocolName,
    classifier: Classifier,
    features: NDArray[np.floating],
    labels: IntArray,
    parts: Sequence[IntArray],
    *,
    first: int | None = None,
) -> Outcome:
    """Train, choose and test.

    Args:
        protocol: How the task is cut.
        classifier: A kind of classifier.
        features: ``[N, D]``.
        labels: Class ids ``[N]``.
        parts: Rows of the splits in their order: all; train, test; train, dev, test.
        first: Of a nested protocol, run only so many test folds (a benchmark does).

    Returns:
        Outcome: Accuracies.

    Raises:
        UserError: If there are fewer rows than folds.
    """
    trainer = classifier.on(features, labels)
    grid = np.array(classifier.strengths(protocol))
    if protocol == "fixed":
        return _fixed(trainer, grid, *parts)
    trains, tests = list(parts[:1]), list(parts[1:])
    if protocol == "nested":
        outer = _stratified(parts[0], labels, classifier)[:first]
        trains, tests = [fold.train for fold in outer], [fold.watch for fold in outer]
    inner = [fold for rows in trains for fold in _stratified(rows, labels, classifier)]
    models = trainer.fit(inner, np.tile(grid, (len(inner), 1)))
    best, dev = _choose(models, len(trains))
    final = trainer.fit([trainer.whole(rows) for rows in trains], grid[best][:, None])
    return Outcome(final.accuracy(tests)[:, 0].tolist(), dev, grid[best].tolist())


def _fixed(
    trainer: Trainer, grid: FloatArray, train: IntArray, dev: IntArray, test: IntArray
) -> Outcome:
    models = trainer.fit([Fold(train, dev)], grid[None])
    best, accuracy = _choose(models, 1)
    # SentEval trains the chosen one again, on the same rows from the same seed: the same model.
    tested = models.accuracy([test])[:, best[0]]
    return Outcome(tested.tolist(), accuracy, grid[best].tolist())


def _choose(models: Models, tests: int) -> tuple[IntArray, float]:
    """Give the best strength for each test fold ``[T]``, and the mean accuracy that chose them."""
    watched = models.watched.reshape(tests, -1, models.watched.shape[1]).mean(1)
    # SentEval rounds to two digits and takes the first, which is the weakest L2 term.
    best = np.round(100 * watched, 2).argmax(1)
    return best, float(watched[np.arange(tests), best].mean())


def _stratified(rows: IntArray, labels: IntArray, classifier: Classifier) -> list[Fold]:
    """Cut rows into folds with the same share of each class; only labels and order count."""
    # Classes with fewer rows than folds are left out of some folds; SentEval goes on as well.
    if (most := int(np.bincount(labels[rows]).max())) < classifier.kfold:
        raise UserError(
            f"classifier.kfold={classifier.kfold} needs a class with as many rows to train on; the "
            f"largest has {most} of {len(rows):,}"
        )
    # SentEval takes 1111 for the nested folds whatever the seed; here folds follow the seed, which
    # is 1111 unless another one is asked for, so that two seeds show the noise of the folds too.
    cut = StratifiedKFold(classifier.kfold, shuffle=True, random_state=classifier.seed)
    with warnings.catch_warnings(category=UserWarning, action="ignore"):
        parts = list(cut.split(labels[rows], labels[rows]))
    return [Fold(rows[kept], rows[out]) for kept, out in parts]
