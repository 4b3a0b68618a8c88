"""SentEval's logistic regression, for all folds and all L2 strengths at once.

What each classifier does is SentEval's (``senteval/tools/classifier.py``, nhid 0): a linear layer
with bias, cross-entropy averaged over batches of 64, Adam at 1e-3 with L2 in its gradient, features
as they are; after every 4 passes the accuracy on watched rows, the best weights kept, and an end
at the sixth look in all (not in a row) that did not improve, or after 204 passes. Random numbers
are SentEval's as well: each classifier starts again from the same seed, so those of one size walk
through their rows in the same order. What is ours is that they run side by side.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbert_repro.evaluation.classifiers.fold import FloatArray, Fold, IntArray, ProtocolName
from sbert_repro.evaluation.classifiers.lockstep import count_correct
from sbert_repro.evaluation.classifiers.race import Race, Schedule

# paper: "a logistic regression classifier", no settings; its author names SentEval's default config
# here: that config. SentEval asks for the summed loss by `size_average = False`, which PyTorch has
# ignored since 0.4.1 (2018), so the paper's classifiers averaged it, as here
# effect: table 5

HELD_OUT = 0.05
"""Share of the training rows that decides when the last classifier of a fold stops."""

_GROUP_BYTES = {"cpu": 1 << 21, "cuda": 1 << 30}
"""What the folds of one group need together for weights, moments and a batch.

On a CPU it is what a core's own cache holds: larger groups take a third longer. Group sizes do not
depend on the number of cores, so that the same seed gives the same numbers on any of them.
"""


@dataclass(frozen=True)
class BatchedClassifier(Schedule):
    """Options of SentEval's PyTorch classifier, with the values that the paper's author names.

    Attributes:
        kfold: Folds of every cross-validation; drawn with the same seed.
        device: ``null``: a GPU where there is one, else the CPU.
    """

    kfold: int = 10
    device: str | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What the accuracy depends on, besides the features."""
        options = asdict(self)
        del options["device"]
        return {"classifier": "batched", **options}

    def strengths(self, protocol: ProtocolName) -> tuple[float, ...]:
        """Give SentEval's L2 strengths, the same in every protocol.

        Args:
            protocol: How the task is cut.

        Returns:
            tuple[float, ...]: Weights of the L2 term in Adam's gradient.
        """
        del protocol
        return 1e-5, 1e-4, 1e-3, 1e-2

    def on(self, features: NDArray[np.floating], labels: IntArray) -> BatchedTrainer:
        """Take the features of a task to the device.

        Args:
            features: ``[N, D]``.
            labels: Class ids ``[N]``, 0 to C - 1.

        Returns:
            BatchedTrainer: Trains on rows of these features.
        """
        return BatchedTrainer(self, features, labels)


@dataclass(frozen=True)
class BatchedModels:
    """Finished classifiers, F folds × S strengths.

    Attributes:
        weights: ``[F, S, C, D + 1]``.
        watched: Accuracy on the watched rows ``[F, S]``, 0..1.
        features: Feature matrix with the constant column ``[N, D + 1]``.
        labels: Class ids ``[N]``.
    """

    weights: Tensor
    watched: FloatArray
    features: Tensor
    labels: Tensor

    def accuracy(self, rows: Sequence[IntArray]) -> FloatArray:
        """Score other rows.

        Args:
            rows: Which rows, for each fold.

        Returns:
            FloatArray: ``[F, S]``, 0..1.
        """
        correct = count_correct(self.features, self.labels, self.weights, rows)
        return correct / np.array([[len(chosen)] for chosen in rows])


class BatchedTrainer:
    """Logistic regressions on one feature matrix, trained in lock-step on a CPU or a GPU."""

    def __init__(
        self, options: BatchedClassifier, features: NDArray[np.floating], labels: IntArray
    ) -> None:
        """Copy features and labels to the device.

        Args:
            options: Of the classifier.
            features: ``[N, D]``; the classifiers have their precision.
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
        self.start = _first_weights(int(labels.max()) + 1, width, options.seed).to(self.features)

    def whole(self, rows: IntArray) -> Fold:
        """Train on these rows, of which 5 % are held out to decide when to stop.

        Args:
            rows: All rows there are to train on ``[n]``.

        Returns:
            Fold: The rows held out are those that SentEval takes with this seed.
        """
        order = np.random.RandomState(self.options.seed).permutation(len(rows))
        held_out = max(1, int(HELD_OUT * len(rows)))
        return Fold(rows[order[held_out:]], rows[order[:held_out]], drawn=len(rows))

    def fit(self, folds: Sequence[Fold], strengths: FloatArray) -> BatchedModels:
        """Train every fold with each of its strengths.

        Args:
            folds: ``F`` folds.
            strengths: L2 strengths ``[F, S]``.

        Returns:
            BatchedModels: Each problem's best weights by its watched rows.
        """
        weights = self.start.new_empty(*strengths.shape, *self.start.shape)
        correct = np.zeros(strengths.shape, np.int64)

        def train(numbers: IntArray) -> None:
            group = [folds[number] for number in numbers]
            race = Race(self.features, self.labels, self.start, group, self.options)
            best, correct[numbers] = race.run(strengths[numbers])
            weights[torch.from_numpy(numbers)] = best

        with one_thread_each() as cores:
            # A GPU takes one group after the other.
            workers = cores if self.features.device.type == "cpu" else 1
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(train, self._groups(folds, strengths.shape[1])))
        watched = correct / np.array([[len(fold.watch)] for fold in folds])
        return BatchedModels(weights, watched, self.features, self.labels)

    def _groups(self, folds: Sequence[Fold], strengths: int) -> list[IntArray]:
        """Cut the folds into even groups of as many steps a pass, each within the memory bound."""
        by_steps: dict[int, list[int]] = defaultdict(list)
        for number, fold in enumerate(folds):
            by_steps[math.ceil(len(fold.train) / self.options.batch_size)].append(number)
        classes, width = self.start.shape
        # weights, best weights, gradient and two moments; the rows of a batch
        each = 4 * width * (5 * strengths * classes + self.options.batch_size)
        most = max(1, _GROUP_BYTES[self.features.device.type] // each)
        groups: list[IntArray] = []
        for members in by_steps.values():
            groups += np.array_split(members, math.ceil(len(members) / most))
        return groups


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Keep PyTorch from cutting each operation in pieces; put back how it was.

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


def _first_weights(classes: int, width: int, seed: int) -> Tensor:
    """Give what ``nn.Linear`` starts from after ``torch.manual_seed(seed)``, the bias last."""
    random = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(width)
    weight = torch.empty(classes, width).uniform_(-bound, bound, generator=random)
    bias = torch.empty(classes).uniform_(-bound, bound, generator=random)
    return torch.cat([weight, bias[:, None]], dim=1)
