"""Logistic regression on frozen sentence vectors, trained, chosen and tested as SentEval does.

SentEval has three protocols (``senteval/tools/validation.py``):

* ``nested`` (MR, CR, SUBJ, MPQA): ten folds test; within the training part of each, ten folds
  choose the L2 strength, then one classifier learns from the whole part.
* ``cross`` (TREC, MRPC): ten folds of the training set choose; the test set is fixed.
* ``fixed`` (SST2): the dev set chooses; the test set is fixed.

and two kinds of classifier: ``batched`` is its PyTorch classifier, all folds and strengths at once,
``sklearn`` is scikit-learn's logistic regression.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sbert_repro.errors import UserError

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    from sklearn.linear_model import LogisticRegression

    from sbert_repro.evaluation.batched import BatchedTrainer

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]
ProtocolName = Literal["nested", "cross", "fixed"]


@dataclass(frozen=True)
class Fold:
    """Rows of one training.

    Attributes:
        train: Rows that are learnt from ``[n]``.
        dev: Rows whose accuracy chooses the L2 strength and when to stop ``[m]``; may be empty.
        drawn: Length of the permutation that was drawn to hold ``dev`` out, or 0; the order of the
            batches continues from there in the same random stream.
    """

    train: Ints
    dev: Ints
    drawn: int = 0


class Models(Protocol):
    """Trained classifiers, F folds × S strengths."""

    @property
    def dev_accuracy(self) -> Doubles:
        """Accuracy on the dev rows ``[F, S]``, 0..1."""

    def correct(self, rows: Sequence[Ints]) -> list[NDArray[np.bool_]]:
        """Tell for each fold which of other rows ``[m]`` are right: ``[S, m]``."""


class Trainer(Protocol):
    """Trains on rows of one feature matrix."""

    def whole(self, rows: Ints) -> Fold:
        """Return the training on all ``rows``, with some held out if that decides when to stop."""

    def fit(self, folds: Sequence[Fold], strengths: Doubles) -> Models:
        """Train every fold with each of its strengths ``[F, S]``."""


class Classifier(Protocol):
    """A kind of classifier and its options.

    Attributes:
        name: Its word on the command line.
    """

    name: ClassVar[str]

    @property
    def kfold(self) -> int:
        """Folds of every cross-validation."""

    @property
    def seed(self) -> int:
        """Of folds, first weights, order of rows, rows held out."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the accuracy depends on besides the features."""

    def strengths(self, protocol: ProtocolName) -> tuple[float, ...]:
        """Return the L2 strengths to choose from; of equally good ones the first is chosen."""

    def on(self, features: NDArray[np.floating], labels: Ints) -> Trainer:
        """Take the features of a task.

        Args:
            features: ``[N, D]``, used as they are: SentEval does not normalise.
            labels: Class ids ``[N]``, 0 to C - 1.

        Returns:
            Trainer: For rows of these features.
        """


# paper: "a logistic regression classifier … in a 10-fold cross-validation setup" for all tasks
# here: SentEval's own protocols; only four of the seven tasks are tested by cross-validation
# effect: table 5


@dataclass(frozen=True)
class Tested:
    """What a protocol finds.

    Attributes:
        correct: Which test rows are right, for each test fold; one where the test set is fixed.
        dev: Accuracy with which the strengths were chosen, 0..1.
        strengths: The strength chosen for each test fold.
    """

    correct: list[list[bool]]
    dev: float
    strengths: list[float]

    @property
    def accuracies(self) -> list[float]:
        """On the test rows of each test fold, 0..1."""
        return [float(np.mean(right)) for right in self.correct]

    @property
    def accuracy(self) -> float:
        """Mean over the test folds, 0..1."""
        return float(np.mean(self.accuracies))


