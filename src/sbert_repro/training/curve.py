"""The training loss of every step, and the stop when it is no number any more."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sbert_repro.errors import Diverged

_SHOWN_ROWS = 16


class LossCurve:
    """Losses of all steps so far.

    They are fetched from the device in groups: asking a GPU for a number after each step would make
    it wait for the question.

    Attributes:
        values: The loss of each step.
        last_good: Where the run stood when it was last saved, for the message about a loss that is
            no number.
    """

    def __init__(self, advice: str = "") -> None:
        """Begin a curve.

        Args:
            advice: What to do about a loss that is no number, for the message.
        """
        self.values: list[float] = []
        self.last_good = "nothing had been saved before it"
        self._advice = advice
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def add(self, loss: Tensor, rows: Tensor) -> None:
        """Take the loss of the next step.

        Args:
            loss: A scalar on any device.
            rows: Row numbers of its examples ``[B]``.
        """
        self._waiting.append((loss.detach(), rows))

    def fetch(self) -> float:
        """Get the waiting losses from the device and look at them.

        Returns:
            float: Their mean; NaN if none was waiting.

        Raises:
            Diverged: If one is NaN or infinite; names the step, the rows and the last checkpoint.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return math.nan
        found = torch.stack([loss for loss, _ in waiting]).float().tolist()
        for (_, rows), value in zip(waiting, found, strict=True):
            self.values.append(value)
            if not math.isfinite(value):
                raise Diverged(self._refusal(value, rows.tolist()))
        return sum(found) / len(found)

    def _refusal(self, value: float, rows: list[int]) -> str:
        shown = ", ".join(map(str, rows[:_SHOWN_ROWS])) + (" …" if len(rows) > _SHOWN_ROWS else "")
        return (
            f"the loss is {value} at step {len(self.values)} (rows {shown}); {self.last_good}. "
            f"{self._advice[:1].upper()}{self._advice[1:]}"
        )

    def ends(self) -> tuple[float, float]:
        """Give where the curve begins and ends.

        Returns:
            tuple[float, float]: Mean of the first and of the last tenth of the steps.
        """
        count = max(1, len(self.values) // 10)
        first, last = self.values[:count], self.values[-count:]
        if not first:
            return math.nan, math.nan
        return sum(first) / len(first), sum(last) / len(last)
