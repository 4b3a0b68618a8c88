"""Which rows a classifier trains on, and what every kind of classifier offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
ProtocolName = Literal["nested", "cross", "fixed"]
"""How a task is cut (`sbert_repro.evaluation.classifiers.protocols`)."""


@dataclass(frozen=True)
class Fold:
    """Rows of one training.

    Attributes:
        train: Rows that are learnt from ``[n]``.
        watch: Rows that choose the strength of the L2 term, and when to stop ``[m]``; empty where
            neither is asked for.
        drawn: Length of the permutation that was drawn to hold ``watch`` out, or 0; the order of
            the batches goes on from there in the same random stream.
    """

    train: IntArray
    watch: IntArray
    drawn: int = 0


class Models(Protocol):
    """Finished classifiers: F folds, S strengths."""

    @property
    def watched(self) -> FloatArray:
        """Accuracy on the watched rows ``[F, S]``, 0..1."""

    def accuracy(self, rows: Sequence[IntArray]) -> FloatArray:
        """Score other rows.

        Args:
            rows: Which rows, for each fold.

        Returns:
            FloatArray: ``[F, S]``, 0..1.
        """


class Trainer(Protocol):
    """A kind of classifier on the features of one task."""

    def whole(self, rows: IntArray) -> Fold:
        """Give the training on all of these rows, once the strength has been chosen.

        Args:
            rows: All rows there are to train on ``[n]``.

        Returns:
            Fold: With rows held out to decide when to stop, if the classifier needs some.
        """

    def fit(self, folds: Sequence[Fold], strengths: FloatArray) -> Models:
        """Train every fold with each of its strengths.

        Args:
            folds: ``F`` folds.
            strengths: Strengths of the L2 term in the classifier's own measure ``[F, S]``.

        Returns:
            Models: F × S classifiers.
        """


class Classifier(Protocol):
    """A kind of classifier and its options."""

    @property
    def kfold(self) -> int:
        """Folds of every cross-validation."""

    @property
    def seed(self) -> int:
        """Of folds, first weights, order of rows, rows held out."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the accuracy depends on, besides the features."""

    def strengths(self, protocol: ProtocolName) -> Sequence[float]:
        """Give the strengths to choose from.

        Args:
            protocol: How the task is cut.

        Returns:
            Sequence[float]: The first of equally good ones is chosen.
        """

    def on(self, features: NDArray[np.floating], labels: IntArray) -> Trainer:
        """Take the features of a task.

        Args:
            features: ``[N, D]``, used as they are: SentEval does not normalise.
            labels: Class ids ``[N]``, 0 to C - 1.

        Returns:
            Trainer: Trains on rows of these features.
        """
