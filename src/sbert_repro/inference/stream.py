"""Vectors of more sentences than fit into memory, and of work that may be killed at any moment.

Vectors go to ``<output>.part`` block by block; after each block ``<output>.journal`` says how many
are safely on the disk. The same command goes on behind the last of them. What is written does not
depend on where it was stopped: blocks are cut from the input alone, and each is embedded by itself.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbert_repro.data.lines import Lines
from sbert_repro.errors import UserError
from sbert_repro.inference.engine import Advance
from sbert_repro.storage import lock, unwritable, write_file

VERSION = 1
"""Raised when the same input and settings would give another file."""
EmbedBlocks = Callable[[Iterable[list[str]]], Iterator[NDArray[np.float32]]]
"""Gives vectors ``[n, D]`` for each block of ``n`` sentences, in order."""
Finish = Callable[[Path, Path], None]
"""Makes the output of a whole ``.npy`` file: ``(part, output)``."""


def as_npy(part: Path, output: Path) -> None:
    """Make the part the output.

    Args:
        part: A whole ``.npy`` file.
        output: Where it goes.
    """
    part.replace(output)


@dataclass(frozen=True)
class Written:
    """What a call found and did.

    Attributes:
        rows: ``N`` sentences.
        width: ``D``.
        kept: Sentences that an earlier call had embedded already.
    """

    rows: int
    width: int
    kept: int


def write_vectors(
    lines: Lines,
    output: Path,
    embed_blocks: EmbedBlocks,
    settings: Mapping[str, Any],
    *,
    finish: Finish = as_npy,
    overwrite: bool = False,
    advance: Advance = lambda done: None,
) -> Written:
    """Embed a file's sentences, or go on with what was begun.

    Args:
        lines: The sentences.
        output: The file to write.
        embed_blocks: The encoder; asked only for blocks that are missing.
        settings: What the vectors depend on beside the sentences, in JSON's types.
        finish: Puts the output in its place; by default an ``.npy`` file, ``[N, D]``, float32.
        overwrite: Throw away an output of other sentences or settings.
        advance: Told how many sentences are done.

    Returns:
        Written: What was done; the output is whole.
    """
    made_from = {**_what(lines), **settings}
    with lock(output.with_name(f".{output.name}.lock"), f"output={output}"):
        journal = _begun(output, made_from, overwrite=overwrite)
        done = int(journal["done"])
        advance(done)
        if done < lines.count:
            blocks = embed_blocks(lines.blocks(done // lines.block))
            _append(output, journal, blocks, advance)
        if _beside(output, "part").exists():
            _put_in_place(output, journal, finish)
    return Written(lines.count, int(journal["width"]), done)


def _what(lines: Lines) -> dict[str, Any]:
    return {
        "version": VERSION,
        "sentences": lines.sha256,
        "rows": lines.count,
        "block": lines.block,
    }


def _beside(output: Path, what: str) -> Path:
    return output.with_name(f"{output.name}.{what}")


def _begun(output: Path, made_from: dict[str, Any], *, overwrite: bool) -> dict[str, Any]:
    """Give the journal of what can be gone on with; a new one where there is nothing.

    An output that is to be overwritten stays until another takes its place.
    """
    part, path = _beside(output, "part"), _beside(output, "journal")
    # Through JSON, so that it compares equal to what was read.
    fresh = {"made_from": json.loads(json.dumps(made_from)), "done": 0, "width": None, "size": None}
    found = _read(path)
    exists = output.exists() or (part.exists() and found is not None)
    if exists and not overwrite and (found is None or found["made_from"] != fresh["made_from"]):
        raise UserError(
            f"output={output}: {_difference(found, fresh)}; name another file, or give "
            "overwrite=true"
        )
    if found is not None and found["made_from"] == fresh["made_from"] and _fits(output, found):
        return found
    for old in (part, path):
        old.unlink(missing_ok=True)
    return fresh


def _read(path: Path) -> dict[str, Any] | None:
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(journal, dict) and {"made_from", "done", "width", "size"} <= journal.keys()
    return journal if whole else None


def _difference(found: dict[str, Any] | None, fresh: dict[str, Any]) -> str:
    if found is None:
        return "this file is there already, and nothing says what it was made from"
    before, now = found["made_from"], fresh["made_from"]
    other = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    return f"it was made with another {', '.join(other)}"


def _fits(output: Path, journal: dict[str, Any]) -> bool:
    """Whether the files are as long as the journal says; a kill may leave a part that is longer."""
    rows, part = journal["made_from"]["rows"], _beside(output, "part")
    if journal["width"] is None:
        return False
    if part.exists():
        return part.stat().st_size >= _end(rows, journal["width"], journal["done"])
    # Killed after the part became the output: then no size has been noted.
    whole = journal["done"] == rows and output.exists()
    return whole and journal["size"] in (None, output.stat().st_size)


def _append(
    output: Path,
    journal: dict[str, Any],
    blocks: Iterator[NDArray[np.float32]],
    advance: Advance,
) -> None:
    """Write blocks behind what is there; each is on the disk before the journal counts it."""
    part, rows = _beside(output, "part"), journal["made_from"]["rows"]
    for vectors in blocks:
        if journal["width"] is None:
            journal["width"] = vectors.shape[1]
            _write(part, 0, _header(rows, vectors.shape[1]))
        at = _end(rows, journal["width"], journal["done"])
        _write(part, at, np.ascontiguousarray(vectors, "<f4").tobytes())
        journal["done"] += len(vectors)
        _note(output, journal)
        advance(len(vectors))


def _note(output: Path, journal: dict[str, Any]) -> None:
    write_file(_beside(output, "journal"), json.dumps(journal, indent=1) + "\n")


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


def _put_in_place(output: Path, journal: dict[str, Any], finish: Finish) -> None:
    part = _beside(output, "part")
    try:
        finish(part, output)
        part.unlink(missing_ok=True)
        journal["size"] = output.stat().st_size
    except OSError as problem:
        raise unwritable(output, problem) from problem
    _note(output, journal)


def _end(rows: int, width: int, done: int) -> int:
    """Give the byte behind the first ``done`` vectors of a file of ``rows``."""
    return len(_header(rows, width)) + 4 * done * width


def _header(rows: int, width: int) -> bytes:
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()
