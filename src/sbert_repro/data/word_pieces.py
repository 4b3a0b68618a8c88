"""Texts to word-piece ids, with the paper's authors' meaning of the greatest length."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from sbert_repro.errors import UserError

_log = logging.getLogger(__name__)


class WordPieces:
    """Turns texts into ids; counts what it cuts.

    Args:
        tokenizer: The tokenizer of the backbone.
        max_length: Greatest number of word pieces of a text, **without** the special tokens around
            them: the authors' ``max_seq_length`` leaves ``[CLS]`` and ``[SEP]`` out.

    Attributes:
        max_length: As given.
        truncated: Texts cut so far.
        empty: Texts without a word piece so far.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        if max_length < 1:
            raise UserError(f"max_length={max_length}: expected at least 1 word piece")
        self.truncated = 0
        self.empty = 0
        self.max_length = max_length
        # A copy: cutting is a state of the tokenizer, and the caller's must not change.
        self._tokenizer = plain_copy(tokenizer)
        # One more than is kept, so that a cut text can be told from one that just fits.
        self._tokenizer.enable_truncation(max_length + 1)
        self._before, self._after = special_tokens(self._tokenizer)

    def afresh(self) -> WordPieces:
        """Give the same with counts of its own, at once: to copy a tokenizer takes 30 ms.

        Returns:
            WordPieces: It shares the tokenizer, whose state nobody changes any more.
        """
        again = copy.copy(self)
        again.truncated = again.empty = 0
        return again

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Turn texts into ids.

        Args:
            texts: ``N`` texts of any length; an empty one keeps its special tokens.

        Returns:
            list[np.ndarray]: ``N`` arrays ``[T]``, int32, special tokens included, unpadded.
        """
        rows = []
        whole = [text if text.isascii() else _without_surrogates(text) for text in texts]
        for encoding in self._tokenizer.encode_batch_fast(whole, add_special_tokens=False):
            ids = encoding.ids
            self.truncated += len(ids) > self.max_length
            self.empty += not ids
            ids = self._before + ids[: self.max_length] + self._after
            rows.append(np.array(ids, dtype=np.int32))
        return rows

    def log_truncated(self, texts: int) -> None:
        """Say in the log how many texts have been cut, if any has.

        Args:
            texts: How many there were.
        """
        if self.truncated:
            counts = f"{self.truncated:,} of {texts:,}"
            _log.info("%s sentences were cut to %s word pieces", counts, self.max_length)


def _without_surrogates(text: str) -> str:
    """Replace halves of UTF-16 pairs, which are no characters, by U+FFFD; join whole pairs."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def identity(tokenizer: PreTrainedTokenizerBase) -> str:
    """Give what tells one tokenizer from another: the sha256 of all it does to a text.

    The same files in another folder give the same; vocabulary, normalisation and special tokens
    count, cutting and padding (which are set here) do not.

    Args:
        tokenizer: The tokenizer.

    Returns:
        str: 64 hex digits.
    """
    settings = json.loads(plain_copy(tokenizer).to_str())
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def plain_copy(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Give a copy of a tokenizer that neither cuts nor pads, so that the caller's stays as it is.

    Args:
        tokenizer: A fast tokenizer of transformers.

    Returns:
        Tokenizer: The copy.

    Raises:
        UserError: If it is not a fast one.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise UserError(
            f"the tokenizer {tokenizer.name_or_path} has no tokenizer.json: expected a BERT or "
            f"RoBERTa model folder"
        )
    copied = Tokenizer.from_str(backend.to_str())
    copied.no_truncation()
    copied.no_padding()
    return copied


def special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Find the ids that stand before and after a text, by looking at one.

    Args:
        tokenizer: From `plain_copy`.

    Returns:
        tuple[list[int], list[int]]: Both, ``[CLS]`` and ``[SEP]`` of BERT.
    """
    probe = tokenizer.encode("a")
    inside = [i for i, sequence in enumerate(probe.sequence_ids) if sequence is not None]
    if not inside:
        # A vocabulary that drops what it does not know: take the tokens of an empty text apart.
        return probe.ids[:1], probe.ids[1:]
    return probe.ids[: inside[0]], probe.ids[inside[-1] + 1 :]
