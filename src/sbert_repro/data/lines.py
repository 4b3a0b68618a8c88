"""A text file with a sentence a line, of any size: counted once, then read block by block."""

from __future__ import annotations

import hashlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sbert_repro.errors import UserError


@dataclass(frozen=True)
class Lines:
    """Where the sentences of a file lie.

    Attributes:
        path: The file.
        count: Its lines; an empty line is an empty sentence.
        block: Lines in a block; the last block may have fewer.
        offsets: Byte at which each block begins.
        sha256: Of the file's bytes, without the mark that Windows puts at the head of UTF-8.
    """

    path: Path
    count: int
    block: int
    offsets: tuple[int, ...]
    sha256: str

    def blocks(self, first: int = 0) -> Iterator[list[str]]:
        """Read block after block; only one is held at a time.

        Args:
            first: Number of the block to begin with.

        Yields:
            list[str]: The sentences of each, without their line ends.
        """
        with self.path.open("rb") as stream:
            for number in range(first, len(self.offsets)):
                stream.seek(self.offsets[number])
                size = min(self.block, self.count - number * self.block)
                yield [_text(stream.readline()) for _ in range(size)]


def look_through(path: Path, block: int) -> Lines:
    """Count a file's lines and find where its blocks begin.

    Args:
        path: UTF-8 text.
        block: Lines in a block.

    Returns:
        Lines: For reading.

    Raises:
        UserError: If the file is not there, empty, or no UTF-8 (the line is named).
    """
    digest, offsets, count = hashlib.sha256(), [], 0
    try:
        with path.open("rb") as stream:
            at = len(BOM_UTF8) if stream.read(len(BOM_UTF8)) == BOM_UTF8 else 0
            stream.seek(at)
            for line in stream:
                if count % block == 0:
                    offsets.append(at)
                digest.update(line)
                line.decode("utf-8")
                at, count = at + len(line), count + 1
    except UnicodeDecodeError as problem:
        raise UserError(
            f"{path}: line {count + 1:,} is not UTF-8 ({problem.reason}); convert the file, for "
            "instance with iconv -f latin1 -t utf-8"
        ) from problem
    except OSError as problem:
        raise UserError(
            f"{path}: cannot be read ({problem.strerror}); expected text with a sentence a line"
        ) from problem
    if count == 0:
        raise UserError(f"{path}: the file is empty; expected text with a sentence a line")
    return Lines(path, count, block, tuple(offsets), digest.hexdigest())


def _text(line: bytes) -> str:
    # Only the line's end goes: spaces, and what str.splitlines takes for an end, are text.
    return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
