"""Average word vectors: GloVe and fastText rows of Tables 1, 2, 3 and 5."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sbert_repro.data.word_vectors import FOLDER, find, load
from sbert_repro.data.words import TOKENISATIONS
from sbert_repro.encoders.base import Vectors
from sbert_repro.errors import UserError

VERSION = 1
"""Raised when the same options would give other vectors."""

_BLOCK = 2048
"""Sentences that are averaged together."""
_log = logging.getLogger(__name__)


class WordAverageEncoder:
    """The mean of the vectors of a sentence's words; a sentence without any gives a zero vector.

    # paper: "average GloVe embeddings", naming neither the file nor the tokenisation
    # here: glove.6B.300d without stop words (``authors``), as in the authors' own averaging
    #   model; ``senteval`` keeps every token
    # effect: tables 1, 2, 3 and 5
    """

    def __init__(
        self,
        path: str,
        label: str | None = None,
        tokenisation: str = "authors",
        data_root: str | None = None,
        cache: str = ".cache",
        progress: bool = True,
        loop: bool = False,
    ) -> None:
        """Open the vectors.

        Args:
            path: A file of word vectors, or its name in ``<data_root>/word_vectors``.
            label: The name that a table prints; ``None``: "Avg. " and the file's name.
            tokenisation: A name from ``TOKENISATIONS``.
            data_root: The data root.
            cache: Folder of all caches.
            progress: Draw a bar while the file is read for the first time.
            loop: Average one sentence after the other, to be timed as the paper was; the same
                vectors up to rounding.

        Raises:
            UserError: If there is no such file or tokenisation, or the file is damaged.
        """
        if tokenisation not in TOKENISATIONS:
            raise UserError(
                f"there is no such tokenisation; there are: {', '.join(TOKENISATIONS)}",
                where=f"encoder.tokenisation={tokenisation}",
            )
        place = find(path, [] if data_root is None else [Path(data_root) / FOLDER])
        self.vectors = load(place, Path(cache), progress=progress)
        self.tokenisation, self.loop = tokenisation, loop
        self.label = label or f"Avg. {place.name}"
        self.facts = self.vectors.facts

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on: the file's content and how sentences are split."""
        return {
            "kind": "word_average",
            "version": VERSION,
            "vectors": self.vectors.sha256,
            "tokenisation": self.tokenisation,
        }

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Average the vectors of each sentence's words, and log how many words have none.

        Args:
            sentences: ``N`` texts.

        Returns:
            Vectors: ``[N, D]``; zero where no word is known.
        """
        if self.loop:
            return self._one_by_one(sentences)
        vectors = np.zeros((len(sentences), self.vectors.values.shape[1]), np.float32)
        words = unknown = 0
        for start in range(0, len(sentences), _BLOCK):
            rows = [self._rows(sentence) for sentence in sentences[start : start + _BLOCK]]
            known = [[row for row in sentence if row is not None] for sentence in rows]
            words += sum(map(len, rows))
            unknown += sum(map(len, rows)) - sum(map(len, known))
            _average(self.vectors.values, known, vectors[start : start + _BLOCK])
        _log.info(
            "%s: %.1f %% of %s words have no vector, %s of %s sentences have none at all",
            self.label,
            100 * unknown / max(words, 1),
            f"{words:,}",
            f"{int((~vectors.any(1)).sum()):,}",
            f"{len(sentences):,}",
        )
        return vectors

    def _one_by_one(self, sentences: Sequence[str]) -> Vectors:
        """Average in a plain Python loop.

        # paper: Table 7 times a simple Python loop with dictionary look-ups and NumPy
        # here: the same, with the tokenisation of this encoder
        # effect: table 7, GloVe's row; our way, many sentences together, is a row of its own
        """
        table = np.asarray(self.vectors.values)  # rows of a memory map cost more to make
        vectors = np.zeros((len(sentences), table.shape[1]), np.float32)
        for number, sentence in enumerate(sentences):
            known = [table[row] for row in self._rows(sentence) if row is not None]
            if known:
                vectors[number] = np.mean(known, axis=0)
        return vectors

    def _rows(self, sentence: str) -> list[int | None]:
        index = self.vectors.index
        words = TOKENISATIONS[self.tokenisation](sentence, index)
        return [None if word is None else index[word] for word in words]


def _average(values: Vectors, rows: list[list[int]], out: Vectors) -> None:
    """Write the mean of each list of rows of ``values [V, D]`` to ``out [n, D]``."""
    lengths = np.array([len(sentence) for sentence in rows])
    some = np.flatnonzero(lengths)
    if len(some):
        gathered = values[np.fromiter(chain.from_iterable(rows), np.int64)]
        starts = np.cumsum(lengths[some]) - lengths[some]
        out[some] = np.add.reduceat(gathered, starts, axis=0) / lengths[some, None]
