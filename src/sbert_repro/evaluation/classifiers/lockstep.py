"""Many logistic regressions on one feature matrix, moved one optimizer step at a time.

A problem is a fold (which rows it trains on) and an L2 strength. All strengths of a fold see the
same batches in the same order, as they do in SentEval, where each classifier starts from the same
seed; so one gather and one product serve them all. Letters: F folds, S strengths, C classes,
D features with the constant 1 of the bias as the last one, B rows of a batch, K batches of a pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbert_repro.evaluation.classifiers.fold import IntArray

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's defaults, which SentEval leaves as they are."""


@dataclass(frozen=True)
class Pass:
    """One pass over the training rows of every fold, cut into batches.

    Attributes:
        rows: Rows of the feature matrix ``[K, F·B]``; filler in the last batch may be any row.
        targets: Label of each row as 0 and 1 ``[K, F, 1, C, B]``.
        weights: What a row of the last batch counts ``[F, 1, 1, B]``: 1 / rows in it, filler 0.
    """

    rows: Tensor
    targets: Tensor
    weights: Tensor


class Lockstep:
    """Weights and Adam's moments of F × S classifiers ``[F, S, C, D]``.

    Bias and weights lie in one tensor, so both decay: SentEval hands all parameters to Adam in one
    group. Decay is Adam's own (added to the gradient), not AdamW's.
    """

    def __init__(
        self, features: Tensor, start: Tensor, decay: Tensor, learning_rate: float
    ) -> None:
        """Start every problem from the same weights.

        Args:
            features: Feature matrix ``[N, D]``, the last column 1.
            start: First weights ``[C, D]``.
            decay: L2 strength of each problem ``[F, S]``.
            learning_rate: Adam's.
        """
        self.features = features
        self.decay = decay[:, :, None, None]
        self.weights = start.repeat(*decay.shape, 1, 1)
        self.mean = torch.zeros_like(self.weights)
        self.square = torch.zeros_like(self.weights)
        self.learning_rate = learning_rate
        self.steps = 0

    def run(self, batches: Pass) -> None:
        """Take one optimizer step for each batch of a pass.

        Args:
            batches: The pass, for the folds that are still here.
        """
        folds, strengths, classes, width = self.weights.shape
        last, size = len(batches.rows) - 1, batches.weights.shape[-1]
        flat = self.weights.view(folds, strengths * classes, width)
        gradient = torch.empty_like(self.weights)
        flat_gradient = gradient.view_as(flat)
        rows = self.features.new_empty(folds * size, width)
        inputs = rows.view(folds, size, width)
        # B as the last axis: with the few classes there, products and softmax take 15 × as long.
        scores = self.features.new_empty(folds, strengths * classes, size)
        by_class = scores.view(folds, strengths, classes, size)
        for number, (chosen, target) in enumerate(zip(batches.rows, batches.targets, strict=True)):
            torch.index_select(self.features, 0, chosen, out=rows)
            torch.bmm(flat, inputs.transpose(1, 2), out=scores)
            # d cross-entropy / d scores = softmax - one-hot, averaged over the batch
            torch.softmax(by_class, 2, out=by_class).sub_(target)
            by_class.mul_(batches.weights if number == last else 1 / size)
            torch.mul(self.weights, self.decay, out=gradient)
            flat_gradient.baddbmm_(scores, inputs)
            self._adam(gradient)

    def _adam(self, gradient: Tensor) -> None:
        self.steps += 1
        correction = math.sqrt(1 - BETA2**self.steps)
        rate = self.learning_rate * correction / (1 - BETA1**self.steps)
        self.mean.lerp_(gradient, 1 - BETA1)
        self.square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        # The gradient is used up; its memory holds the divisor.
        torch.sqrt(self.square, out=gradient).add_(EPSILON * correction)
        self.weights.addcdiv_(self.mean, gradient, value=-rate)

    def keep(self, folds: IntArray, strengths: IntArray) -> None:
        """Drop all problems but these.

        Args:
            folds: Places of the folds to keep ``[F']``.
            strengths: Places of the strengths to keep, for each of these folds ``[F', S']``.
        """
        first, second = torch.from_numpy(folds)[:, None], torch.from_numpy(strengths)
        self.weights = self.weights[first, second]
        self.mean = self.mean[first, second]
        self.square = self.square[first, second]
        self.decay = self.decay[first, second]


def count_correct(
    features: Tensor, labels: Tensor, weights: Tensor, rows: Sequence[IntArray]
) -> NDArray[np.int64]:
    """Count the rows that each classifier gets right.

    Args:
        features: Feature matrix ``[N, D]``.
        labels: Class ids ``[N]``.
        weights: Classifiers ``[F, S, C, D]``.
        rows: Which rows to score, for each fold.

    Returns:
        NDArray[np.int64]: ``[F, S]``.
    """
    counts = torch.empty(weights.shape[:2], dtype=torch.int64, device=weights.device)
    for fold, numbers in enumerate(rows):
        chosen = torch.from_numpy(numbers).to(features.device)
        # [S, C, D] x [D, m] -> [S, C, m]
        guesses = (weights[fold] @ features[chosen].T).argmax(1)
        counts[fold] = (guesses == labels[chosen]).sum(1)
    return counts.cpu().numpy()
