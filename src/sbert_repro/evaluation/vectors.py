"""Sentence vectors of several test sets: each text through the encoder once, and kept on disk."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sbert_repro.config import canonical_json
from sbert_repro.encoders.base import SentenceEncoder, Vectors
from sbert_repro.storage import write_file

_log = logging.getLogger(__name__)
Sets = dict[str, list[str]]


def encode_sets(encoder: SentenceEncoder, sets: Sets, cache: Path | None) -> dict[str, Vectors]:
    """Embed sets of sentences; a sentence in several sets is embedded once.

    The vectors of a set lie in ``<cache>/vectors/<encoder>/<sentences>.npy``, named by the
    encoder's identity and by the sentences, so that no other task or table embeds them again.

    Args:
        encoder: The encoder.
        sets: Name → distinct sentences.
        cache: Where vectors are kept, or ``None``.

    Returns:
        dict[str, Vectors]: Name → ``[N, D]`` in the order of the set.
    """
    paths = {}
    if cache is not None:
        folder = cache / "vectors" / _digest([canonical_json(encoder.identity)])
        paths = {name: folder / f"{_digest(sentences)}.npy" for name, sentences in sets.items()}
    kept = {name: _read(path, len(sets[name])) for name, path in paths.items()}
    found = {name: vectors for name, vectors in kept.items() if vectors is not None}
    vector: dict[str, Vectors] = {}
    for name, vectors in found.items():
        vector.update(zip(sets[name], vectors, strict=True))
    missing = [name for name in sets if name not in found]
    new = dict.fromkeys(text for name in missing for text in sets[name] if text not in vector)
    if new:
        vector.update(zip(new, encoder.encode(list(new)), strict=True))
    for name in missing:
        found[name] = np.stack([vector[text] for text in sets[name]])
        if name in paths:
            _write(paths[name], found[name])
    return found


def rows_of(
    vectors: Vectors, sentences: Sequence[str], *columns: Sequence[str]
) -> Iterator[Vectors]:
    """Look up the vectors of columns of texts.

    Args:
        vectors: Vectors of ``sentences`` ``[n, D]``.
        sentences: ``n`` distinct sentences.
        *columns: ``N`` of these sentences each.

    Yields:
        Vectors: ``[N, D]`` of each column.
    """
    assert vectors.ndim == 2 and len(vectors) == len(sentences), vectors.shape  # noqa: PLR2004
    row = {text: number for number, text in enumerate(sentences)}
    for column in columns:
        yield vectors[[row[text] for text in column]]


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        # The length keeps ["ab", "c"] apart from ["a", "bc"].
        digest.update(f"{len(text)}:".encode() + text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:24]


def _read(path: Path, rows: int) -> Vectors | None:
    """Read kept vectors; a file that something else damaged only costs a second run."""
    try:
        vectors: Vectors = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as problem:
        _log.warning("%s: not readable (%s); the sentences are embedded again", path, problem)
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == rows else None  # noqa: PLR2004


def _write(path: Path, vectors: Vectors) -> None:
    # Through memory: written straight to a full disk, NumPy's error does not say that it is full.
    content = io.BytesIO()
    np.save(content, vectors, allow_pickle=False)
    write_file(path, content.getvalue())
