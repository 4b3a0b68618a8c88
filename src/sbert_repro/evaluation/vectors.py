"""Sentence vectors of several test sets: each text through the encoder once, and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from sbert_repro.config import canonical_json
from sbert_repro.encoders.base import SentenceEncoder, Vectors
from sbert_repro.errors import UserError
from sbert_repro.json_files import set_aside
from sbert_repro.storage import write_file

Numbers = TypeVar("Numbers", bound=NDArray[np.floating])
Sets = dict[str, list[str]]


def encode_sets(encoder: SentenceEncoder, sets: Sets, cache: Path | None) -> dict[str, Vectors]:
    """Embed sets of sentences; a sentence in several sets is embedded once.

    The vectors of a set lie in ``<cache>/vectors/<encoder>/<sentences>.safetensors``, named by the
    encoder's identity and by the sentences, so that no other task or table embeds them again. The
    file names both and the sha256 of its numbers: a file that was damaged, or copied from
    elsewhere, is set aside.

    Args:
        encoder: The encoder.
        sets: Name → distinct sentences.
        cache: Where vectors are kept, or ``None``.

    Returns:
        dict[str, Vectors]: Name → ``[N, D]`` in the order of the set.

    Raises:
        UserError: If a vector holds something else than finite numbers.
    """
    paths = {}
    if cache is not None:
        folder = cache / "vectors" / _digest([canonical_json(encoder.identity)])
        paths = {
            name: folder / f"{_digest(sentences)}.safetensors" for name, sentences in sets.items()
        }
    kept = {name: _read(path, len(sets[name])) for name, path in paths.items()}
    found = {name: vectors for name, vectors in kept.items() if vectors is not None}
    vector: dict[str, Vectors] = {}
    for name, vectors in found.items():
        vector.update(zip(sets[name], vectors, strict=True))
    missing = [name for name in sets if name not in found]
    new = dict.fromkeys(text for name in missing for text in sets[name] if text not in vector)
    if new:
        vector.update(zip(new, finite(encoder.encode(list(new)), encoder.label), strict=True))
    for name in missing:
        found[name] = np.stack([vector[text] for text in sets[name]])
        if name in paths:
            _write(paths[name], found[name])
    return found


def finite(numbers: Numbers, label: str) -> Numbers:
    """Refuse what a damaged or overflowing model gives: a score of NaN would be no score.

    Args:
        numbers: Vectors ``[N, D]`` or scores ``[N]``.
        label: The model's name, for the message.

    Returns:
        The same.

    Raises:
        UserError: If one is NaN or infinite.
    """
    if (wrong := ~np.isfinite(numbers)).any():
        count = int(wrong.reshape(len(numbers), -1).any(1).sum())
        raise UserError(
            f"{count:,} of {len(numbers):,} results are NaN or infinite; its weights are damaged "
            "or overflow",
            where=label,
            mend="train the model again, copy it again, or use precision=fp32",
        )
    return numbers


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
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            vectors: Vectors = file.get_tensor("vectors")
            if file.metadata() != _stamp(path, vectors) or vectors.shape[0] != rows:
                raise ValueError("its content is not what was written")
    except Exception as problem:  # safetensors and NumPy have several kinds
        set_aside(path, f"not readable ({problem})", "the sentences are embedded again")
        return None
    return vectors


def _write(path: Path, vectors: Vectors) -> None:
    # Through memory: written straight to a full disk, no error would say that it is full.
    write_file(path, save({"vectors": vectors}, _stamp(path, vectors)))


def _stamp(path: Path, vectors: Vectors) -> dict[str, str]:
    # One entry: safetensors writes several in any order.
    content = hashlib.sha256(np.ascontiguousarray(vectors).data).hexdigest()
    return {"encoder/sentences sha256": f"{path.parent.name}/{path.stem} {content}"}
