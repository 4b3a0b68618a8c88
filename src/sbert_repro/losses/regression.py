"""The regression objective, for STS benchmark and AFS."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from sbert_repro.losses.objective import Needs, Objective


class RegressionLoss(Objective):
    """Squared error between cosine(u, v) and the gold score (section 3, "Regression Objective").

    # paper: mean-squared-error loss; how gold scores 0..5 meet a cosine is not said
    # here: gold scores are brought to 0..1 before they get here, as in the authors' code
    # effect: table 2, table 3, table 6 (STSb column)
    """

    columns: ClassVar[int] = 2
    needs: ClassVar[Needs] = "scores"
    name: ClassVar[str] = "regression"
    VERSION: ClassVar[int] = 1

    def forward(self, embeddings: tuple[Tensor, ...], target: Tensor | None) -> Tensor:
        """Return the mean squared error.

        Args:
            embeddings: u and v, each ``[B, D]``.
            target: Gold scores in 0..1, ``[B]``, float32.

        Returns:
            Tensor: A scalar.
        """
        assert target is not None, "the regression objective needs gold scores"
        u, v = embeddings
        return F.mse_loss(F.cosine_similarity(u, v), target)
