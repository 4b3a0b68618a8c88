"""Texts as word-piece ids: cut as the authors cut them, cached on disk, joined for cross-encoders.

A column of texts becomes one flat array of ids and the place where each text begins, so that
942,069 pairs need neither Python lists nor padding. The arrays are written chunk by chunk, once for
each tokenizer and length, and read memory-mapped.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.data.npy import AppendedArray
from sbert_repro.data.read import Split
from sbert_repro.data.words import WordRows, WordTokenizer
from sbert_repro.errors import UserError
from sbert_repro.json_files import set_aside
from sbert_repro.storage import filling

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    import tokenizers
    from transformers import PreTrainedTokenizerBase

_log = logging.getLogger(__name__)

Tokenizer: TypeAlias = "PreTrainedTokenizerBase | WordTokenizer"
"""A tokenizer of word pieces, or of words that have vectors."""

FORMAT = 1
"""Part of the cache key: raise it when the same text would give other arrays."""
_CHUNK = 1024
_AT_ONCE = 1 << 16
"""Ids that are looked at together."""


class WordPieces:
    """Turns texts into word-piece ids and counts the texts that it cuts.

    Args:
        tokenizer: The backbone's tokenizer; it is copied and stays as it is.
        max_length: Word pieces of a text at most, **without** the special tokens around them: the
            authors' ``max_seq_length`` leaves ``[CLS]`` and ``[SEP]`` out.

    Attributes:
        max_length: As given.
        truncated: Texts cut so far.
        empty: Texts without a word piece so far.

    Raises:
        UserError: If the tokenizer is not a fast one, or the length leaves nothing.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        if max_length < 1:
            raise UserError("expected at least 1 word piece", where=f"max_length={max_length}")
        self.truncated = 0
        self.empty = 0
        self.max_length = max_length
        self._tokenizer = _plain_copy(tokenizer)
        # One more than is kept, so that a text that is cut can be told from one that just fits.
        self._tokenizer.enable_truncation(max_length + 1)
        self._before, self._after = _special_tokens(self._tokenizer)

    def copy(self) -> WordPieces:
        """Return a copy that counts from 0 and shares the tokenizer, which takes 30 ms to copy."""
        again = copy.copy(self)
        again.truncated = again.empty = 0
        return again

    def __call__(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Turn texts into ids.

        Args:
            texts: ``N`` texts of any length; an empty one keeps its special tokens.

        Returns:
            ``N`` arrays ``[T]``, int32, special tokens included, not padded.
        """
        rows = []
        valid = [text if text.isascii() else _without_surrogates(text) for text in texts]
        for encoding in self._tokenizer.encode_batch_fast(valid, add_special_tokens=False):
            ids = encoding.ids
            self.truncated += len(ids) > self.max_length
            self.empty += not ids
            ids = self._before + ids[: self.max_length] + self._after
            rows.append(np.array(ids, dtype=np.int32))
        return rows

    def log_truncated(self, texts: int) -> None:
        """Log how many of ``texts`` texts were cut, if any was."""
        if self.truncated:
            counts = f"{self.truncated:,} of {texts:,}"
            _log.info("%s sentences were cut to %s word pieces", counts, self.max_length)


def _without_surrogates(text: str) -> str:
    """Join UTF-16 surrogate pairs and replace lone surrogates, which are no characters."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def tokenizer_sha256(tokenizer: Tokenizer) -> str:
    """Identify a tokenizer by what it does to a text, wherever its files lie.

    Vocabulary, normalisation and special tokens count. Truncation and padding do not: they are set
    here.

    Args:
        tokenizer: The tokenizer.

    Returns:
        64 hex digits.
    """
    if isinstance(tokenizer, WordTokenizer):
        return tokenizer.identity
    settings = json.loads(_plain_copy(tokenizer).to_str())
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _plain_copy(tokenizer: PreTrainedTokenizerBase) -> tokenizers.Tokenizer:
    """Copy a tokenizer without truncation and padding, which are part of a tokenizer's state."""
    import tokenizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, tokenizers.Tokenizer):
        raise UserError(
            "the tokenizer has no tokenizer.json: expected a BERT or RoBERTa model folder",
            where=tokenizer.name_or_path,
        )
    copied = tokenizers.Tokenizer.from_str(backend.to_str())
    copied.no_truncation()
    copied.no_padding()
    return copied


