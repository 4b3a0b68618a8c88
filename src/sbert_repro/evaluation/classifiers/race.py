"""Training problems side by side until the last one has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbert_repro.evaluation.classifiers.fold import Fold, IntArray
from sbert_repro.evaluation.classifiers.lockstep import Lockstep, Pass, count_correct


@dataclass(frozen=True)
class Schedule:
    """When classifiers take a step, a look and their leave; names and defaults are SentEval's.

    Attributes:
        batch_size: Rows of a step.
        epoch_size: Passes over the rows between two looks at the watched rows.
        tenacity: A problem stops when so many looks, and one more, have not improved.
        max_epoch: The look after this many passes, or the next one, is the last.
        learning_rate: Adam's.
        seed: Of first weights, order of rows, rows held out.
    """

    batch_size: int = 64
    epoch_size: int = 4
    tenacity: int = 5
    max_epoch: int = 200
    learning_rate: float = 1e-3
    seed: int = 1111


class Race:
    """F folds × S strengths that take the same number of steps a pass.

    Problems that stop are dropped, so that the last ones do not pay for all.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        start: Tensor,
        folds: Sequence[Fold],
        schedule: Schedule,
    ) -> None:
        """Line the problems up.

        Args:
            features: Feature matrix ``[N, D]``, the last column 1.
            labels: Class ids ``[N]``.
            start: First weights ``[C, D]``.
            folds: ``F`` folds.
            schedule: When to look and when to stop.
        """
        self.features, self.labels, self.start = features, labels, start
        self.folds, self.schedule = list(folds), schedule
        # Folds of one size share a stream: SentEval seeds each classifier anew.
        self.streams = {_size(fold): _stream(fold, schedule.seed) for fold in folds}

    @torch.inference_mode()
    def run(self, strengths: NDArray[np.float64]) -> tuple[Tensor, NDArray[np.int64]]:
        """Train every problem to its own end.

        Args:
            strengths: L2 strengths ``[F, S]``.

        Returns:
            tuple[Tensor, NDArray[np.int64]]: Each problem's best weights ``[F, S, C, D]``, and how
            many watched rows they get right ``[F, S]``.
        """
        decay = torch.from_numpy(strengths).to(self.start)
        state = Lockstep(self.features, self.start, decay, self.schedule.learning_rate)
        best = state.weights.clone()
        correct = np.full(strengths.shape, -1)
        failures = np.zeros(strengths.shape, np.int64)
        # Fold and strength of each problem that is still here.
        places = np.indices(strengths.shape).astype(np.int64)
        rows, columns = places[0], places[1]
        for _ in range(0, self.schedule.max_epoch + 1, self.schedule.epoch_size):
            here = [self.folds[number] for number in rows[:, 0]]
            for _ in range(self.schedule.epoch_size):
                state.run(self._pass(here))
            now = count_correct(
                self.features, self.labels, state.weights, [fold.watch for fold in here]
            )
            # Equally good is not better: SentEval keeps the earlier weights and counts a failure.
            better = (now > correct[rows, columns]) & self._runs(failures[rows, columns])
            correct[rows[better], columns[better]] = now[better]
            best[rows[better], columns[better]] = state.weights[torch.from_numpy(better)]
            failures[rows, columns] += ~better
            active = self._runs(failures[rows, columns])
            if not active.any():
                break
            rows, columns = _drop(state, active, rows, columns)
        return best, correct

    def _runs(self, failures: NDArray[np.int64]) -> NDArray[np.bool_]:
        # Failures are counted in all, not in a row, and the one after the tenacity-th is the end.
        return failures <= self.schedule.tenacity

    def _pass(self, folds: list[Fold]) -> Pass:
        """Shuffle the rows of each fold and cut them into batches."""
        size = self.schedule.batch_size
        sizes = {_size(fold) for fold in folds}
        orders = {key: self.streams[key].permutation(key[1]) for key in sorted(sizes)}
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
        targets = self.labels[chosen][:, :, None, None] == classes
        return Pass(
            rows=chosen.reshape(steps, -1),
            targets=targets.to(self.features.dtype),
            weights=torch.from_numpy(weights).to(self.features)[:, None, None],
        )


def _size(fold: Fold) -> tuple[int, int]:
    return fold.drawn, len(fold.train)


def _stream(fold: Fold, seed: int) -> np.random.RandomState:
    """Give NumPy's legacy generator, which is SentEval's, where this fold's training begins."""
    stream = np.random.RandomState(seed)
    if fold.drawn:
        stream.permutation(fold.drawn)
    return stream


def _drop(
    state: Lockstep, active: NDArray[np.bool_], rows: IntArray, columns: IntArray
) -> tuple[IntArray, IntArray]:
    """Pack what still runs: folds without a running problem go, then strengths as far as possible.

    A fold with fewer running problems than another keeps stopped ones as filler.
    """
    folds = np.flatnonzero(active.any(1))
    width = int(active.sum(1).max())
    if (len(folds), width) == active.shape:
        return rows, columns
    strengths = np.argsort(~active[folds], axis=1, kind="stable")[:, :width]
    state.keep(folds, strengths)
    kept = folds[:, None], strengths
    return rows[kept], columns[kept]
