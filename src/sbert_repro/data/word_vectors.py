"""Pre-trained word vectors: where their files lie, and a memory-mapped copy of them.

A text file is read once. Its numbers are then kept as one ``.npy`` file that is mapped, not loaded,
so that 2,000,000 words of 300 numbers need the memory of the words and of the vectors looked at.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import logging
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from rich.progress import wrap_file

from sbert_repro.data.npy import AppendedArray
from sbert_repro.data.word_vector_files import Place
from sbert_repro.data.word_vector_text import rows
from sbert_repro.errors import UserError
from sbert_repro.storage import lock, sha256_of, unwritable, write_file

FORMAT = 1
"""Raised when the cached files change their meaning."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WordVectors:
    """Vectors of ``V`` words.

    Attributes:
        index: Word → row.
        values: Vectors ``[V, D]``, mapped from the disk.
        sha256: Of the text, unpacked, so that an archive and its content are the same vectors.
        notes: Rows that were left out, and why.
    """

    index: dict[str, int]
    values: NDArray[np.float32]
    sha256: str
    notes: list[str]


def load(place: Place, cache: Path, *, progress: bool = True) -> WordVectors:
    """Open word vectors, after converting their file when it is met for the first time.

    Args:
        place: The file.
        cache: Folder of all caches.
        progress: Draw a bar while converting, where there is a terminal.

    Returns:
        WordVectors: All words of the file.

    Raises:
        UserError: If the file is not what it should be or the cache cannot be written.
    """
    settings = f"{FORMAT} {sha256_of(place.file)} {place.member}"
    key = hashlib.sha256(settings.encode()).hexdigest()[:16]
    folder = cache / "word_vectors" / key
    if not folder.is_dir():
        with lock(folder.with_suffix(".lock"), f"the conversion of {place}"):
            if not folder.is_dir():
                _convert(place, folder, progress)
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    # Split at line feeds alone: some words hold what `splitlines` takes for the end of a line.
    words = (folder / "words.txt").read_bytes().decode().split("\n")
    flat = np.load(folder / "vectors.npy", mmap_mode="r")
    return WordVectors(
        index={word: row for row, word in enumerate(words)},
        values=flat.reshape(len(words), -1),
        sha256=facts["sha256"],
        notes=[str(note) for note in facts["notes"]],
    )


def _convert(place: Place, folder: Path, progress: bool) -> None:
    """Write the mapped copy beside its place and move it there when it is whole."""
    _log.info("%s: read once, then kept in %s", place, folder)
    unfinished = folder.with_suffix(".unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        unfinished.mkdir(parents=True)
        facts = _write(place, unfinished, progress)
        write_file(unfinished / "facts.json", json.dumps(facts, ensure_ascii=False))
        unfinished.rename(folder)
    except OSError as problem:
        raise unwritable(folder, problem) from problem
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(place: Place, folder: Path, progress: bool) -> dict[str, Any]:
    digest = hashlib.sha256()
    kept: dict[str, None] = {}
    repeated = unreadable = 0
    with (
        AppendedArray(folder / "vectors.npy", np.float32) as out,
        opened(place, progress) as stream,
    ):
        for block in rows(_hashed(stream, digest), place.shown):
            chosen = []
            for row, raw in enumerate(block.words):
                word = _decoded(raw)
                if not word:
                    unreadable += 1
                elif word in kept:
                    repeated += 1
                else:
                    kept[word] = None
                    chosen.append(row)
            out.append(block.values[chosen].ravel())
    if not kept:
        raise UserError(f"{place} holds no word: get the file again")
    write_file(folder / "words.txt", "\n".join(kept))
    name = place.shown.name
    notes = []
    # Files are sorted by frequency: of two rows, the first is the one seen more often in training.
    if repeated:
        notes.append(f"{name}: {repeated:,} rows repeat a word, the first counts")
    if unreadable:
        notes.append(f"{name}: {unreadable:,} rows without a word in UTF-8 left out")
    return {"sha256": digest.hexdigest(), "notes": notes}


def _hashed(stream: IO[bytes], digest: Any) -> Iterator[bytes]:
    for line in stream:
        digest.update(line)
        yield line


def _decoded(word: bytes) -> str:
    """A word as text; empty where it is none, since no sentence could ever hold it."""
    try:
        return word.decode()
    except UnicodeDecodeError:
        return ""


@contextlib.contextmanager
def opened(place: Place, progress: bool = False) -> Iterator[IO[bytes]]:
    """Open the text of a file, unpacked.

    Args:
        place: A text file, one packed by gzip, or one in a zip archive.
        progress: Draw a bar, where there is a terminal.

    Yields:
        IO[bytes]: The text.

    Raises:
        UserError: If the archive is damaged or the file cannot be read.
    """
    shown = progress and sys.stderr.isatty()
    try:
        with contextlib.ExitStack() as stack:
            raw: BinaryIO = stack.enter_context(place.file.open("rb"))
            size = place.file.stat().st_size
            if shown:
                raw = stack.enter_context(wrap_file(raw, size, description=place.shown.name))
            yield stack.enter_context(_unpacked(raw, place))
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as problem:
        raise UserError(f"{place} is damaged ({problem}): get the file again") from problem
    except (FileNotFoundError, PermissionError, IsADirectoryError) as problem:
        raise UserError(f"cannot read {place}: {problem.strerror}") from problem


def _unpacked(raw: BinaryIO, place: Place) -> IO[bytes]:
    if place.member is not None:
        return zipfile.ZipFile(raw).open(place.member)
    if place.file.suffix == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    return raw
