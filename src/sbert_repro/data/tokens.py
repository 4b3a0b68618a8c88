"""Word pieces of a data set, made once for each tokenizer and kept on disk, memory-mapped.

A column of texts becomes one flat array of word-piece ids and the place where each text begins, so
that 942,069 pairs need neither Python lists nor padding. They are written chunk by chunk, the
folder is put in place by one rename, and a reader maps it without loading it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from sbert_repro.data.npy import AppendedArray
from sbert_repro.data.read import Split
from sbert_repro.data.word_pieces import WordPieces, identity
from sbert_repro.data.word_tokenizer import WordRows, WordTokenizer
from sbert_repro.errors import UserError
from sbert_repro.storage import filling, unwritable

_log = logging.getLogger(__name__)

Tokenizer = PreTrainedTokenizerBase | WordTokenizer
"""Of word pieces, or of words that have vectors; both make rows of numbers of a text."""

# Part of the key: raise it when the same text would give other arrays.
FORMAT = 1
_CHUNK = 1024


@dataclass(frozen=True)
class TokenColumn:
    """The word pieces of ``N`` texts, one after another.

    Attributes:
        ids: Word-piece ids of all texts, special tokens included; flat, int32, memory-mapped.
        offsets: Where each text begins, and where the last one ends; ``[N + 1]``, int64.
        truncated: Texts that were cut to the greatest length.
        empty: Texts without a word piece.
    """

    ids: np.ndarray
    offsets: np.ndarray
    truncated: int
    empty: int

    def __len__(self) -> int:
        """Give the number of texts ``N``."""
        return len(self.offsets) - 1

    def row(self, i: int) -> np.ndarray:
        """Give the word pieces of one text.

        Args:
            i: Row number.

        Returns:
            np.ndarray: ``[T]``, int32, unpadded.
        """
        return self.ids[self.offsets[i] : self.offsets[i + 1]]


def cache_key(split: Split, limit: int | None, tokenizer: Tokenizer, max_length: int) -> str:
    """Give the key that a split's word pieces are kept under.

    Args:
        split: The examples; the sha256 of their file and their number count.
        limit: The limit they were read with.
        tokenizer: The tokenizer; its settings and vocabulary count, not where it lies.
        max_length: Greatest number of word pieces, without special tokens.

    Returns:
        str: 16 hex digits.
    """
    settings = {
        "format": FORMAT,
        "data": split.sha256,
        "split": split.name,
        "columns": list(split.texts),
        "rows": len(split),
        "limit": limit,
        "tokenizer": _identity(tokenizer),
        "max_length": max_length,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _identity(tokenizer: Tokenizer) -> str:
    return tokenizer.identity if isinstance(tokenizer, WordTokenizer) else identity(tokenizer)


def _pieces(tokenizer: Tokenizer, max_length: int) -> WordPieces | WordRows:
    if isinstance(tokenizer, WordTokenizer):
        return WordRows(tokenizer, max_length)
    return WordPieces(tokenizer, max_length)


def tokenise(
    texts_by_column: Mapping[str, Sequence[str]],
    tokenizer: Tokenizer,
    max_length: int,
    cache: Path,
    key: str,
) -> dict[str, TokenColumn]:
    """Give the word pieces of every column, from the cache when they are there.

    Two processes may make the same key at once: each writes a folder of its own, the first to
    finish puts it in place, the other throws its own away.

    Args:
        texts_by_column: Column → ``N`` texts.
        tokenizer: The tokenizer of the backbone.
        max_length: Greatest number of word pieces, without special tokens.
        cache: Folder of all caches.
        key: From ``cache_key``.

    Returns:
        dict[str, TokenColumn]: Column → its word pieces, in the order given.

    Raises:
        UserError: If the cache cannot be written.
    """
    folder = cache / key
    if not folder.is_dir():
        rows = max(map(len, texts_by_column.values()))
        _log.info("making word pieces of %s rows, once, in %s", f"{rows:,}", folder)
        try:
            _make(folder, texts_by_column, tokenizer, max_length)
        except OSError as problem:
            raise unwritable(folder, problem) from problem
    columns = {name: _open(folder, name, len(texts)) for name, texts in texts_by_column.items()}
    truncated = sum(column.truncated for column in columns.values())
    empty = sum(column.empty for column in columns.values())
    if truncated or empty:
        cut = f"{truncated:,} texts cut to {max_length} word pieces"
        _log.warning("%s, %s empty", cut, f"{empty:,}")
    return columns


def _make(
    folder: Path,
    texts_by_column: Mapping[str, Sequence[str]],
    tokenizer: Tokenizer,
    max_length: int,
) -> None:
    with filling(folder) as own:
        for name, texts in texts_by_column.items():
            _write(own, name, texts, _pieces(tokenizer, max_length))


def _write(folder: Path, name: str, texts: Sequence[str], pieces: WordPieces | WordRows) -> None:
    end = 0
    with (
        AppendedArray(folder / f"{name}.ids.npy", np.int32) as ids,
        AppendedArray(folder / f"{name}.offsets.npy", np.int64) as offsets,
    ):
        offsets.append(np.zeros(1))
        for start in range(0, len(texts), _CHUNK):
            rows = pieces(texts[start : start + _CHUNK])
            ends = end + np.cumsum([len(row) for row in rows])
            ids.append(np.concatenate(rows))
            offsets.append(ends)
            end = int(ends[-1])
    counts = {"truncated": pieces.truncated, "empty": pieces.empty}
    (folder / f"{name}.json").write_text(json.dumps(counts), encoding="utf-8")


def _open(folder: Path, name: str, rows: int) -> TokenColumn:
    try:
        counts = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        ids = np.load(folder / f"{name}.ids.npy", mmap_mode="r")
        offsets = np.load(folder / f"{name}.offsets.npy")
        whole = len(offsets) == rows + 1 and offsets[-1] == len(ids)
    except (OSError, ValueError) as problem:
        raise UserError(f"cannot read the word pieces in {folder}: delete it") from problem
    if not whole:
        raise UserError(f"the word pieces in {folder} are not those of {rows:,} texts: delete it")
    return TokenColumn(ids, offsets, counts["truncated"], counts["empty"])
