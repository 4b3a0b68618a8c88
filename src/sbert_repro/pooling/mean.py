"""MEAN pooling, the paper's default."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn


class MeanPooling(nn.Module):
    """Mean of the states of a sentence's word pieces (section 3, "MEAN-strategy").

    [CLS] and [SEP] count as word pieces, as in the authors' code; padding never does.
    """

    name: ClassVar[str] = "mean"
    VERSION: ClassVar[int] = 1

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool.

        Args:
            states: Token states ``[N, T, D]``.
            mask: ``True`` on word pieces, ``False`` on padding; ``[N, T]``.

        Returns:
            Tensor: Sentence vectors ``[N, D]``, float32.
        """
        # In float32 also when the states are bf16: a sum over T bf16 numbers loses digits.
        weight = mask.unsqueeze(-1).float()
        return (states.float() * weight).sum(1) / weight.sum(1).clamp(min=1.0)
