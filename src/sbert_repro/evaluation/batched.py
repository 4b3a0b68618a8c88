"""All classifiers of a SentEval task at once: every fold and L2 strength, trained in lock-step."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbert_repro.evaluation.logistic import BatchedClassifier, Doubles, Fold, Ints

HELD_OUT = 0.05
"""Share of the training rows that decides when the last classifier of a fold stops."""
_GROUP_BYTES = {"cpu": 1 << 21, "cuda": 1 << 30}
"""What the folds of one group need together for weights, moments and a batch.

On a CPU it is what a core's own cache holds: larger groups take a third longer. Group sizes do not
depend on the number of cores, so that the same seed gives the same numbers on any of them.
"""
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
"""Adam's defaults, which SentEval leaves as they are."""


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
        weights = self.start.new_empty(*strengths.shape, *self.start.shape)
        correct = np.zeros(strengths.shape, np.int64)

        def train(members: Ints) -> None:
            group = [folds[number] for number in members]
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

    @torch.inference_mode()
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
        self.features = features
        self.decay = torch.from_numpy(strengths).to(start)[:, :, None, None]
        self.weights = start.repeat(*strengths.shape, 1, 1)
        self.mean = torch.zeros_like(self.weights)
        self.square = torch.zeros_like(self.weights)
        self.learning_rate = learning_rate
        self.steps = 0

    def run(self, batches: Tensor, targets: Tensor, last_weights: Tensor) -> None:
        """Take one optimizer step for each batch of a pass."""
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
    chosen = torch.from_numpy(rows).to(features.device)
    # [S, C, D] x [D, m] -> [S, C, m]
    return (weights @ features[chosen].T).argmax(1) == labels[chosen]


def _count_correct(features: Tensor, labels: Tensor, weights: Tensor, rows: Sequence[Ints]) -> Ints:
    """Count the rows of each fold that the classifiers ``[F, S, C, D]`` get right: ``[F, S]``."""
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
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield threads
    finally:
        torch.set_num_threads(threads)
