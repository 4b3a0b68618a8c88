"""Sentences split into the words that have vectors: the published tokenisation rules.

Which rule is used moves averaged GloVe on the STS benchmark by more than 15 points, and the paper
does not say. `WordTokenizer` is what a BiLSTM reads where BERT reads word pieces.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import string
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

import numpy as np
from typing_extensions import TypedDict

from sbert_repro.data.word_vectors import WordVectors
from sbert_repro.errors import UserError
from sbert_repro.storage import write_file

_MORE_STOP_WORDS = frozenset(
    {
        *"did does doing having just theirs".split(),
        *"ain aren couldn d didn doesn don hadn hasn haven isn ll m ma mightn mustn".split(),
        *"needn o s shan shouldn t ve wasn weren won wouldn y".split(),
        *string.punctuation,
        "``",
        "''",
    }
)


@functools.cache
def stop_words() -> frozenset[str]:
    """Return the words and signs that the authors' averaging model leaves out.

    Their list is scikit-learn's, with a few forms more and what contractions leave.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # a second to import

    return _MORE_STOP_WORDS | ENGLISH_STOP_WORDS


# The rules of the Penn Treebank's sed script. Not NLTK's, although InferSent calls it: SentEval's
# files are split already, and on those NLTK reads a closing '' as an opening ``. Of the 351,366
# distinct sentences of NLI, the STS sets and SentEval, NLTKWordTokenizer splits 5,380 otherwise
# and TreebankWordTokenizer 3,088: '' (3,600 times), cannot and gonna (can not, gon na), Jr.'s, and
# NLTKWordTokenizer alone also ’s, *** and '70s. Our splits are in every BiLSTM and GloVe number.
_PENN_TREEBANK = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\.\.\.+", " ... "),
        (r"--+", " -- "),
        (r"[;@#$%&?!()\[\]{}<>]", r" \g<0> "),
        (r"[:,](?!\d)", r" \g<0> "),  # 1,000 and 9:30 stay whole
        (r"(?<=[^.\s])\.(?=[\])}>\"']*\s*$)", " ."),  # the last full stop only: u.s. stays whole
        (r'(?:(?<=\s)|^)"(?=\S)', "`` "),
        (r'"', " '' "),
        (r"(?<=\w)n't\b", " n't"),
        (r"(?<=\w)'(?=(?:s|m|d|ll|re|ve)\b)", " '"),
        (r"(?<=[^'\s])'(?=\s|$)", " '"),
    )
)


def penn_treebank(sentence: str) -> list[str]:
    """Split a sentence as the Penn Treebank does: *don't* is *do n't*, a final stop stands alone.

    Args:
        sentence: Raw text; text that is split already stays as it is.

    Returns:
        The tokens.
    """
    for pattern, replacement in _PENN_TREEBANK:
        sentence = pattern.sub(replacement, sentence)
    return sentence.split()


def moses(sentence: str) -> list[str]:
    """Split a sentence nearly as Moses does, the way InferSent's second version does.

    It splits by the Penn Treebank's rules and moves the *n* of *n't* to the verb, unless *n't* ends
    the sentence: *do n't go* becomes *don 't go*. Moses itself (sacremoses) splits 14 % of NLI's
    premises otherwise, *'s* and *'re* among them.

    Args:
        sentence: Raw text.

    Returns:
        The tokens.
    """
    return " ".join(penn_treebank(sentence)).replace(" n't ", "n 't ").split()


def authors(sentence: str, known: Container[str]) -> list[str | None]:
    """Return the words that count in the authors' averaging model.

    The sentence is split at white space. Each piece is looked up as it stands, without punctuation
    at its ends, and in lower case: the first of the three that is a stop word drops it, the first
    that has a vector stands for it.

    Args:
        sentence: Raw text.
        known: The words that have vectors.

    Returns:
        A word with a vector, or ``None`` for one without; stop words and bare punctuation are left
        out.
    """
    found: list[str | None] = []
    for piece in sentence.split():
        bare = piece.strip(string.punctuation)
        for form in (piece, bare, bare.lower()):
            if form in stop_words() or not form:
                break
            if form in known:
                found.append(form)
                break
        else:
            found.append(None)
    return found


def senteval(sentence: str, known: Container[str]) -> list[str | None]:
    """Return every token, punctuation too, as SentEval's bag of words does.

    # paper: not said; SentEval's files come split by a Penn Treebank script, its STS files in lower
    #   case, but TREC and MRPC as they were written
    # here: split by the same conventions, always in lower case
    # effect: table 5, TREC and MRPC with vectors that know upper case

    Args:
        sentence: Raw text, or text that is split already.
        known: The words that have vectors.

    Returns:
        A token with a vector, or ``None`` for one without.
    """
    return [token if token in known else None for token in penn_treebank(sentence.lower())]


