"""SentEval's other classifier (``usepytorch: False``): scikit-learn's logistic regression.

It is solved, not stopped early, so it needs no rows held out and depends on no order of rows. The
strength is scikit-learn's C, the inverse of an L2 term: larger means weaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sbert_repro.evaluation.classifiers.fold import FloatArray, Fold, IntArray, ProtocolName

_NONE: IntArray = np.array([], np.int64)


@dataclass(frozen=True)
class SklearnClassifier:
    """Options of scikit-learn's logistic regression.

    SentEval takes its defaults; those of 2019 (liblinear, one class against the rest, a penalty on
    the bias) gave way to today's (lbfgs, softmax), which is what SentEval does today.

    Attributes:
        kfold: Folds of every cross-validation.
        seed: Of the folds.
        max_iter: Bound on the solver's steps; SentEval leaves it at 100, which not all reach.
    """

    kfold: int = 10
    seed: int = 1111
    max_iter: int = 1000

    @property
    def identity(self) -> dict[str, Any]:
        """What the accuracy depends on, besides the features."""
        return {"classifier": "sklearn", **asdict(self)}

    def strengths(self, protocol: ProtocolName) -> tuple[float, ...]:
        """Give SentEval's values of C.

        Args:
            protocol: How the task is cut; TREC and MRPC ("cross") have weaker L2 terms to choose.

        Returns:
            tuple[float, ...]: From the strongest L2 term to the weakest.
        """
        powers = range(-1, 6) if protocol == "cross" else range(-2, 4)
        return tuple(2.0**power for power in powers)

    def on(self, features: NDArray[np.floating], labels: IntArray) -> SklearnTrainer:
        """Take the features of a task.

        Args:
            features: ``[N, D]``.
            labels: Class ids ``[N]``.

        Returns:
            SklearnTrainer: Trains on rows of these features.
        """
        return SklearnTrainer(self, features, labels)


@dataclass(frozen=True)
class SklearnModels:
    """Finished classifiers, F folds × S strengths.

    Attributes:
        models: ``[F][S]``.
        watched: Accuracy on the watched rows ``[F, S]``, 0..1; NaN where none are watched.
        features: ``[N, D]``.
        labels: Class ids ``[N]``.
    """

    models: list[list[LogisticRegression]]
    watched: FloatArray
    features: NDArray[np.floating]
    labels: IntArray

    def accuracy(self, rows: Sequence[IntArray]) -> FloatArray:
        """Score other rows.

        Args:
            rows: Which rows, for each fold.

        Returns:
            FloatArray: ``[F, S]``, 0..1.
        """
        return np.array(
            [
                [model.score(self.features[chosen], self.labels[chosen]) for model in of_fold]
                for of_fold, chosen in zip(self.models, rows, strict=True)
            ]
        )


@dataclass(frozen=True)
class SklearnTrainer:
    """Logistic regressions on one feature matrix, one after the other.

    Attributes:
        options: Of the classifier.
        features: ``[N, D]``.
        labels: Class ids ``[N]``.
    """

    options: SklearnClassifier
    features: NDArray[np.floating]
    labels: IntArray

    def whole(self, rows: IntArray) -> Fold:
        """Train on all of these rows.

        Args:
            rows: All rows there are to train on ``[n]``.

        Returns:
            Fold: Without watched rows.
        """
        return Fold(rows, _NONE)

    def fit(self, folds: Sequence[Fold], strengths: FloatArray) -> SklearnModels:
        """Train every fold with each of its strengths.

        Args:
            folds: ``F`` folds.
            strengths: Values of C ``[F, S]``.

        Returns:
            SklearnModels: F × S classifiers.
        """
        # Problems this small take longer, not shorter, when each product is cut in pieces.
        with threadpool_limits(1):
            models = [
                [self._fit(fold, float(strength)) for strength in of_fold]
                for fold, of_fold in zip(folds, strengths, strict=True)
            ]
        finished = SklearnModels(
            models, np.full(strengths.shape, np.nan), self.features, self.labels
        )
        if all(len(fold.watch) for fold in folds):
            finished.watched[:] = finished.accuracy([fold.watch for fold in folds])
        return finished

    def _fit(self, fold: Fold, strength: float) -> LogisticRegression:
        model = LogisticRegression(C=strength, max_iter=self.options.max_iter)
        return model.fit(self.features[fold.train], self.labels[fold.train])