def train_and_test(
    protocol: ProtocolName,
    classifier: Classifier,
    features: NDArray[np.floating],
    labels: Ints,
    parts: Sequence[Ints],
    *,
    first: int | None = None,
) -> Tested:
    """Train, choose and test.

    Args:
        protocol: How the task is split.
        classifier: A kind of classifier.
        features: ``[N, D]``.
        labels: Class ids ``[N]``.
        parts: Rows of the splits in their order: all; train, test; train, dev, test.
        first: Run only this many test folds of a nested protocol (a benchmark does).

    Returns:
        Tested: Accuracies.

    Raises:
        UserError: If there are fewer rows than folds.
    """
    trainer = classifier.on(features, labels)
    grid = np.array(classifier.strengths(protocol))
    if protocol == "fixed":
        train, dev, test = parts
        models = trainer.fit([Fold(train, dev)], grid[None])
        best, accuracy = _choose(models, 1)
        # SentEval trains the chosen one again, on the same rows from the same seed: the same model.
        right = models.correct([test])[0][best[0]].tolist()
        return Tested([right], accuracy, grid[best].tolist())
    trains, tests = list(parts[:1]), list(parts[1:])
    if protocol == "nested":
        outer = _stratified(parts[0], labels, classifier)[:first]
        trains, tests = [fold.train for fold in outer], [fold.dev for fold in outer]
    inner = [fold for rows in trains for fold in _stratified(rows, labels, classifier)]
    models = trainer.fit(inner, np.tile(grid, (len(inner), 1)))
    best, accuracy = _choose(models, len(trains))
    final = trainer.fit([trainer.whole(rows) for rows in trains], grid[best][:, None])
    of_folds = [of_strengths[0].tolist() for of_strengths in final.correct(tests)]
    return Tested(of_folds, accuracy, grid[best].tolist())


def _choose(models: Models, tests: int) -> tuple[Ints, float]:
    """Return the best strength for each test fold ``[T]`` and the mean accuracy that chose them."""
    accuracy = models.dev_accuracy.reshape(tests, -1, models.dev_accuracy.shape[1]).mean(1)
    # SentEval rounds to two digits and takes the first, which is the weakest L2 term.
    best = np.round(100 * accuracy, 2).argmax(1)
    return best, float(accuracy[np.arange(tests), best].mean())


def _stratified(rows: Ints, labels: Ints, classifier: Classifier) -> list[Fold]:
    """Split rows into folds with the same share of each class; only labels and order count."""
    from sklearn.model_selection import StratifiedKFold

    # Classes with fewer rows than folds are missing from some folds; SentEval goes on as well.
    if (most := int(np.bincount(labels[rows]).max())) < classifier.kfold:
        raise UserError(
            f"needs a class with as many rows to train on; the largest has {most} of {len(rows):,}",
            where=f"classifier.kfold={classifier.kfold}",
        )
    # SentEval takes 1111 for the nested folds whatever the seed; here folds follow the seed, which
    # is 1111 unless another one is asked for, so that two seeds show the noise of the folds too.
    cut = StratifiedKFold(classifier.kfold, shuffle=True, random_state=classifier.seed)
    with warnings.catch_warnings(category=UserWarning, action="ignore"):
        return [Fold(rows[kept], rows[out]) for kept, out in cut.split(labels[rows], labels[rows])]


# paper: "a logistic regression classifier", no settings; its author names SentEval's default config
# here: that config. SentEval asks for the summed loss by `size_average = False`, which PyTorch has
# ignored since 0.4.1 (2018), so the paper's classifiers averaged it, as here
# effect: table 5


