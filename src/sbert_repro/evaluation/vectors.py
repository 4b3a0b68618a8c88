"""Sentence vectors of several test sets: each text through the encoder once, and kept on disk."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sbert_repro.config import canonical_json
from sbert_repro.encoders.base import SentenceEncoder, Vectors
from sbert_repro.storage import write_file

_log = logging.getLogger(__name__)
Sets = dict[str, list[str]]


def encode_sets(encoder: SentenceEncoder, sets: Sets, cache: Path | None) -> dict[str, Vectors]:
    """Embed sets of sentences; a sentence in several sets is embedded once.

    A set's vectors lie in ``<cache>/vectors/<encoder>/<sentences>.npy``, named by the encoder's
    identity and by the sentences, so that neither another task nor another table embeds them again.

    Args:
        encoder: The encoder.
        sets: Name → distinct sentences.
        cache: Where vectors are kept, or ``None``.

    Returns:
        dict[str, Vectors]: Name → ``[N, D]`` in the order of the set.
    """
    paths = {} if cache is None else _paths(encoder, sets, cache / "vectors")
    read = {name: _kept(path, len(sets[name])) for name, path in paths.items()}
    found = {name: vectors for name, vectors in read.items() if vectors is not None}
    rows: dict[str, Vectors] = {}
    for name, vectors in found.items():
        rows.update(zip(sets[name], vectors, strict=True))
    missing = [name for name in sets if name not in found]
    new = dict.fromkeys(text for name in missing for text in sets[name] if text not in rows)
    if new:
        rows.update(zip(new, encoder.encode(list(new)), strict=True))
    for name in missing:
        found[name] = np.stack([rows[text] for text in sets[name]])
        if name in paths:
            _keep(paths[name], found[name])
    return found


def _paths(encoder: SentenceEncoder, sets: Sets, root: Path) -> dict[str, Path]:
    folder = root / _digest([canonical_json(encoder.identity)])
    return {name: folder / f"{_digest(sentences)}.npy" for name, sentences in sets.items()}


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        # The length keeps ["ab", "c"] apart from ["a", "bc"].
        digest.update(f"{len(text)}:".encode() + text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:24]


def _kept(path: Path, rows: int) -> Vectors | None:
    """Read kept vectors; a file damaged by something else than us is only worth a second run."""
    try:
        vectors: Vectors = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as problem:
        _log.warning("%s: not readable (%s); the sentences are embedded again", path, problem)
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == rows else None  # noqa: PLR2004


def _keep(path: Path, vectors: Vectors) -> None:
    # Through memory: written straight to a full disk, NumPy's error does not say that it is full.
    content = io.BytesIO()
    np.save(content, vectors, allow_pickle=False)
    write_file(path, content.getvalue())
