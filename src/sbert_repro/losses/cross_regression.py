"""Regression on both sentences read as one, for the cross-encoder rows of Tables 2 and 3."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sbert_repro.errors import UserError
from sbert_repro.losses.objective import Needs, Objective, head

ERRORS = ("cross_entropy", "squared")


class CrossRegressionLoss(Objective):
    """A score from the output of BERT for ``[CLS] a [SEP] b [SEP]`` (section 2, "BERT").

    # paper: a simple regression on the output; head, loss and learning rate are not given
    # here: [CLS] of the last layer, without BERT's pooler -> dropout -> linear -> sigmoid, and
    # cross-entropy against the gold score in 0..1. The authors' code for BERT on AFS has the same
    # but for the dropout, which it makes and never applies: the BERT-AFS rows have ``dropout=0.0``,
    # those of STSb 0.1. ``error=squared`` is a linear score and mean squared error
    # effect: table 2, table 3 (BERT rows)
    """

    columns: ClassVar[int] = 1
    needs: ClassVar[Needs] = "scores"
    name: ClassVar[str] = "cross_regression"
    VERSION: ClassVar[int] = 1

    def __init__(
        self,
        width: int,
        error: str = "cross_entropy",
        dropout: float = 0.1,
        init: str = "torch",
    ) -> None:
        """Make the head.

        Args:
            width: Width ``D`` of the pooled output.
            error: ``cross_entropy`` or ``squared``.
            dropout: Share of the pooled output that is dropped in training.
            init: How the head begins, one of `objective.INITS`.

        Raises:
            UserError: If there is no such error.
        """
        super().__init__()
        if error not in ERRORS:
            raise UserError(f"expected one of {', '.join(ERRORS)}", where=f"loss.error={error}")
        self.error = error
        self.dropout = nn.Dropout(dropout)
        self.head = head(width, 1, init=init)

    def predict(self, embeddings: Tensor) -> Tensor:
        """Score pairs.

        Args:
            embeddings: Pooled outputs ``[N, D]``.

        Returns:
            Tensor: Scores ``[N, 1]``, float32, bigger means closer; in 0..1 with cross-entropy.
        """
        # bf16 knows 256 numbers between 1/2 and 1, and pairs of equal score have no order.
        with torch.autocast(embeddings.device.type, enabled=False):
            scores: Tensor = self.head(self.dropout(embeddings.float()))
        return scores.sigmoid() if self.error == "cross_entropy" else scores

    def forward(self, embeddings: tuple[Tensor, ...], target: Tensor | None) -> Tensor:
        """Return the mean error.

        Args:
            embeddings: Pooled outputs, one ``[B, D]``.
            target: Gold scores in 0..1, ``[B]``, float32.

        Returns:
            Tensor: A scalar.
        """
        assert target is not None, "regression needs gold scores"
        outputs = self.head(self.dropout(embeddings[0])).squeeze(-1)
        if self.error == "cross_entropy":
            return F.binary_cross_entropy_with_logits(outputs, target)
        return F.mse_loss(outputs, target)
