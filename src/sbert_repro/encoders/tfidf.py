"""tf-idf vectors, the first row of Table 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sbert_repro.encoders.base import Vectors
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    from sklearn.feature_extraction.text import TfidfVectorizer

VERSION = 1
"""Raised when the same sentences would give other vectors."""


class TfidfEncoder:
    """Counts of a sentence's words, each weighted by how few training sentences contain it.

    # paper: "tf-idf"; neither tokens nor weights nor the sentences they come from are named
    # here: scikit-learn's defaults (lower case, words of at least two letters, smooth weights),
    #   fitted on the sentences of the training part of each fold or topic, never on the test part
    # effect: table 3, first row
    """

    def __init__(self, label: str = "tf-idf") -> None:
        """Set the label.

        Args:
            label: The name that a table prints.
        """
        self.label = label
        self.facts: list[Fact] = []

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on besides the sentences that it is fitted on."""
        return {"kind": "tfidf", "version": VERSION}

    def fitted(self, sentences: Sequence[str]) -> FittedTfidf:
        """Learn the words and their weights.

        Args:
            sentences: Training sentences; a repeated one counts once.

        Returns:
            FittedTfidf: The fitted encoder.

        Raises:
            UserError: If no sentence holds a word of at least two letters.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(dtype=np.float32)
        try:
            vectorizer.fit(list(dict.fromkeys(sentences)))
        except ValueError as problem:
            found = f"{self.label} cannot be fitted on {len(sentences):,} sentences: {problem}"
            raise UserError(found) from problem
        return FittedTfidf(self, vectorizer)


class FittedTfidf:
    """A `TfidfEncoder` that was fitted on its training sentences.

    Args:
        encoder: The encoder it comes from.
        vectorizer: The words and their weights.
    """

    def __init__(self, encoder: TfidfEncoder, vectorizer: TfidfVectorizer) -> None:
        self.label, self.facts = encoder.label, encoder.facts
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
        """Embed sentences.

        Args:
            sentences: ``N`` texts; words unknown from training do not count.

        Returns:
            Vectors: ``[N, words]``, of length 1; zero where no word is known.
        """
        if not len(sentences):
            return np.zeros((0, len(self._vectorizer.vocabulary_)), np.float32)
        vectors: Vectors = self._vectorizer.transform(list(sentences)).toarray()
        return vectors