TOKENISATIONS: Mapping[str, Callable[[str, Container[str]], list[str | None]]] = {
    "authors": authors,
    "senteval": senteval,
}
"""``encoder.tokenisation`` of averaged word vectors → its rule."""
SPLITS: Mapping[str, Callable[[str], list[str]]] = {
    "penn_treebank": penn_treebank,
    "moses": moses,
}
"""``encoder.tokenisation`` of a BiLSTM → its rule."""
MARKERS = ("<s>", "</s>")
"""What InferSent puts around a sentence; both are words of GloVe's 840B file."""
DESCRIPTION = "words.json"
VERSION = 1
"""Raised when `WordTokenizer` turns the same text into other rows."""


class Words(TypedDict):
    """`DESCRIPTION` in a model folder: which vectors it needs, and how texts are split."""

    word_vectors: str
    sha256: str
    split: str
    markers: list[str]


class WordTokenizer:
    """Splits texts into those of their words that have a vector.

    As in InferSent, a word without a vector is left out, and so is a marker; a text of which
    nothing is left becomes the end marker. Vectors whose words are all in lower case are looked up
    in lower case.

    # paper: InferSent looks words up as they are written, in GloVe's 840B file, which has them so
    # here: the same; in lower case where the file has no word with a capital letter
    # effect: profiles lite and demo, whose vectors have none

    Args:
        vectors: The word vectors.
        name: The file they are found by.
        split: A name from `SPLITS`.
        markers: What stands before and after each text.

    Attributes:
        pad_token_id: The row after the last one; it stands on padding, and for an end marker that
            has no vector. It means a vector of zeros.
        name: The file of the vectors, as it was asked for.
        vectors_sha256: Its content.

    Raises:
        UserError: If there is no such split, or the markers are not two.
    """

    def __init__(
        self,
        vectors: WordVectors,
        name: str,
        *,
        split: str = "penn_treebank",
        markers: Sequence[str] = MARKERS,
    ) -> None:
        if split not in SPLITS:
            mend = f"use {' or '.join(SPLITS)}"
            raise UserError("unknown", where=f"encoder.tokenisation={split}", mend=mend)
        if len(markers) != len(MARKERS):
            where = f"encoder.markers={list(markers)}"
            raise UserError("expected two, before and after", where=where)
        self.name, self.vectors_sha256 = name, vectors.sha256
        self.pad_token_id = len(vectors.index)
        self.split, self.markers = split, tuple(markers)
        self.lowercase = vectors.lowercase
        self._index = vectors.index

    @property
    def identity(self) -> str:
        """What its rows depend on: the sha256 of the vectors' file and of every setting."""
        does = [VERSION, self.vectors_sha256, self.split, *self.markers, self.lowercase]
        return hashlib.sha256(json.dumps(does).encode()).hexdigest()

    def num_special_tokens_to_add(self) -> int:
        """Return the number of markers that have vectors, 0 to 2."""
        return len(self.rows(self.markers))

    def words(self, text: str) -> list[str]:
        """Split a text into all its words, without markers, as they are looked up."""
        return SPLITS[self.split](text.lower() if self.lowercase else text)

    def rows(self, words: Sequence[str]) -> list[int]:
        """Return the rows of those words that have a vector."""
        return [self._index[word] for word in words if word in self._index]

    def save_pretrained(self, folder: Path) -> None:
        """Write down which vectors a model needs; 2 GB of them are not copied into each model.

        Args:
            folder: The model's folder.
        """
        description = {
            "word_vectors": self.name,
            "sha256": self.vectors_sha256,
            "split": self.split,
            "markers": list(self.markers),
        }
        write_file(folder / DESCRIPTION, json.dumps(description, indent=2, sort_keys=True) + "\n")


class WordRows:
    """Turns texts into rows of the vectors' file; counts what it cuts.

    Args:
        tokenizer: The tokenizer.
        max_length: Words with a vector at most, without the markers around them.

    Attributes:
        truncated: Texts cut so far.
        empty: Texts without a word that has a vector so far.
        words: Words so far.
        unknown: Of these, the ones without a vector.

    Raises:
        UserError: If the length leaves nothing.
    """

    def __init__(self, tokenizer: WordTokenizer, max_length: int) -> None:
        if max_length < 1:
            raise UserError("expected at least 1 word", where=f"max_length={max_length}")
        self.truncated = self.empty = self.words = self.unknown = 0
        self._tokenizer, self._max_length = tokenizer, max_length
        self._before, self._after = (tokenizer.rows([marker]) for marker in tokenizer.markers)

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Turn texts into rows.

        Args:
            texts: ``N`` texts of any length.

        Returns:
            ``N`` arrays ``[T]``, int32, ``T`` at least 1, markers included.
        """
        return [np.array(self._rows(text), dtype=np.int32) for text in texts]

    def _rows(self, text: str) -> list[int]:
        words = self._tokenizer.words(text)
        rows = self._tokenizer.rows(words)
        self.words += len(words)
        self.unknown += len(words) - len(rows)
        self.truncated += len(rows) > self._max_length
        self.empty += not rows
        with_markers = [*self._before, *rows[: self._max_length], *self._after]
        return with_markers or [self._tokenizer.pad_token_id]
