"""The text formats that word vectors are published in, read row by row and checked.

A row is a word and its numbers, separated by single spaces. GloVe's files (``.txt``) hold nothing
else; fastText's (``.vec``) start with a line that gives the number of rows and of numbers in a row.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sbert_repro.errors import UserError

_AT_ONCE = 4096
_HEADER = re.compile(rb"(\d+) (\d+) ?")
_NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")

Line = tuple[int, bytes]
"""Number of a line, from 1, and its bytes without the line's end."""


@dataclass(frozen=True)
class Rows:
    """Some rows of a file.

    Attributes:
        words: The words ``[n]``, as bytes.
        values: Their vectors ``[n, D]``.
    """

    words: list[bytes]
    values: NDArray[np.float32]


def rows(lines: Iterable[bytes], where: Path) -> Iterator[Rows]:
    """Read a file of word vectors, a few thousand rows at a time.

    Args:
        lines: The file's lines.
        where: The file, for messages.

    Yields:
        Rows: The rows in the order of the file; ``D`` is the same for all.

    Raises:
        UserError: If a row is short or long or holds what is no number, or if there are more or
            fewer rows than the header says; names the line.
    """
    numbered = ((number, line.rstrip(b" \r\n")) for number, line in enumerate(lines, 1))
    first = next(numbered, None)
    if first is None:
        raise UserError(f"{where} is empty: get the file again")
    promised, width = _shape(first[1], where)
    rest = numbered if promised is not None else chain([first], numbered)
    found = 0
    while block := list(islice(rest, _AT_ONCE)):
        block = _without_last_blank(block, rest)
        found += len(block)
        yield _parse(block, width, where)
    if promised is not None and found != promised:
        raise UserError(
            f"{where} holds {found:,} rows, but its first line says {promised:,} (cut off?): "
            "get the file again"
        )


def _shape(line: bytes, where: Path) -> tuple[int | None, int]:
    """Number of rows, where the file says it, and of numbers in a row."""
    if header := _HEADER.fullmatch(line):
        return int(header[1]), int(header[2])
    fields = line.split(b" ")
    # Counted from the right, because a word of GloVe's 840B file may hold spaces itself.
    numbers = next((n for n, f in enumerate(reversed(fields[1:])) if not _is_number(f)), None)
    width = len(fields) - 1 if numbers is None else numbers
    if width == 0:
        raise UserError(
            f"{where}, line 1: found {line[:40].decode(errors='replace')!r}, expected a word and "
            "its numbers (GloVe's .txt) or two whole numbers (fastText's .vec)"
        )
    return None, width


def _without_last_blank(block: list[Line], rest: Iterator[Line]) -> list[Line]:
    """Leave out an empty line at the file's very end; one before that is a row cut short."""
    if block[-1][1] != b"":
        return block
    after = next(rest, None)
    return block[:-1] if after is None else [*block, after]


def _parse(block: list[Line], width: int, where: Path) -> Rows:
    cut = [_cut(line, width, where) for line in block]
    values = _numbers(b" ".join(numbers for _, numbers in cut))
    if values is None or len(values) != len(block) * width:
        raise _first_bad_number(block, cut, where)
    return Rows([word for word, _ in cut], values.reshape(len(block), width))


def _cut(line: Line, width: int, where: Path) -> tuple[bytes, bytes]:
    """Take a row apart into word and numbers."""
    number, text = line
    word, _, values = text.partition(b" ")
    if values.count(b" ") + 1 == width and values:
        return word, values
    fields = text.rsplit(b" ", width)
    if len(fields) == width + 1 and not _is_number(fields[0].rpartition(b" ")[2]):
        return fields[0], b" ".join(fields[1:])
    found = len(text.split(b" ")) - 1
    name = word[:40].decode(errors="replace")
    raise UserError(
        f"{where}, line {number:,} ({name!r}): found {found} numbers, expected {width}: "
        "get the file again"
    )


def _numbers(text: bytes) -> NDArray[np.float32] | None:
    """Numbers of a text, or ``None`` where one is none; NaN and infinity are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = np.fromstring(text, dtype=np.float32, sep=" ")
        except (ValueError, DeprecationWarning):
            return None
    return values if np.isfinite(values).all() else None


def _first_bad_number(block: list[Line], cut: list[tuple[bytes, bytes]], where: Path) -> UserError:
    for (number, _), (word, values) in zip(block, cut, strict=True):
        for place, field in enumerate(values.split(b" "), 1):
            if not _is_number(field):
                return UserError(
                    f"{where}, line {number:,} ({word[:40].decode(errors='replace')!r}): value "
                    f"{place} is {field[:40].decode(errors='replace')!r}, expected a number: get "
                    "the file again"
                )
    return UserError(f"{where}, lines {block[0][0]:,} to {block[-1][0]:,}: a number is too large")


def _is_number(field: bytes) -> bool:
    return _NUMBER.fullmatch(field) is not None
