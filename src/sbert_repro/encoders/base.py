"""The kinds of model that the paper's tables compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Sentence vectors ``[N, D]``."""


@runtime_checkable
class SentenceEncoder(Protocol):
    """Maps each sentence to one vector, whatever it stands beside (SBERT, averaged GloVe …).

    Attributes:
        label: The name that a table prints.
        notes: What a reader must know about the model, such as partial training data.
    """

    label: str
    notes: list[str]

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the vectors depend on, by content; equal identities give equal vectors."""

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences.

        Args:
            sentences: ``N`` texts; empty and very long ones are allowed.

        Returns:
            Vectors: ``[N, D]``, float32, row by row.
        """


@runtime_checkable
class FittedEncoder(Protocol):
    """Has to see sentences before it can embed any, as tf-idf does (Table 3).

    Attributes:
        label: The name that a table prints.
        notes: What a reader must know about the model.
    """

    label: str
    notes: list[str]

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the vectors depend on beside the sentences that it is fitted on."""

    def fitted(self, sentences: Sequence[str]) -> SentenceEncoder:
        """Learn from sentences.

        Args:
            sentences: Training sentences; never those that will be scored.

        Returns:
            SentenceEncoder: An encoder that knows them; this one stays as it is.
        """


@runtime_checkable
class PairScorer(Protocol):
    """Scores two sentences read together, so that there is no vector of either.

    The cross-encoder rows of Tables 2 and 3 are of this kind.

    Attributes:
        label: The name that a table prints.
        notes: What a reader must know about the model.
    """

    label: str
    notes: list[str]

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the scores depend on, by content."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.floating]:
        """Score pairs.

        Args:
            pairs: ``N`` pairs of texts.

        Returns:
            NDArray[np.floating]: ``[N]``, bigger means closer.
        """
