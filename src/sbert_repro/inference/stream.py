"""``scripts/encode.py``: a file of sentences in, a file of vectors out, of any size.

Both may be larger than memory, and the work may be killed at any moment. Vectors go to
``<output>.part`` block by block; after each block ``<output>.journal`` says how many are safely on
the disk, and the same command continues after the last of them. What is written does not depend on
where it was stopped: blocks are cut from the input alone, and each is embedded by itself. In the
end nothing lies beside the output; what it was made from is noted in the cache.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.data.batches import Prefetched
from sbert_repro.errors import UserError
from sbert_repro.progress import Advance, showing
from sbert_repro.storage import lock, replacing, unwritable, write_file

VERSION = 1
"""Raised when the same input and settings would give another file."""
EmbedBlocks = Callable[[Iterable[list[str]]], Iterator[NDArray[np.float32]]]
"""Returns vectors ``[n, D]`` for each block of ``n`` sentences, in order."""


@dataclass(frozen=True)
class Written:
    """A whole output.

    Attributes:
        rows: ``N`` sentences.
        width: ``D``.
        kept: Sentences that an earlier call had embedded already.
        seconds: What this call took.
    """

    rows: int
    width: int
    kept: int
    seconds: float


def encode_file(
    source: Path,
    output: Path,
    make_encoder: Callable[[], Any],
    *,
    block: int,
    cache: Path,
    overwrite: bool = False,
    progress: bool = False,
) -> tuple[Written, Any]:
    """Embed a file's sentences, or go on where the same call was stopped.

    Args:
        source: UTF-8 text, a sentence a line.
        output: A file to write, ``.npy`` (``[N, D]``, float32) or ``.parquet`` (columns
            ``sentence`` and ``vector``).
        make_encoder: Called after the files have been checked; returns a
            `sbert_repro.encoders.base.SentenceEncoder`.
        block: Sentences between two points at which the work may be killed without loss.
        cache: Folder of all caches.
        overwrite: Throw away an output of other sentences or settings.
        progress: Show a bar when the work is long.

    Returns:
        What was written, and the encoder.

    Raises:
        UserError: If a file, the model or an option is not what it has to be.
    """
    if block < 1:
        raise UserError("expected at least 1 sentence", where=f"block={block}")
    if output.is_dir() or output.suffix not in (".npy", ".parquet"):
        raise UserError(
            "expected a file whose name ends in .npy or .parquet", where=f"output={output}"
        )
    lines = read_lines(source, block)
    encoder = make_encoder()
    if not hasattr(encoder, "encode"):
        raise UserError(f"{encoder.label} has no sentence vectors", mend="choose another encoder")
    settings = {
        "encoder": dict(encoder.identity),
        # Not in the identity where it only rounds, but one file is made by one engine.
        "engine": getattr(encoder, "engine", None),
        "format": output.suffix,
    }

    def embed(blocks: Iterable[list[str]]) -> Iterator[NDArray[np.float32]]:
        # Transformers split the next block ahead; others only read it ahead.
        if hasattr(encoder, "encode_blocks"):
            return encoder.encode_blocks(blocks)
        return map(encoder.encode, Prefetched(iter(blocks)))

    with showing("encoding", lines.count, shown=progress) as advance:
        written = write_vectors(
            lines, output, embed, settings, cache, overwrite=overwrite, advance=advance
        )
    return written, encoder


# --- The input


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
            first: The number of the first block that is wanted.

        Yields:
            The sentences of each, without their line ends.
        """
        with self.path.open("rb") as stream:
            for number in range(first, len(self.offsets)):
                stream.seek(self.offsets[number])
                size = min(self.block, self.count - number * self.block)
                yield [_text(stream.readline()) for _ in range(size)]


