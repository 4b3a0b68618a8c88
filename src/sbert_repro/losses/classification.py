"""The classification objective, for NLI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from sbert_repro.losses.concatenation import check_parts, concatenate
from sbert_repro.losses.objective import Needs, Objective, head


class ClassificationLoss(Objective):
    """Cross-entropy of o = softmax(W_t (u, v, |u-v|)) (section 3, "Classification Objective").

    # paper: W_t in R^(3n x k), no bias written
    # here: W_t is a linear layer with bias, as in the authors' code; ``bias=false`` drops it
    # effect: table 1, table 6 (NLI column)
    # paper: silent on how W_t begins
    # here: ``init=bert`` in profile paper, as the authors' v0.1.0; their v0.2 has ``init=torch``
    # effect: table 1, table 6 (NLI column); measured in the table of recipes
    """

    columns: ClassVar[int] = 2
    needs: ClassVar[Needs] = "labels"
    name: ClassVar[str] = "classification"
    VERSION: ClassVar[int] = 1
    head: nn.Module

    def __init__(
        self,
        width: int,
        concatenation: Sequence[str] = ("u", "v", "|u-v|"),
        num_labels: int = 3,
        bias: bool = True,
        init: str = "torch",
    ) -> None:
        """Make the head.

        Args:
            width: Width ``D`` of the sentence vectors, n in the paper.
            concatenation: Names of the parts that W_t sees.
            num_labels: Classes, k in the paper.
            bias: Whether W_t has one.
            init: How W_t begins, one of `objective.INITS`.
        """
        super().__init__()
        self.concatenation = check_parts(concatenation)
        self.head = head(len(self.concatenation) * width, num_labels, bias=bias, init=init)

    def logits(self, u: Tensor, v: Tensor) -> Tensor:
        """Score the classes of each pair.

        Args:
            u: Vectors of the first sentences ``[B, D]``.
            v: Vectors of the second sentences ``[B, D]``.

        Returns:
            Tensor: ``[B, num_labels]``, before the softmax.
        """
        scores: Tensor = self.head(concatenate(self.concatenation, u, v))
        return scores

    def forward(self, embeddings: tuple[Tensor, ...], target: Tensor | None) -> Tensor:
        """Return the mean cross-entropy.

        Args:
            embeddings: u and v, each ``[B, D]``.
            target: Class ids ``[B]``, int64.

        Returns:
            Tensor: A scalar.
        """
        assert target is not None, "the classification objective needs class ids"
        u, v = embeddings
        return F.cross_entropy(self.logits(u, v), target)
