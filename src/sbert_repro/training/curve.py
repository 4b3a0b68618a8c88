"""The training loss of every step, and the stop at the first step that is no number any more."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sbert_repro.errors import Diverged
from sbert_repro.training.distributed import mean_over_ranks

_SHOWN_ROWS = 16


class LossCurve:
    """Losses of all steps so far, and a watch over their gradients.

    A loss may be finite and its gradient not: the step then makes weights of NaN, and the loss says
    so one step later, when they may have been saved. So the gradients' norm is looked at too.
    Both are fetched from the device in groups: asking a GPU for a number after each step would make
    it wait for the question.

    Attributes:
        values: The loss of each step.
        last_good: Where the run stood when it was last saved, for the message about what is no
            number.
    """

    def __init__(self, advice: str = "") -> None:
        """Begin a curve.

        Args:
            advice: What to do about what is no number, for the message.
        """
        self.values: list[float] = []
        self.last_good = "nothing had been saved before it"
        self._advice = advice
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, norm: Tensor, rows: Tensor) -> None:
        """Take the loss of the next step.

        Args:
            loss: A scalar on any device.
            norm: Norm of all its gradients together before they were clipped; a scalar, as `loss`.
            rows: Row numbers of its examples ``[B]``.
        """
        self._waiting.append((loss.detach(), norm.detach(), rows))

    def fetch(self) -> float:
        """Get the waiting losses and norms from the device and look at them.

        Returns:
            float: Mean of the losses; NaN if none was waiting.

        Raises:
            Diverged: If a loss or a norm is NaN or infinite; names the step, the rows and the last
                checkpoint.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return math.nan
        found = torch.stack([number.float() for step in waiting for number in step[:2]])
        pairs = mean_over_ranks(found).tolist()
        losses, norms = pairs[::2], pairs[1::2]
        for (_, _, rows), loss, norm in zip(waiting, losses, norms, strict=True):
            self.values.append(loss)
            if not math.isfinite(loss):
                raise Diverged(self._refusal(f"the loss is {loss}", rows))
            if not math.isfinite(norm):
                raise Diverged(self._refusal(f"the norm of the gradients is {norm}", rows))
        return sum(losses) / len(losses)

    def look_at(self, weights: Iterable[Tensor], rows: Tensor) -> None:
        """Refuse weights that are no numbers; to be asked before they are saved.

        Finite gradients make such weights too, where the learning rate is large enough.

        Args:
            weights: All weights of the module.
            rows: Row numbers of the last step's examples ``[B]``.

        Raises:
            Diverged: If one is NaN or infinite.
        """
        norm = float(nn.utils.get_total_norm(w.detach() for w in weights))
        if not math.isfinite(norm):
            raise Diverged(self._refusal(f"the norm of the weights is {norm}", rows))

    def _refusal(self, found: str, rows: Tensor) -> str:
        shown = ", ".join(map(str, rows[:_SHOWN_ROWS].tolist()))
        more = " …" if len(rows) > _SHOWN_ROWS else ""
        return (
            f"{found} at step {len(self.values)} (rows {shown}{more}); {self.last_good}. "
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
