"""Texts as rows of a file of word vectors: what a BiLSTM reads where BERT reads word pieces."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sbert_repro.data.word_tokens import moses, penn_treebank
from sbert_repro.data.word_vectors import WordVectors
from sbert_repro.errors import UserError
from sbert_repro.storage import write_file

SPLITS: dict[str, Callable[[str], list[str]]] = {"penn_treebank": penn_treebank, "moses": moses}
"""Name → how a sentence is taken apart."""
MARKERS = ("<s>", "</s>")
"""What InferSent puts around a sentence; both are words of GloVe's 840B file."""
DESCRIPTION = "words.json"
VERSION = 1
"""Raised when the same text would give other rows."""


class WordTokenizer:
    """Splits texts into those of their words that have a vector.

    As in InferSent, a word without a vector is left out, and so is a marker; a text of which
    nothing is left becomes the end marker. Vectors that know lower case only are asked for lower
    case.

    # paper: InferSent looks words up as they are written, in GloVe's 840B file, which has them so
    # here: the same; in lower case where the file has no word with a capital letter
    # effect: profiles lite and demo, whose vectors have none

    Attributes:
        pad_token_id: The row after the last one; it stands on padding, and for an end marker that
            has no vector. It means a vector of zeros.
        name: The file of the vectors, as it was asked for.
        vectors_sha256: Its content.
    """

    def __init__(
        self,
        vectors: WordVectors,
        name: str,
        *,
        split: str = "penn_treebank",
        markers: Sequence[str] = MARKERS,
    ) -> None:
        """Take the words that have vectors.

        Args:
            vectors: The word vectors.
            name: The file they are found by.
            split: A name from ``SPLITS``.
            markers: What stands before and after each text.

        Raises:
            UserError: If there is no such split, or the markers are not two.
        """
        if split not in SPLITS:
            raise UserError(f"encoder.tokenisation={split} is unknown: use {' or '.join(SPLITS)}")
        if len(markers) != 2:  # noqa: PLR2004
            raise UserError(f"encoder.markers={list(markers)}: expected two, before and after")
        self.name, self.vectors_sha256 = name, vectors.sha256
        self.pad_token_id = len(vectors.index)
        self.split, self.markers = split, tuple(markers)
        self.lowercase = all(word == word.lower() for word in vectors.index)
        self._index = vectors.index

    @property
    def identity(self) -> str:
        """What tells one from another: the sha256 of the vectors' file and of what is done."""
        does = [VERSION, self.vectors_sha256, self.split, *self.markers, self.lowercase]
        return hashlib.sha256(json.dumps(does).encode()).hexdigest()

    def num_special_tokens_to_add(self) -> int:
        """Give the number of markers that have vectors.

        Returns:
            int: 0 to 2.
        """
        return sum(marker in self._index for marker in self.markers)

    def words(self, text: str) -> list[str]:
        """Split a text, without markers.

        Args:
            text: Raw text.

        Returns:
            list[str]: All its words, as they are looked up.
        """
        return SPLITS[self.split](text.lower() if self.lowercase else text)

    def rows(self, words: Sequence[str]) -> list[int]:
        """Look words up.

        Args:
            words: From `words`.

        Returns:
            list[int]: Rows of those that have a vector.
        """
        return [self._index[word] for word in words if word in self._index]

    def save_pretrained(self, folder: Path) -> None:
        """Write down which vectors a model needs; 2 GB of them are not copied into each model.

        Args:
            folder: The model's folder.
        """
        said = {
            "word_vectors": self.name,
            "sha256": self.vectors_sha256,
            "split": self.split,
            "markers": list(self.markers),
        }
        write_file(folder / DESCRIPTION, json.dumps(said, indent=2, sort_keys=True) + "\n")


class WordRows:
    """Turns texts into rows of the vectors' file; counts what it cuts.

    Args:
        tokenizer: The tokenizer.
        max_length: Greatest number of words with a vector, without the markers around them.

    Attributes:
        truncated: Texts cut so far.
        empty: Texts without a word that has a vector so far.
        words: Words so far.
        unknown: Of these, the ones without a vector.
    """

    def __init__(self, tokenizer: WordTokenizer, max_length: int) -> None:
        if max_length < 1:
            raise UserError(f"max_length={max_length}: expected at least 1 word")
        self.truncated = self.empty = self.words = self.unknown = 0
        self._tokenizer, self._max_length = tokenizer, max_length
        self._before, self._after = (tokenizer.rows([marker]) for marker in tokenizer.markers)

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Turn texts into rows.

        Args:
            texts: ``N`` texts of any length.

        Returns:
            list[np.ndarray]: ``N`` arrays ``[T]``, int32, ``T`` at least 1, markers included.
        """
        return [np.array(self._of_one(text), dtype=np.int32) for text in texts]

    def _of_one(self, text: str) -> list[int]:
        words = self._tokenizer.words(text)
        rows = self._tokenizer.rows(words)
        self.words += len(words)
        self.unknown += len(words) - len(rows)
        self.truncated += len(rows) > self._max_length
        self.empty += not rows
        whole = [*self._before, *rows[: self._max_length], *self._after]
        return whole or [self._tokenizer.pad_token_id]
