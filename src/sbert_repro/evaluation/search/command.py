"""What ``scripts/search.py`` does: files of texts or vectors in, the closest rows out."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig

from sbert_repro.composition import build
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.run import encoder_of
from sbert_repro.evaluation.search.exact import Found, top_k
from sbert_repro.evaluation.search.pairs import top_pairs
from sbert_repro.evaluation.search.products import Matrix
from sbert_repro.inference.engine import bar


class ExactIndex:
    """No index: every vector of the corpus is looked at."""

    def __init__(self, progress: bool = False) -> None:
        """Choose what is shown.

        Args:
            progress: Show a bar when the work is long.
        """
        self.progress = progress
        self.notes: list[str] = []

    def search(self, corpus: Matrix, queries: Matrix, k: int, names: tuple[str, str]) -> Found:
        """Find the k closest vectors for each query.

        Args:
            corpus: ``[N, D]``.
            queries: ``[Q, D]``.
            k: How many.
            names: What corpus and queries are called in messages.

        Returns:
            Found: Cosines and rows.
        """
        with bar(len(corpus), progress=self.progress) as advance:
            return top_k(corpus, queries, k, names=names, advance=advance)


@dataclass(frozen=True)
class Side:
    """A corpus or queries.

    Attributes:
        name: Its file.
        texts: One a row; ``None`` where the file holds vectors.
        vectors: ``[N, D]``.
    """

    name: str
    texts: list[str] | None
    vectors: Matrix

    def shown(self, rows: Iterable[int]) -> list[str]:
        """Give texts of rows.

        Args:
            rows: Some; -1 for none.

        Returns:
            list[str]: Their texts, or their numbers where there are none.
        """
        texts = self.texts
        if texts is None:
            return [f"row {row:,}" for row in rows]
        return ["" if row < 0 else texts[row] for row in rows]


@dataclass(frozen=True)
class Result:
    """What is written and shown.

    Attributes:
        table: One line a found row; ``query, rank, row, score``, or ``rank, first, second, score``
            for pairs, and the texts where they are known.
        notes: What a reader must know.
    """

    table: pa.Table
    notes: list[str]


def run(config: DictConfig) -> Result:
    """Search, or find the closest pairs of the corpus where there are no queries.

    Args:
        config: Composed options of ``scripts/search.py``.

    Returns:
        Result: Closest first.

    Raises:
        UserError: If a file is missing, empty or of another width, or k is too large.
    """
    paths = [config.corpus] + ([] if config.queries is None else [config.queries])
    read = {path: _read(Path(path)) for path in paths}
    encoder = _encoder(config) if any(isinstance(found, list) for found in read.values()) else None
    sides = {path: _side(path, found, encoder) for path, found in read.items()}
    corpus, notes = sides[config.corpus], [] if encoder is None else list(encoder.notes)
    if config.queries is None:
        if not str(config.index["_target_"]).endswith("ExactIndex"):
            raise UserError("queries is not set: pairs of a corpus are found with index=exact only")
        return Result(_pairs(corpus, int(config.k)), notes)
    index, queries = build(config.index, progress=config.progress), sides[config.queries]
    names = (corpus.name, queries.name)
    found = index.search(corpus.vectors, queries.vectors, int(config.k), names)
    return Result(_rows(corpus, queries, found), [*notes, *index.notes])


def _encoder(config: DictConfig) -> SentenceEncoder:
    encoder = encoder_of(config)
    if not isinstance(encoder, SentenceEncoder):
        raise UserError(f"{encoder.label} gives no sentence vectors; choose another encoder")
    return encoder


def _read(path: Path) -> Matrix | list[str]:
    """Give vectors of an ``.npy`` file, memory-mapped, or the lines of any other."""
    try:
        if path.suffix == ".npy":
            vectors: Matrix = np.load(path, mmap_mode="r", allow_pickle=False)
            return vectors
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, expected a sentence a line, or .npy") from None
    except (OSError, ValueError, EOFError) as problem:
        raise UserError(
            f"{path}: cannot be read ({problem}); expected UTF-8 text with a sentence a line, or "
            "vectors in an .npy file as scripts/encode.py writes them"
        ) from problem
    # Not splitlines: U+2028 and its like are part of a sentence.
    lines = text.removesuffix("\n").split("\n")
    if not text.strip():
        raise UserError(f"{path}: holds no text, expected a sentence a line")
    return [line.removesuffix("\r") for line in lines]


def _side(path: str, found: Matrix | list[str], encoder: SentenceEncoder | None) -> Side:
    if not isinstance(found, list):
        return Side(path, None, found)
    assert encoder is not None, "texts were read, so there is an encoder"
    return Side(path, found, encoder.encode(found))


def _rows(corpus: Side, queries: Side, found: Found) -> pa.Table:
    count, k = found.rows.shape
    query, row = np.repeat(np.arange(count), k), found.rows.ravel()
    columns: dict[str, Any] = {
        "query": query,
        "rank": np.tile(np.arange(1, k + 1), count),
        "row": row,
        "score": found.scores.ravel(),
    }
    if queries.texts is not None:
        columns["query_text"] = queries.shown(query)
    if corpus.texts is not None:
        columns["row_text"] = corpus.shown(row)
    return pa.table(columns)


def _pairs(corpus: Side, k: int) -> pa.Table:
    found = top_pairs(corpus.vectors, k, name=corpus.name)
    first, second = found.rows.T
    columns: dict[str, Any] = {
        "rank": np.arange(1, k + 1),
        "first": first,
        "second": second,
        "score": found.scores,
    }
    if corpus.texts is not None:
        columns |= {"first_text": corpus.shown(first), "second_text": corpus.shown(second)}
    return pa.table(columns)


def as_parquet(table: pa.Table) -> bytes:
    """Write a table as the bytes of a Parquet file.

    Args:
        table: As in `Result`.

    Returns:
        bytes: For `write_file`.
    """
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()
