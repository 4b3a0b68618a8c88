"""The usual way to SentEval's numbers: one classifier after the other, each with an optimizer.

The peer of `sbert_repro.evaluation.logistic`, and its oracle: same seed, same rows in
the same order, so the same classifiers but for rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sbert_repro.evaluation.logistic import (
    BatchedClassifier,
    BatchedModels,
    BatchedTrainer,
    Doubles,
    Fold,
    Ints,
    one_thread_each,
)


@dataclass(frozen=True)
class PlainClassifier(BatchedClassifier):
    """The same options."""

    def on(self, features: NDArray[np.floating], labels: Ints) -> PlainTrainer:
        """Take the features of a task to the device.

        Args:
            features: ``[N, D]``.
            labels: Class ids ``[N]``, 0 to C - 1.

        Returns:
            PlainTrainer: Trains on rows of these features.
        """
        return PlainTrainer(self, features, labels)


class PlainTrainer(BatchedTrainer):
    """Trains each problem on its own."""

    def fit(self, folds: Sequence[Fold], strengths: Doubles) -> BatchedModels:
        """Train every fold with each of its strengths, one after the other.

        Args:
            folds: ``F`` folds.
            strengths: L2 strengths ``[F, S]``.

        Returns:
            BatchedModels: Each problem's best weights by its watched rows.
        """
        weights = self.start.new_empty(*strengths.shape, *self.start.shape)
        watched = np.zeros(strengths.shape)
        # Steps this small are no faster on two threads, and much slower on a busy machine.
        with one_thread_each():
            for place, strength in np.ndenumerate(strengths):
                model, watched[place] = self._fit(folds[place[0]], float(strength))
                weights[place] = torch.cat([model.weight, model.bias[:, None]], dim=1).detach()
        return BatchedModels(weights, watched, self.features, self.labels)

    def _fit(self, fold: Fold, strength: float) -> tuple[nn.Linear, float]:
        options = self.options
        random = np.random.RandomState(options.seed)
        if fold.drawn:
            random.permutation(fold.drawn)
        torch.manual_seed(options.seed)
        model = nn.Linear(self.features.shape[1] - 1, len(self.start)).to(self.features)
        optimizer = torch.optim.Adam(
            model.parameters(), lr=options.learning_rate, weight_decay=strength
        )
        train, watch = self._rows(fold.train), self._rows(fold.dev)
        best, kept, failures = -1.0, model, 0
        for _ in range(0, options.max_epoch + 1, options.epoch_size):
            for _ in range(options.epoch_size):
                self._pass(model, optimizer, train, random)
            with torch.no_grad():
                accuracy = (model(watch[0]).argmax(1) == watch[1]).double().mean().item()
            if accuracy > best:
                best, kept = accuracy, copy.deepcopy(model)
            elif failures >= options.tenacity:
                break
            else:
                failures += 1
        return kept, best

    def _rows(self, rows: Ints) -> tuple[Tensor, Tensor]:
        return self.features[rows, :-1], self.labels[rows]

    def _pass(
        self,
        model: nn.Linear,
        optimizer: torch.optim.Optimizer,
        train: tuple[Tensor, Tensor],
        random: np.random.RandomState,
    ) -> None:
        features, labels = train
        order = torch.from_numpy(random.permutation(len(labels))).to(labels.device)
        for chosen in order.split(self.options.batch_size):
            scores = model(features.index_select(0, chosen))
            loss = nn.functional.cross_entropy(scores, labels.index_select(0, chosen))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
