"""The triplet objective, for the Wikipedia sections."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from sbert_repro.errors import UserError
from sbert_repro.losses.objective import Needs, Objective

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "euclidean": lambda a, b: F.pairwise_distance(a, b, p=2),
    "manhattan": lambda a, b: F.pairwise_distance(a, b, p=1),
    "cosine": lambda a, b: 1 - F.cosine_similarity(a, b),
}
"""How far apart two rows are, ``[B]``; the paper uses the Euclidean distance."""


class TripletLoss(Objective):
    """max(||s_a - s_p|| - ||s_a - s_n|| + ε, 0), ε = 1 (section 3, "Triplet Objective").

    # paper: margin 1; the authors' first Wikipedia script had 0.2, their class 5 from v0.3.5 on
    # here: margin 1, an option
    # effect: table 4
    """

    columns: ClassVar[int] = 3
    needs: ClassVar[Needs] = "triplets"
    name: ClassVar[str] = "triplet"
    VERSION: ClassVar[int] = 1

    def __init__(self, margin: float = 1.0, distance: str = "euclidean") -> None:
        """Choose margin and distance.

        Args:
            margin: ε, by how much the positive must be closer than the negative.
            distance: A name from ``DISTANCES``.

        Raises:
            UserError: If the distance is unknown.
        """
        super().__init__()
        if distance not in DISTANCES:
            raise UserError(
                f"expected one of {', '.join(DISTANCES)}", where=f"loss.distance={distance}"
            )
        self.margin, self.distance = margin, distance

    def distances(self, embeddings: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Measure anchor to positive and anchor to negative.

        Args:
            embeddings: Anchor, positive, negative, each ``[B, D]``.

        Returns:
            tuple[Tensor, Tensor]: Two tensors ``[B]``.
        """
        anchor, positive, negative = embeddings
        apart = DISTANCES[self.distance]
        return apart(anchor, positive), apart(anchor, negative)

    def forward(self, embeddings: tuple[Tensor, ...], target: Tensor | None) -> Tensor:
        """Return the mean hinge loss.

        Args:
            embeddings: Anchor, positive, negative, each ``[B, D]``.
            target: Not used; the order of the sentences is the target.

        Returns:
            Tensor: A scalar.
        """
        to_positive, to_negative = self.distances(embeddings)
        return F.relu(to_positive - to_negative + self.margin).mean()
