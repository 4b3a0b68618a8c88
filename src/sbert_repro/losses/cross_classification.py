"""Classification of both sentences read as one: the first stage of a cross-encoder, on NLI."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from sbert_repro.losses.objective import Needs, Objective, head


class CrossClassificationLoss(Objective):
    """Classes from the output of BERT for ``[CLS] a [SEP] b [SEP]``.

    # paper: the BERT-NLI-STSb rows were trained on NLI first, it does not say how
    # here: 3-way softmax over a linear layer on [CLS], dropped before STSb, as SBERT's own head is
    # effect: table 2 (BERT-NLI-STSb rows)
    """

    columns: ClassVar[int] = 1
    needs: ClassVar[Needs] = "labels"
    name: ClassVar[str] = "cross_classification"
    VERSION: ClassVar[int] = 1

    def __init__(
        self, width: int, num_labels: int = 3, dropout: float = 0.1, init: str = "torch"
    ) -> None:
        """Make the head.

        Args:
            width: Width ``D`` of the pooled output.
            num_labels: Classes.
            dropout: Share of the pooled output that is dropped in training.
            init: How the head begins, one of `objective.INITS`.
        """
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.head = head(width, num_labels, init=init)

    def forward(self, embeddings: tuple[Tensor, ...], target: Tensor | None) -> Tensor:
        """Return the mean cross-entropy.

        Args:
            embeddings: Pooled outputs, one ``[B, D]``.
            target: Class ids ``[B]``, int64.

        Returns:
            Tensor: A scalar.
        """
        assert target is not None, "classification needs class ids"
        return F.cross_entropy(self.head(self.dropout(embeddings[0])), target)
