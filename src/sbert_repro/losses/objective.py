"""The base class of all training objectives, and the head that some of them share."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from sbert_repro.errors import UserError

Needs = Literal["labels", "scores", "triplets"]
INITS = ("bert", "torch")
_BERT_STD = 0.02


def head(width: int, outputs: int, *, bias: bool = True, init: str = "torch") -> nn.Linear:
    """Make the linear layer on top of an encoder.

    Args:
        width: Width of what it sees.
        outputs: Classes, or 1 for a score.
        bias: Whether it has one.
        init: ``torch``: the default of ``nn.Linear``, uniform within 1/sqrt(width); ``bert``: as
            BERT's own layers, N(0, 0.02) and a bias of 0.

    Returns:
        The layer.

    Raises:
        UserError: If there is no such init.
    """
    if init not in INITS:
        raise UserError(f"expected one of {', '.join(INITS)}", where=f"loss.init={init}")
    layer = nn.Linear(width, outputs, bias=bias)
    if init == "bert":
        nn.init.normal_(layer.weight, std=_BERT_STD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layer


class Objective(nn.Module):
    """A training objective over sentence vectors.

    A new one is one file in this folder and one in ``configs/loss``. It sees vectors only, so that
    the one LightningModule serves all of them; parameters it creates (W_t) are trained and saved
    with the model. A constructor that asks for ``width`` gets the width ``D`` of the vectors.

    Attributes:
        columns: Sentences in an example, ``k``; 1 where the two of a pair are read as one.
        needs: What the data must hold beside the sentences.
        name: The word after ``loss=``; keys and saved models hold it.
        VERSION: Raised by hand when the same options would give other numbers; part of run keys.
    """

    columns: ClassVar[int]
    needs: ClassVar[Needs]
    name: ClassVar[str]
    VERSION: ClassVar[int]

    def forward(self, embeddings: tuple[Tensor, ...], target: Tensor | None) -> Tensor:
        """Return the loss of a batch; every objective overrides this.

        Args:
            embeddings: ``k`` tensors ``[B, D]``.
            target: Class ids (int64) or gold scores in 0..1 (float32), ``[B]``; ``None`` for
                triplets.

        Returns:
            Tensor: A scalar, the mean over the batch.

        Raises:
            TypeError: If the class is used itself instead of one of the objectives.
        """
        raise TypeError(f"{type(self).__name__} has no forward; choose one of configs/loss")

    def predict(self, embeddings: Tensor) -> Tensor:
        """Return what dev scores are computed from.

        Args:
            embeddings: ``[N, D]``.

        Returns:
            Tensor: The vectors themselves, whose similarity counts; an objective that reads a pair
            as one returns its scores, ``[N, 1]``.
        """
        return embeddings
