"""tf-idf vectors, the first row of Table 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from sbert_repro.encoders.base import Vectors
from sbert_repro.errors import UserError

VERSION = 1
"""Raised when the same sentences would give other vectors."""


class TfidfEncoder:
    """Counts of a sentence's words, each weighted by how few training sentences hold it.

    # paper: "tf-idf", no word on tokens, weights, or the sentences that the weights come from
    # here: scikit-learn's defaults (lower case, words of two letters and more, smooth weights),
    #   fitted on the sentences of the training part of each fold or topic, never on the test part
    # effect: table 3, first row
    """

    def __init__(self, label: str = "tf-idf") -> None:
        """Name it.

        Args:
            label: The name that a table prints.
        """
        self.label = label
        self.notes: list[str] = []

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on beside the sentences that it is fitted on."""
        return {"kind": "tfidf", "version": VERSION}

    def fitted(self, sentences: Sequence[str]) -> FittedTfidf:
        """Learn the words and their weights.

        Args:
            sentences: Training sentences; a repeated one counts once.

        Returns:
            FittedTfidf: An encoder that knows them.

        Raises:
            UserError: If they hold no word of two letters.
        """
        vectorizer = TfidfVectorizer(dtype=np.float32)
        try:
            vectorizer.fit(list(dict.fromkeys(sentences)))
        except ValueError as problem:
            raise UserError(
                f"{self.label} cannot be fitted on {len(sentences):,} sentences: {problem}"
            ) from problem
        return FittedTfidf(self, vectorizer)


class FittedTfidf:
    """A `TfidfEncoder` that has seen its training sentences.

    Args:
        encoder: The encoder.
        vectorizer: Its words and weights.
    """

    def __init__(self, encoder: TfidfEncoder, vectorizer: TfidfVectorizer) -> None:
        self.label, self.notes = encoder.label, encoder.notes
        self._encoder, self._vectorizer = encoder, vectorizer

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on."""
        weights = self._vectorizer.idf_.tolist()
        return {
            **self._encoder.identity,
            "weights": dict(zip(self._vectorizer.get_feature_names_out(), weights, strict=True)),
        }

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Weigh the words of sentences.

        Args:
            sentences: ``N`` texts; words that were not in training do not count.

        Returns:
            Vectors: ``[N, words]``, of length 1; zero where no word is known.
        """
        if not len(sentences):
            return np.zeros((0, len(self._vectorizer.vocabulary_)), np.float32)
        vectors: Vectors = self._vectorizer.transform(list(sentences)).toarray()
        return vectors
