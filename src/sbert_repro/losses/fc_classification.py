"""The classification objective with layers between vectors and classes, as InferSent has it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from torch import nn

from sbert_repro.errors import UserError
from sbert_repro.losses.classification import ClassificationLoss


class FcClassificationLoss(ClassificationLoss):
    """Cross-entropy of a softmax on fully connected layers over (u, v, |u-v|, u*v).

    # paper: Conneau et al. (2017) classify with one hidden layer of 512 units; their code stacks
    #   three linear layers, without anything between them
    # here: their code; ``nonlinear=true`` puts a tanh after each of the first two
    # effect: the InferSent rows of profiles that train it
    """

    name: ClassVar[str] = "fc_classification"
    VERSION: ClassVar[int] = 1

    def __init__(
        self,
        width: int,
        concatenation: Sequence[str] = ("u", "v", "|u-v|", "u*v"),
        num_labels: int = 3,
        fc_dim: int = 512,
        nonlinear: bool = False,
    ) -> None:
        """Make the layers.

        Args:
            width: Width ``D`` of the sentence vectors.
            concatenation: Names of the parts that the first layer sees.
            num_labels: Classes.
            fc_dim: Width of the two layers between.
            nonlinear: Whether a tanh stands after each of them.

        Raises:
            UserError: If the width of the layers is no width.
        """
        super().__init__(width, concatenation, num_labels)
        if fc_dim < 1:
            raise UserError("expected at least 1", where=f"loss.fc_dim={fc_dim}")
        sizes = [len(self.concatenation) * width, fc_dim, fc_dim, num_labels]
        layers: list[nn.Module] = []
        for into, out in pairwise(sizes):
            layers += [nn.Linear(into, out), *([nn.Tanh()] if nonlinear else [])]
        # No tanh after the last one, whose numbers go into the softmax.
        self.head = nn.Sequential(*layers[: 2 * len(sizes) - 3 if nonlinear else None])