def _special_tokens(tokenizer: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    """Return the ids before and after a text, ``[CLS]`` and ``[SEP]`` for BERT."""
    probe = tokenizer.encode("a")
    inside = [i for i, sequence in enumerate(probe.sequence_ids) if sequence is not None]
    if not inside:  # the vocabulary drops unknown words, "a" among them: only the two are left
        return probe.ids[:1], probe.ids[1:]
    return probe.ids[: inside[0]], probe.ids[inside[-1] + 1 :]


@dataclass(frozen=True)
class TokenColumn:
    """The ids of ``N`` texts, one after another.

    Attributes:
        ids: Ids of all texts, special tokens included; flat, int32, memory-mapped.
        offsets: Where each text begins, and where the last one ends; ``[N + 1]``, int64.
        truncated: Texts that were cut to the maximum length.
        empty: Texts without a word piece.
    """

    ids: np.ndarray
    offsets: np.ndarray
    truncated: int
    empty: int

    def __len__(self) -> int:
        """Return the number of texts ``N``."""
        return len(self.offsets) - 1

    def row(self, i: int) -> np.ndarray:
        """Return the ids of text ``i``: ``[T]``, int32, not padded."""
        return self.ids[self.offsets[i] : self.offsets[i + 1]]


def cache_key(split: Split, limit: int | None, tokenizer: Tokenizer, max_length: int) -> str:
    """Return the key that a split's ids are cached under.

    Args:
        split: The examples, identified by their file's sha256 and their number.
        limit: The limit they were read with.
        tokenizer: The tokenizer; see `tokenizer_sha256`.
        max_length: Word pieces at most, special tokens not counted.

    Returns:
        16 hex digits.
    """
    settings = {
        "format": FORMAT,
        "data": split.sha256,
        "split": split.name,
        "columns": list(split.texts),
        "rows": len(split),
        "limit": limit,
        "tokenizer": tokenizer_sha256(tokenizer),
        "max_length": max_length,
        **({"sources": split.sources} if split.sources else {}),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def tokenise(
    texts_by_column: Mapping[str, Sequence[str]],
    tokenizer: Tokenizer,
    max_length: int,
    cache: Path,
    key: str,
) -> dict[str, TokenColumn]:
    """Return the ids of every column, from the cache if they are there.

    Two processes may make the same key at once: each fills a folder of its own, the first to finish
    puts it in place and the other throws its own away.

    Args:
        texts_by_column: Column → ``N`` texts.
        tokenizer: The backbone's tokenizer.
        max_length: Word pieces of a text at most, special tokens not counted.
        cache: Folder of all token caches.
        key: From `cache_key`.

    Returns:
        Column → its ids, in the order given.

    Raises:
        UserError: If the cache cannot be written. What is damaged there is set aside and made
            again.
    """
    folder, size = cache / key, _size(tokenizer)

    def opened() -> dict[str, TokenColumn]:
        found = texts_by_column.items()
        return {name: _open(folder, name, len(texts), size) for name, texts in found}

    try:
        columns = opened() if folder.is_dir() else None
    except UserError as problem:
        set_aside(folder, problem.found, "its word pieces are made again")
        columns = None
    if columns is None:
        rows = max(map(len, texts_by_column.values()))
        _log.info("making word pieces of %s rows, once, in %s", f"{rows:,}", folder)
        with filling(folder) as unfinished:
            for name, texts in texts_by_column.items():
                _write(unfinished, name, texts, _splitter(tokenizer, max_length))
        columns = opened()
    truncated = sum(column.truncated for column in columns.values())
    empty = sum(column.empty for column in columns.values())
    if truncated or empty:
        cut = f"{truncated:,} texts cut to {max_length} word pieces"
        _log.warning("%s, %s empty", cut, f"{empty:,}")
    return columns


def _splitter(tokenizer: Tokenizer, max_length: int) -> WordPieces | WordRows:
    if isinstance(tokenizer, WordTokenizer):
        return WordRows(tokenizer, max_length)
    return WordPieces(tokenizer, max_length)


def _write(folder: Path, name: str, texts: Sequence[str], split: WordPieces | WordRows) -> None:
    end = 0
    with (
        AppendedArray(folder / f"{name}.ids.npy", np.int32) as ids,
        AppendedArray(folder / f"{name}.offsets.npy", np.int64) as offsets,
    ):
        offsets.append(np.zeros(1))
        for start in range(0, len(texts), _CHUNK):
            rows = split(texts[start : start + _CHUNK])
            ends = end + np.cumsum([len(row) for row in rows])
            ids.append(np.concatenate(rows))
            offsets.append(ends)
            end = int(ends[-1])
    counts = {"truncated": split.truncated, "empty": split.empty}
    (folder / f"{name}.json").write_text(json.dumps(counts), encoding="utf-8")


def _size(tokenizer: Tokenizer) -> int:
    """Return how many ids there are."""
    if isinstance(tokenizer, WordTokenizer):
        return tokenizer.pad_token_id + 1
    return 1 + max(_plain_copy(tokenizer).get_vocab().values())


class _Counts(TypedDict):
    truncated: int
    empty: int


def _open(folder: Path, name: str, rows: int, size: int) -> TokenColumn:
    """Open the arrays of a column, and check that they are ``rows`` texts of ids below ``size``."""
    counts = json_files.read(folder / f"{name}.json", _Counts)
    ids = _array(folder / f"{name}.ids.npy", np.int32)
    offsets = np.array(_array(folder / f"{name}.offsets.npy", np.int64))
    lengths = np.diff(offsets)
    whole = len(lengths) == rows and offsets[0] == 0 and offsets[-1] == len(ids)
    low, high = _bounds(ids)
    if not whole or lengths.min() < 0 or low < 0 or high >= size:
        raise UserError(f"its {name} is not {rows:,} texts of {size:,} word pieces", where=folder)
    return TokenColumn(ids, offsets, counts["truncated"], counts["empty"])


def _bounds(ids: np.ndarray) -> tuple[int, int]:
    """Return the lowest and the highest id, without keeping the file's pages in memory."""
    assert isinstance(ids, np.memmap) and ids.filename, "ids lie in a file"
    low, high = int(ids[0]), int(ids[0])
    for start in range(0, len(ids), _AT_ONCE):
        part = np.fromfile(ids.filename, ids.dtype, _AT_ONCE, offset=ids.offset + 4 * start)
        low, high = min(low, int(part.min())), max(high, int(part.max()))
    return low, high


def _array(path: Path, kind: type[np.generic]) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise UserError(f"{path.name} cannot be read", where=path.parent) from problem
    if found.ndim != 1 or found.dtype != kind or not len(found):
        raise UserError(f"{path.name} holds {found.dtype} {found.shape}", where=path.parent)
    return found


class PairTemplate:
    """The special tokens around and between two texts, as the model was pre-trained on them.

    BERT reads ``[CLS] a [SEP] b [SEP]`` with token type 0 up to the first ``[SEP]`` and 1 after it,
    RoBERTa ``<s> a </s></s> b </s>`` with one type. The tokenizer itself is asked which it is.
    A pair is put together from the ids that each text has by itself, so models of single sentences
    and of pairs share one cache.

    # paper: how long the sentences of a pair may be is not said
    # here: each is cut as a single sentence is (data.max_length); a pair that is then longer than
    # data.pair_length, or than the model has positions for, loses word pieces of its longer text
    # effect: table 2, table 3

    Args:
        tokenizer: The backbone's tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        plain = _plain_copy(tokenizer)
        before, after = _special_tokens(plain)
        self._single = (len(before), len(after))
        probe = plain.encode("a", "a")
        first, second = (
            [i for i, text in enumerate(probe.sequence_ids) if text == number] for number in (0, 1)
        )
        if first and second:
            ends = [first[0], first[-1] + 1, second[0], second[-1] + 1]
        else:  # the vocabulary drops unknown words, "a" among them: nothing stands between
            ends = [1, 1, len(probe.ids) - 1, len(probe.ids) - 1]
        ids_and_types = np.array([probe.ids, probe.type_ids], np.int32)
        self._before, _, self._between, _, self._after = np.split(ids_and_types, ends, axis=1)

    @property
    def specials(self) -> int:
        """The number of special tokens of a pair."""
        return sum(part.shape[1] for part in (self._before, self._between, self._after))

    def lengths(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the lengths ``[N]`` of pairs that are not cut, special tokens included.

        Args:
            first: Lengths of first texts with the special tokens of single texts; ``[N]``.
            second: The same of second texts; ``[N]``.

        Returns:
            Lengths; ``[N]``.
        """
        return first + second - 2 * sum(self._single) + self.specials

    def join(self, first: np.ndarray, second: np.ndarray, max_length: int) -> np.ndarray:
        """Put two texts into one row.

        Args:
            first: Ids of one text with the special tokens of a single text; ``[T_1]``.
            second: The same of another text; ``[T_2]``.
            max_length: Tokens of the row at most, special tokens included.

        Returns:
            Ids above token types; ``[2, T]``, int32.
        """
        before, after = self._single
        a, b = (row[before : len(row) - after] for row in (first, second))
        # The longer text is cut first, then both to one half.
        room = max_length - self.specials
        shorter = min(len(a), len(b), room // 2)
        longer = min(max(len(a), len(b)), room - shorter)
        a, b = (a[:shorter], b[:longer]) if len(a) <= len(b) else (a[:longer], b[:shorter])
        type_a, type_b = self._before[1, 0], self._after[1, 0]
        parts = [
            self._before,
            np.stack([a, np.full_like(a, type_a)]),
            self._between,
            np.stack([b, np.full_like(b, type_b)]),
            self._after,
        ]
        return np.concatenate(parts, axis=1)


class PairColumn:
    """Pairs of two columns of texts, each put together when it is asked for.

    Args:
        first: First texts; ``[N]``.
        second: Second texts; ``[N]``.
        template: How the model reads pairs.
        max_length: Tokens of a pair at most, special tokens included.
        swapped: Whether each pair comes again in the other order: pair ``i`` as pair ``N + i``.

    Attributes:
        cut: Pairs longer than that.
    """

    def __init__(
        self,
        first: TokenColumn,
        second: TokenColumn,
        template: PairTemplate,
        max_length: int,
        swapped: bool = False,
    ) -> None:
        lengths = template.lengths(np.diff(first.offsets), np.diff(second.offsets))
        self.cut = int((lengths > max_length).sum())
        self._columns, self._template, self._max_length = (first, second), template, max_length
        self._swapped = swapped

    def __len__(self) -> int:
        """Return the number of pairs: ``N``, or ``2 N`` in both orders."""
        return len(self._columns[0]) * (1 + self._swapped)

    def row(self, i: int) -> np.ndarray:
        """Return pair ``i``: ids above token types ``[2, T]``, int32."""
        again, i = divmod(i, len(self._columns[0]))
        first, second = (column.row(i) for column in self._columns)
        if again:
            first, second = second, first
        return self._template.join(first, second, self._max_length)