def read_lines(path: Path, block: int) -> Lines:
    """Count a file's lines and find where its blocks begin.

    Args:
        path: UTF-8 text.
        block: Lines in a block.

    Returns:
        Lines, to be read block by block.

    Raises:
        UserError: If the file is not there, empty, or not UTF-8 (the line is named).
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
            f"line {count + 1:,} is not UTF-8 ({problem.reason})",
            where=path,
            mend="convert the file, for instance with iconv -f latin1 -t utf-8",
        ) from problem
    except OSError as problem:
        raise UserError(
            f"cannot be read ({problem.strerror}); expected text with a sentence a line", where=path
        ) from problem
    if count == 0:
        raise UserError("the file is empty; expected text with a sentence a line", where=path)
    return Lines(path, count, block, tuple(offsets), digest.hexdigest())


def _text(line: bytes) -> str:
    # Only the line's end goes: spaces, and what str.splitlines takes for an end, are text.
    return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")


# --- The output


def write_vectors(
    lines: Lines,
    output: Path,
    embed_blocks: EmbedBlocks,
    settings: Mapping[str, Any],
    cache: Path,
    *,
    overwrite: bool = False,
    advance: Advance = lambda done: None,
) -> Written:
    """Embed a file's sentences, or go on with what was begun.

    Args:
        lines: The sentences.
        output: The file to write, ``.npy`` or ``.parquet``.
        embed_blocks: The encoder; asked only for blocks that are missing.
        settings: What the vectors depend on beside the sentences, in JSON's types.
        cache: Folder of all caches, where it is noted what a finished output was made from.
        overwrite: Throw away an output of other sentences or settings.
        advance: Told how many sentences are done.

    Returns:
        What was done; the output is whole.

    Raises:
        UserError: If the output is something else, or cannot be written, or a vector is no vector.
    """
    made_from = {
        "version": VERSION,
        "sentences": lines.sha256,
        "rows": lines.count,
        "block": lines.block,
        **settings,
    }
    started = time.monotonic()
    with lock(output.with_name(f".{output.name}.lock"), f"output={output}", remove=True):
        unfinished = _Unfinished(output, made_from, cache, overwrite=overwrite)
        kept = unfinished.done
        advance(kept)
        if kept < lines.count:
            for vectors in embed_blocks(lines.blocks(kept // lines.block)):
                wrong = np.flatnonzero(~np.isfinite(vectors).all(1))
                if len(wrong):
                    raise UserError(
                        "its vector holds NaN or infinite numbers; the model's weights are damaged "
                        "or overflow",
                        where=f"{lines.path}, line {unfinished.done + int(wrong[0]) + 1:,}",
                        mend="train the model again, or use precision=fp32",
                    )
                unfinished.append(vectors)
                advance(len(vectors))
        if unfinished.part.exists():
            unfinished.finish(lines)
        unfinished.close()
    return Written(lines.count, int(unfinished.width), kept, time.monotonic() - started)


class _Journal(TypedDict):
    made_from: dict[str, Any]
    done: int
    width: int | None
    size: int | None


class _Unfinished:
    """An output in the making: its part, a whole ``.npy`` file in the end, and its journal.

    The journal holds what the output is made from (``made_from``), how many vectors are on the disk
    (``done``), their ``width`` and, once the output is in its place, its ``size`` in bytes; it is
    then kept in the cache.
    """

    def __init__(
        self, output: Path, made_from: dict[str, Any], cache: Path, *, overwrite: bool
    ) -> None:
        """Find what a killed command left; an output to be overwritten stays until it is replaced.

        Args:
            output: The file of vectors.
            made_from: What the vectors depend on.
            cache: Folder of all caches.
            overwrite: Whether a finished output of something else may be replaced.

        Raises:
            UserError: If the output is of something else and must not be overwritten.
        """
        self.output = output
        self.part = output.with_name(f"{output.name}.part")
        self._path = output.with_name(f"{output.name}.journal")
        place = hashlib.sha256(str(output.resolve()).encode()).hexdigest()[:24]
        self._kept = cache / "encoded" / f"{place}.json"
        # Through JSON, so that it compares equal to what was read.
        made_from = json.loads(json.dumps(made_from))
        self._journal: dict[str, Any] = {
            "made_from": made_from,
            "done": 0,
            "width": None,
            "size": None,
        }
        found = self._read()
        same = found is not None and found["made_from"] == made_from
        exists = output.exists() or (self.part.exists() and found is not None)
        if exists and not overwrite and not same:
            raise UserError(
                _difference(found, made_from),
                where=f"output={output}",
                mend="name another file, or give overwrite=true",
            )
        if found is not None and same and self._fits(found):
            self._journal = found
        else:
            for old in (self.part, self._path):
                old.unlink(missing_ok=True)

    @property
    def done(self) -> int:
        """Vectors that are on the disk."""
        return int(self._journal["done"])

    @property
    def width(self) -> int:
        """``D``, once there is a vector."""
        return int(self._journal["width"])

    def append(self, vectors: NDArray[np.float32]) -> None:
        """Write a block behind what is there; it is on the disk before the journal counts it."""
        rows = self._journal["made_from"]["rows"]
        if self._journal["width"] is None:
            self._journal["width"] = vectors.shape[1]
            _write(self.part, 0, _header(rows, self.width))
        at = _end(rows, self.width, self.done)
        _write(self.part, at, np.ascontiguousarray(vectors, "<f4").tobytes())
        self._journal["done"] += len(vectors)
        self._note(self._path)

    def finish(self, lines: Lines) -> None:
        """Put the output in its place."""
        try:
            if self.output.suffix == ".parquet":
                _write_parquet(lines, self.part, self.output)
                self.part.unlink()
            else:
                self.part.replace(self.output)
        except OSError as problem:
            raise unwritable(self.output, problem) from problem

    def close(self) -> None:
        """Note in the cache what the output was made from, and leave nothing beside it."""
        size = self.output.stat().st_size
        if self._path.exists() or self._journal["size"] != size:
            self._journal["size"] = size
            self._note(self._kept)
            self._path.unlink(missing_ok=True)

    def _note(self, path: Path) -> None:
        write_file(path, json.dumps(self._journal, indent=1) + "\n")

    def _read(self) -> dict[str, Any] | None:
        for path in (self._path, self._kept):
            journal = json_files.read_or_set_aside(path, _Journal, "it counts for nothing")
            if journal is not None:
                return dict(journal)
        return None

    def _fits(self, journal: dict[str, Any]) -> bool:
        """Tell whether the files are as long as a journal says; a kill may leave a longer part."""
        rows, width, done = journal["made_from"]["rows"], journal["width"], journal["done"]
        block = journal["made_from"]["block"]
        if width is None or width < 1 or not 0 < done <= rows or (done % block and done < rows):
            return False
        if self.part.exists():
            return self.part.stat().st_size >= _end(rows, width, done)
        # Killed after the part became the output: then no size has been noted.
        if done < rows or not self.output.exists():
            return False
        size = self.output.stat().st_size
        whole = size == _end(rows, width, rows) or self.output.suffix == ".parquet"
        return whole and journal["size"] in (None, size)


def _difference(found: dict[str, Any] | None, made_from: dict[str, Any]) -> str:
    if found is None:
        return "this file is there already, and nothing says what it was made from"
    before = found["made_from"]
    other = sorted(k for k in {*before, *made_from} if before.get(k) != made_from.get(k))
    return f"it was made with another {', '.join(other)}"


def _write(path: Path, at: int, content: bytes) -> None:
    # Not through a memory map: a full disk would end the process by a signal, without a word.
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            view = memoryview(content)
            while view:
                written = os.pwrite(handle, view, at)
                view, at = view[written:], at + written
            os.ftruncate(handle, at)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as problem:
        raise unwritable(path, problem) from problem


def _end(rows: int, width: int, done: int) -> int:
    """Return the byte behind the first ``done`` vectors of a file of ``rows``."""
    return len(_header(rows, width)) + 4 * done * width


def _header(rows: int, width: int) -> bytes:
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def _write_parquet(lines: Lines, part: Path, output: Path) -> None:
    """Make a parquet file of the whole part: parquet ends with its index, so it cannot grow."""
    vectors = np.load(part, mmap_mode="r", allow_pickle=False)
    kind = pa.list_(pa.float32(), vectors.shape[1])
    schema = pa.schema([("sentence", pa.string()), ("vector", kind)])
    with replacing(output) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        at = 0
        for texts in lines.blocks():
            flat = pa.array(np.asarray(vectors[at : at + len(texts)]).ravel())
            rows = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            writer.write_table(pa.table([pa.array(texts), rows], schema=schema))
            at += len(texts)
