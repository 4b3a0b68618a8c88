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

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sbert_repro.errors import UserError

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    from sklearn.linear_model import LogisticRegression
    from torch import Tensor

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


HELD_OUT = 0.05
"""Share of the training rows that decides when the last classifier of a fold stops."""
_GROUP_BYTES = {"cpu": 1 << 21, "cuda": 1 << 30}
"""What the folds of one group need together for weights, moments and a batch.

On a CPU it is what a core's own cache holds: larger groups take a third longer. Group sizes do not
depend on the number of cores, so that the same seed gives the same numbers on any of them.
"""
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
"""Adam's defaults, which SentEval leaves as they are."""

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
        return BatchedTrainer(self, features, labels)


class BatchedTrainer:
    """Logistic regressions on one feature matrix, trained in lock-step on a CPU or a GPU.

    A problem is a fold and an L2 strength. All strengths of a fold see the same batches in the same
    order, as they do in SentEval, where each classifier starts from the same seed; so one gather
    and one product serve them all. Letters: F folds, S strengths, C classes, D features with the
    constant 1 of the bias as the last one, B rows of a batch, K batches of a pass.
    """

    def __init__(
        self, options: BatchedClassifier, features: NDArray[np.floating], labels: Ints
    ) -> None:
        """Copy features and labels to the device.

        Args:
            options: Of the classifier.
            features: ``[N, D - 1]``; the classifiers have their precision.
            labels: Class ids ``[N]``, 0 to C - 1.
        """
        import torch

        self.options = options
        device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        count, width = features.shape
        # The constant column makes the bias one more weight.
        given = torch.from_numpy(features)
        self.features = torch.ones(count, width + 1, dtype=given.dtype, device=device)
        self.features[:, :width] = given
        self.labels = torch.from_numpy(labels).to(device)
        first = _first_weights(int(labels.max()) + 1, width, options.seed)
        self.start = first.to(self.features)

    def whole(self, rows: Ints) -> Fold:
        """Hold out the 5 % of the rows that SentEval holds out with this seed."""
        order = np.random.RandomState(self.options.seed).permutation(len(rows))
        held_out = max(1, int(HELD_OUT * len(rows)))
        return Fold(rows[order[held_out:]], rows[order[:held_out]], drawn=len(rows))

    def fit(self, folds: Sequence[Fold], strengths: Doubles) -> BatchedModels:
        """Train every fold with each of its strengths.

        Args:
            folds: ``F`` folds.
            strengths: L2 strengths ``[F, S]``.

        Returns:
            BatchedModels: The best weights of each problem by its dev rows.
        """
        import torch

        weights = self.start.new_empty(*strengths.shape, *self.start.shape)
        correct = np.zeros(strengths.shape, np.int64)

        def train(members: Ints) -> None:
            group = [folds[number] for number in members]
            with torch.inference_mode():
                best, correct[members] = self._train_group(group, strengths[members])
            weights[torch.from_numpy(members)] = best

        with one_thread_each() as cores:
            # A GPU takes one group after the other.
            workers = cores if self.features.device.type == "cpu" else 1
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(train, self._groups(folds, strengths.shape[1])))
        accuracy = correct / np.array([[len(fold.dev)] for fold in folds])
        return BatchedModels(weights, accuracy, self.features, self.labels)

    def _groups(self, folds: Sequence[Fold], strengths: int) -> list[Ints]:
        """Split the folds into even groups with equally many steps a pass, bounded in memory."""
        by_steps: dict[int, list[int]] = defaultdict(list)
        for number, fold in enumerate(folds):
            by_steps[math.ceil(len(fold.train) / self.options.batch_size)].append(number)
        classes, width = self.start.shape
        # weights, best weights, gradient and two moments; the rows of a batch
        each = 4 * width * (5 * strengths * classes + self.options.batch_size)
        most = max(1, _GROUP_BYTES[self.features.device.type] // each)
        groups: list[Ints] = []
        for members in by_steps.values():
            groups += np.array_split(members, math.ceil(len(members) / most))
        return groups

    def _train_group(self, group: Sequence[Fold], strengths: Doubles) -> tuple[Tensor, Ints]:
        """Train F × S problems that take the same number of steps a pass, each to its own end.

        Problems that stop are dropped, so that the last ones do not pay for all.

        Args:
            group: ``F`` folds.
            strengths: L2 strengths ``[F, S]``.

        Returns:
            tuple[Tensor, Ints]: The best weights of each problem ``[F, S, C, D]``, and how many dev
            rows they get right ``[F, S]``.
        """
        import torch

        options = self.options
        # Folds of one size share a stream: SentEval seeds each classifier anew.
        streams = {_size(fold): _stream(fold, options.seed) for fold in group}
        problems = _Problems(self.features, self.start, strengths, options.learning_rate)
        best = problems.weights.clone()
        correct = np.full(strengths.shape, -1)
        failures = np.zeros(strengths.shape, np.int64)
        # Fold and strength of each problem that still runs.
        places: Ints = np.indices(strengths.shape)
        rows, columns = places[0], places[1]
        for _ in range(0, options.max_epoch + 1, options.epoch_size):
            folds = [group[number] for number in rows[:, 0]]
            for _ in range(options.epoch_size):
                problems.run(*self._pass(folds, streams))
            now = _count_correct(
                self.features, self.labels, problems.weights, [fold.dev for fold in folds]
            )
            # Failures are counted in all, not in a row; the one after the tenacity-th is the end.
            running = failures[rows, columns] <= options.tenacity
            # Equally good is not better: SentEval keeps the earlier weights and counts a failure.
            better = (now > correct[rows, columns]) & running
            correct[rows[better], columns[better]] = now[better]
            best[rows[better], columns[better]] = problems.weights[torch.from_numpy(better)]
            failures[rows, columns] += ~better
            running = failures[rows, columns] <= options.tenacity
            if not running.any():
                break
            # Folds without a running problem go, then strengths as far as possible: a fold with
            # fewer running problems than another keeps stopped ones as filler.
            kept = np.flatnonzero(running.any(1))
            width = int(running.sum(1).max())
            if (len(kept), width) != running.shape:
                order = np.argsort(~running[kept], axis=1, kind="stable")[:, :width]
                problems.keep(kept, order)
                rows, columns = rows[kept[:, None], order], columns[kept[:, None], order]
        return best, correct

    def _pass(
        self, folds: list[Fold], streams: Mapping[tuple[int, int], np.random.RandomState]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Shuffle the training rows of each fold and split them into batches.

        Args:
            folds: ``F`` folds.
            streams: The random numbers of each seed and size of fold.

        Returns:
            tuple[Tensor, Tensor, Tensor]: Rows of the feature matrix ``[K, F·B]``, of which filler
            in the last batch may be any row; the label of each row as 0 and 1 ``[K, F, 1, C, B]``;
            and the weight of a row of the last batch ``[F, 1, 1, B]``: 1 / its rows, filler 0.
        """
        import torch

        size = self.options.batch_size
        sizes = sorted({_size(fold) for fold in folds})
        orders = {key: streams[key].permutation(key[1]) for key in sizes}
        steps = -(-len(folds[0].train) // size)
        rows = np.zeros((len(folds), steps * size), np.int64)
        weights = np.zeros((len(folds), size))
        for number, fold in enumerate(folds):
            count = len(fold.train)
            rows[number, :count] = fold.train[orders[_size(fold)]]
            last = count - (steps - 1) * size
            weights[number, :last] = 1 / last
        device = self.features.device
        chosen = torch.from_numpy(rows).to(device).view(len(folds), steps, size).transpose(0, 1)
        classes = torch.arange(len(self.start), device=device)[:, None]
        targets = (self.labels[chosen][:, :, None, None] == classes).to(self.features.dtype)
        weight = torch.from_numpy(weights).to(self.features)[:, None, None]
        return chosen.reshape(steps, -1), targets, weight


def _size(fold: Fold) -> tuple[int, int]:
    return fold.drawn, len(fold.train)


def _stream(fold: Fold, seed: int) -> np.random.RandomState:
    """Return NumPy's legacy generator, which is SentEval's, where this fold's training begins."""
    stream = np.random.RandomState(seed)
    if fold.drawn:
        stream.permutation(fold.drawn)
    return stream


def _first_weights(classes: int, width: int, seed: int) -> Tensor:
    """Return what ``nn.Linear`` starts from after ``torch.manual_seed(seed)``, the bias last."""
    import torch

    random = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(width)
    weight = torch.empty(classes, width).uniform_(-bound, bound, generator=random)
    bias = torch.empty(classes).uniform_(-bound, bound, generator=random)
    return torch.cat([weight, bias[:, None]], dim=1)


class _Problems:
    """Weights and Adam's moments of F × S classifiers ``[F, S, C, D]``.

    Bias and weights lie in one tensor, so both decay: SentEval hands all parameters to Adam in one
    group. The decay is Adam's own (added to the gradient), not AdamW's.
    """

    def __init__(
        self, features: Tensor, start: Tensor, strengths: Doubles, learning_rate: float
    ) -> None:
        import torch

        self.features = features
        self.decay = torch.from_numpy(strengths).to(start)[:, :, None, None]
        self.weights = start.repeat(*strengths.shape, 1, 1)
        self.mean = torch.zeros_like(self.weights)
        self.square = torch.zeros_like(self.weights)
        self.learning_rate = learning_rate
        self.steps = 0

    def run(self, batches: Tensor, targets: Tensor, last_weights: Tensor) -> None:
        """Take one optimizer step for each batch of a pass."""
        import torch

        folds, strengths, classes, width = self.weights.shape
        last, size = len(batches) - 1, last_weights.shape[-1]
        flat = self.weights.view(folds, strengths * classes, width)
        gradient = torch.empty_like(self.weights)
        flat_gradient = gradient.view_as(flat)
        rows = self.features.new_empty(folds * size, width)
        inputs = rows.view(folds, size, width)
        # B as the last axis: with the few classes there, products and softmax take 15 × as long.
        scores = self.features.new_empty(folds, strengths * classes, size)
        by_class = scores.view(folds, strengths, classes, size)
        for number, (chosen, target) in enumerate(zip(batches, targets, strict=True)):
            torch.index_select(self.features, 0, chosen, out=rows)
            torch.bmm(flat, inputs.transpose(1, 2), out=scores)
            # d cross-entropy / d scores = softmax - one-hot, averaged over the batch
            torch.softmax(by_class, 2, out=by_class).sub_(target)
            by_class.mul_(last_weights if number == last else 1 / size)
            torch.mul(self.weights, self.decay, out=gradient)
            flat_gradient.baddbmm_(scores, inputs)
            self._adam(gradient)

    def _adam(self, gradient: Tensor) -> None:
        import torch

        self.steps += 1
        correction = math.sqrt(1 - _BETA2**self.steps)
        rate = self.learning_rate * correction / (1 - _BETA1**self.steps)
        self.mean.lerp_(gradient, 1 - _BETA1)
        self.square.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
        # The gradient is used up; its memory holds the divisor.
        torch.sqrt(self.square, out=gradient).add_(_EPSILON * correction)
        self.weights.addcdiv_(self.mean, gradient, value=-rate)

    def keep(self, folds: Ints, strengths: Ints) -> None:
        """Drop all problems but ``folds [F']``, and ``strengths [F', S']`` of each of these."""
        import torch

        chosen = torch.from_numpy(folds)[:, None], torch.from_numpy(strengths)
        self.weights, self.decay = self.weights[chosen], self.decay[chosen]
        self.mean, self.square = self.mean[chosen], self.square[chosen]


@dataclass(frozen=True)
class BatchedModels:
    """Trained classifiers, F folds × S strengths.

    Attributes:
        weights: ``[F, S, C, D]``.
        dev_accuracy: ``[F, S]``, 0..1.
        features: ``[N, D]``, the last column 1.
        labels: Class ids ``[N]``.
    """

    weights: Tensor
    dev_accuracy: Doubles
    features: Tensor
    labels: Tensor

    def correct(self, rows: Sequence[Ints]) -> list[NDArray[np.bool_]]:
        """Tell for each fold which of other rows ``[m]`` are right: ``[S, m]``."""
        return [
            _correct(self.features, self.labels, weights, chosen).cpu().numpy()
            for weights, chosen in zip(self.weights, rows, strict=True)
        ]


def _correct(features: Tensor, labels: Tensor, weights: Tensor, rows: Ints) -> Tensor:
    """Tell which rows ``[m]`` the classifiers ``[S, C, D]`` of a fold get right: ``[S, m]``."""
    import torch

    chosen = torch.from_numpy(rows).to(features.device)
    # [S, C, D] x [D, m] -> [S, C, m]
    return (weights @ features[chosen].T).argmax(1) == labels[chosen]


def _count_correct(features: Tensor, labels: Tensor, weights: Tensor, rows: Sequence[Ints]) -> Ints:
    """Count the rows of each fold that the classifiers ``[F, S, C, D]`` get right: ``[F, S]``."""
    import torch

    counts = torch.empty(weights.shape[:2], dtype=torch.int64, device=weights.device)
    for fold, numbers in enumerate(rows):
        counts[fold] = _correct(features, labels, weights[fold], numbers).sum(1)
    return counts.cpu().numpy()


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Run PyTorch's operations on one thread each while the block runs.

    Products this small gain little from being cut in two, and lose much whenever another program
    holds up one of the halves.

    Yields:
        int: How many threads there were, which may each do work of their own instead.
    """
    import torch

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield threads
    finally:
        torch.set_num_threads(threads)


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
