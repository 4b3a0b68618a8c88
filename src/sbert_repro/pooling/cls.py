"""CLS pooling."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn


class ClsPooling(nn.Module):
    """State of the first word piece, [CLS] or <s> (section 3, "CLS-token").

    It is the state itself, without BERT's tanh pooler, as in the authors' code.
    """

    name: ClassVar[str] = "cls"
    VERSION: ClassVar[int] = 1

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool.

        Args:
            states: Token states ``[N, T, D]``.
            mask: ``True`` on word pieces, ``False`` on padding; ``[N, T]``. Padding is at the
                right, so that it never touches the first place.

        Returns:
            Tensor: Sentence vectors ``[N, D]``, float32.
        """
        return states[:, 0].float()
