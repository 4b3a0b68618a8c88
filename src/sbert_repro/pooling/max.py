"""MAX pooling."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn


class MaxPooling(nn.Module):
    """Largest value of each dimension over a sentence's word pieces (section 3, "MAX-strategy").

    # paper: a max-over-time of the output vectors; the authors' first release did not mask padding
    # here: padding is masked, as in their code from v0.2.0 on
    # effect: table 6, the MAX rows
    """

    name: ClassVar[str] = "max"
    VERSION: ClassVar[int] = 1

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool.

        Args:
            states: Token states ``[N, T, D]``.
            mask: ``True`` on word pieces, ``False`` on padding; ``[N, T]``.

        Returns:
            Tensor: Sentence vectors ``[N, D]``, float32.
        """
        # Not a large negative number: -inf cannot win against any state, whatever its scale.
        return states.float().masked_fill(~mask.bool().unsqueeze(-1), float("-inf")).max(1).values
