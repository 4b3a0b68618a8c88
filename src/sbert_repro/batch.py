"""What travels between the parts of the model, and the letters for its shapes.

Glossary, used in every docstring of this package:

* ``B`` examples in a batch,
* ``k`` sentences in an example: 2 (a pair u, v) or 3 (anchor, positive, negative); 1 where a
  cross-encoder reads the two of a pair as one,
* ``N`` sentences (``N = k · B`` in training),
* ``T`` word pieces of the longest sentence at hand,
* ``D`` width of the token states and, with one pooling, of a sentence vector.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Word pieces of ``N`` sentences, padded at the right to the longest of them.

    Attributes:
        ids: Word-piece ids ``[N, T]``, int64.
        mask: ``True`` where a word piece stands, ``False`` on padding; ``[N, T]``, bool.
        types: 1 on the second text of a pair that is read as one, else 0; ``[N, T]``, int64.
            ``None`` for single sentences.
    """

    ids: Tensor
    mask: Tensor
    types: Tensor | None = None

    def to(self, device: torch.device | str) -> Tokens:
        """Return the same tokens on another device.

        Args:
            device: Where to.

        Returns:
            Tokens: On that device.
        """
        types = None if self.types is None else self.types.to(device, non_blocking=True)
        ids = self.ids.to(device, non_blocking=True)
        return Tokens(ids, self.mask.to(device, non_blocking=True), types)

    def pinned(self) -> Tokens:
        """Return the same tokens in pinned memory, which a GPU copies from by itself.

        Returns:
            Tokens: In pinned memory; their `to` does not wait for the copy.
        """
        types = None if self.types is None else self.types.pin_memory()
        return Tokens(self.ids.pin_memory(), self.mask.pin_memory(), types)


@dataclass(frozen=True)
class Batch:
    """``B`` training examples of ``k`` sentences, ready for one pass through the backbone.

    The siamese network of Figure 1 has tied weights, so all ``k · B`` sentences go through it at
    once: all first sentences, then all second ones, and for triplets all third ones.

    Attributes:
        tokens: ``k · B`` sentences, column after column.
        columns: ``k``.
        target: Class ids (int64) or gold scores in 0..1 (float32), ``[B]``; ``None`` for triplets.
        rows: Row numbers in the data set ``[B]``, int64, so that an error can name them; those of
            the whole batch also where several processes share it.
        weight: Of its loss in the mean over the processes that share a batch.
    """

    tokens: Tokens
    columns: int
    target: Tensor | None
    rows: Tensor
    weight: float = 1.0

    def split(self, embeddings: Tensor) -> tuple[Tensor, ...]:
        """Take the vectors of all sentences apart into u, v (and the third).

        Args:
            embeddings: Sentence vectors ``[k · B, D]`` in the order of ``tokens``.

        Returns:
            tuple[Tensor, ...]: ``k`` tensors ``[B, D]``.
        """
        return embeddings.chunk(self.columns)

    def to(self, device: torch.device | str) -> Batch:
        """Return the same batch on another device.

        Args:
            device: Where to.

        Returns:
            Batch: On that device.
        """
        target = None if self.target is None else self.target.to(device, non_blocking=True)
        return replace(self, tokens=self.tokens.to(device), target=target)

    def pinned(self) -> Batch:
        """Return the same batch in pinned memory, which a GPU copies from by itself.

        Returns:
            Batch: In pinned memory but for ``rows``, which stay on the CPU.
        """
        target = None if self.target is None else self.target.pin_memory()
        return replace(self, tokens=self.tokens.pinned(), target=target)