@dataclass(frozen=True)
class BatchedClassifier:
    """SentEval's PyTorch classifier, with the values that the paper's author names.

    What each classifier does is SentEval's (``senteval/tools/classifier.py``, nhid 0): a linear
    layer with bias, cross-entropy averaged over batches of 64, Adam at 1e-3 with L2 in its
    gradient, features as they are; after every 4 passes the accuracy on the dev rows, the best
    weights kept, and an end at the sixth of these evaluations in all (not in a row) that did not
    improve, or after 204 passes. Random numbers are SentEval's as well: each classifier starts from
    the same seed, so those of one size go through their rows in the same order. What is ours is
    that they run side by side.

    Attributes:
        batch_size: Rows of a step.
        epoch_size: Passes over the rows between two evaluations on the dev rows.
        tenacity: A classifier stops when this many evaluations, and one more, have not improved.
        max_epoch: The evaluation after this many passes, or the next one, is the last.
        learning_rate: Adam's.
        seed: Of first weights, order of rows, rows held out.
        kfold: Folds of every cross-validation; drawn with the same seed.
        device: ``null``: a GPU where there is one, else the CPU.
    """

    name: ClassVar[str] = "batched"

    batch_size: int = 64
    epoch_size: int = 4
    tenacity: int = 5
    max_epoch: int = 200
    learning_rate: float = 1e-3
    seed: int = 1111
    kfold: int = 10
    device: str | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What the accuracy depends on besides the features."""
        options = asdict(self)
        del options["device"]
        return {"classifier": self.name, **options}

    def strengths(self, protocol: ProtocolName) -> tuple[float, ...]:
        """Return SentEval's weights of the L2 term in Adam's gradient."""
        del protocol
        return 1e-5, 1e-4, 1e-3, 1e-2

    def on(self, features: NDArray[np.floating], labels: Ints) -> BatchedTrainer:
        """Take the features of a task to the device."""
        # Torch takes seconds to import, and what only looks a result up needs none of it.
        from sbert_repro.evaluation.batched import BatchedTrainer

        return BatchedTrainer(self, features, labels)


@dataclass(frozen=True)
class SklearnClassifier:
    """SentEval's other classifier (``usepytorch: False``): scikit-learn's logistic regression.

    It is solved, not stopped early, so it needs no rows held out and depends on no order of rows.
    The strength is scikit-learn's C, the inverse of an L2 term: larger means weaker. SentEval takes
    its defaults; those of 2019 (liblinear, one class against the rest, a penalty on the bias) have
    given way to today's (lbfgs, softmax), which SentEval uses today.

    Attributes:
        kfold: Folds of every cross-validation.
        seed: Of the folds.
        max_iter: Bound on the solver's steps; SentEval leaves it at 100, which not all reach.
    """

    name: ClassVar[str] = "sklearn"

    kfold: int = 10
    seed: int = 1111
    max_iter: int = 1000

    @property
    def identity(self) -> dict[str, Any]:
        """What the accuracy depends on besides the features."""
        return {"classifier": self.name, **asdict(self)}

    def strengths(self, protocol: ProtocolName) -> tuple[float, ...]:
        """Return SentEval's values of C; TREC and MRPC ("cross") have weaker L2 terms."""
        powers = range(-1, 6) if protocol == "cross" else range(-2, 4)
        return tuple(2.0**power for power in powers)

    def on(self, features: NDArray[np.floating], labels: Ints) -> SklearnTrainer:
        """Take the features of a task."""
        return SklearnTrainer(self, features, labels)


@dataclass(frozen=True)
class SklearnTrainer:
    """Trains on rows of ``features [N, D]`` with class ids ``labels [N]``, one after the other."""

    options: SklearnClassifier
    features: NDArray[np.floating]
    labels: Ints

    def whole(self, rows: Ints) -> Fold:
        """Return the training on all rows; none is held out."""
        return Fold(rows, np.array([], np.int64))

    def fit(self, folds: Sequence[Fold], strengths: Doubles) -> SklearnModels:
        """Train every fold with each of its values of C ``[F, S]``."""
        from sklearn.linear_model import LogisticRegression

        def fit_one(fold: Fold, strength: float) -> LogisticRegression:
            model = LogisticRegression(C=strength, max_iter=self.options.max_iter)
            return model.fit(self.features[fold.train], self.labels[fold.train])

        # Problems this small take longer, not shorter, when each product is cut in pieces.
        with threadpool_limits(1):
            models = [
                [fit_one(fold, float(strength)) for strength in row]
                for fold, row in zip(folds, strengths, strict=True)
            ]
        trained = SklearnModels(
            models, np.full(strengths.shape, np.nan), self.features, self.labels
        )
        if all(len(fold.dev) for fold in folds):
            correct = trained.correct([fold.dev for fold in folds])
            trained.dev_accuracy[:] = [of_strengths.mean(1) for of_strengths in correct]
        return trained


@dataclass(frozen=True)
class SklearnModels:
    """Trained classifiers, F folds × S strengths.

    Attributes:
        models: ``[F][S]``.
        dev_accuracy: ``[F, S]``, 0..1; NaN where there are no dev rows.
        features: ``[N, D]``.
        labels: Class ids ``[N]``.
    """

    models: list[list[LogisticRegression]]
    dev_accuracy: Doubles
    features: NDArray[np.floating]
    labels: Ints

    def correct(self, rows: Sequence[Ints]) -> list[NDArray[np.bool_]]:
        """Tell for each fold which of other rows ``[m]`` are right: ``[S, m]``."""
        return [
            np.array([model.predict(self.features[r]) == self.labels[r] for model in models])
            for models, r in zip(self.models, rows, strict=True)
        ]
