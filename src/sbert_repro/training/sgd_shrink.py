"""Gradient descent whose rate shrinks when the dev score does not rise: InferSent's recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sbert_repro.training.optimizers import Named


class ShrinkingRate(LRScheduler):
    """A rate that decays from epoch to epoch, and is divided after an epoch without a better score.

    Attributes:
        shrinks: How often it has been divided.
        best: The best dev score at an epoch's end.
    """

    def __init__(
        self, optimizer: Optimizer, epoch_steps: int, *, decay: float, shrink: float, min_lr: float
    ) -> None:
        """Start at the optimizer's own rate.

        Args:
            optimizer: Whose rate.
            epoch_steps: Steps of an epoch.
            decay: Factor from one epoch to the next.
            shrink: Divisor after an epoch without a better score.
            min_lr: The rate below which there is no use in going on.
        """
        self.epoch_steps, self.decay, self.shrink, self.min_lr = epoch_steps, decay, shrink, min_lr
        self.shrinks, self.best = 0, float("-inf")
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Give the rate of the next step.

        Returns:
            list[float | torch.Tensor]: One for each group.
        """
        return [float(base) * self._factor(self.last_epoch) for base in self.base_lrs]

    def _factor(self, step: int) -> float:
        return float(self.decay ** (step // self.epoch_steps) / self.shrink**self.shrinks)

    def looked(self, score: float) -> bool:
        """Take note of a dev score; called once, at the end of each epoch.

        Args:
            score: The score; NaN is never better.

        Returns:
            bool: Whether training ends.
        """
        if score > self.best:
            self.best = score
            return False
        self.shrinks += 1
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        # The rate of the epoch that has ended, divided; the decay comes when the next one begins.
        ended = self._factor(self.last_epoch - 1)
        return bool(max(map(float, self.base_lrs)) * ended < self.min_lr)


@dataclass(frozen=True)
class ShrinkingSgd:
    """Plain stochastic gradient descent with `ShrinkingRate`.

    # paper: Conneau et al. (2017): SGD, learning rate 0.1, weight decay 0.99; divided by 5 after an
    #   epoch whose dev accuracy has decreased, ended below 1e-5
    # here: as their code reads this: 0.99 is a decay of the rate from one epoch to the next, and an
    #   accuracy that has not risen above the best so far counts as a decrease
    # effect: the InferSent rows of profiles that train it

    Attributes:
        VERSION: Raised by hand when the same options would make other steps.
        lr: Learning rate of the first epoch.
        decay: Factor from one epoch to the next.
        shrink: Divisor after an epoch whose dev score is not the best.
        min_lr: Training ends when the rate has shrunk below this.
    """

    name: ClassVar[str] = "sgd_shrink"
    VERSION: ClassVar[int] = 1
    lr: float = 0.1
    decay: float = 0.99
    shrink: float = 5.0
    min_lr: float = 1e-5

    def over(self, parameters: Named) -> Optimizer:
        """Make the optimizer.

        Args:
            parameters: Names and parameters of the whole model, head included.

        Returns:
            Optimizer: With one group.
        """
        return torch.optim.SGD([p for _, p in parameters if p.requires_grad], lr=self.lr)

    def schedule(self, optimizer: Optimizer, epoch_steps: int) -> ShrinkingRate:
        """Make the schedule.

        Args:
            optimizer: From `over`.
            epoch_steps: Steps of an epoch.

        Returns:
            ShrinkingRate: To be stepped after each optimizer step.
        """
        rates = {"decay": self.decay, "shrink": self.shrink, "min_lr": self.min_lr}
        return ShrinkingRate(optimizer, epoch_steps, **rates)
