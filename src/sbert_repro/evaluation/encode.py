"""What ``scripts/encode.py`` does: a file of sentences in, a file of vectors out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from omegaconf import DictConfig

from sbert_repro.data.batches import Prefetched
from sbert_repro.data.lines import Lines, look_through
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.run import encoder_of
from sbert_repro.facts import sentences
from sbert_repro.inference.engine import bar
from sbert_repro.inference.stream import Finish, Written, as_npy, write_vectors
from sbert_repro.storage import replacing


@dataclass(frozen=True)
class Encoded:
    """What a command did.

    Attributes:
        written: How many vectors, how wide, how many were there already.
        seconds: It took, model and tokenizer read; the rest of ``written`` was there before.
        notes: What a reader must know about the encoder.
    """

    written: Written
    seconds: float
    notes: list[str]


def run(config: DictConfig) -> Encoded:
    """Embed a file, or go on where the same command was stopped.

    Args:
        config: Composed options of ``scripts/encode.py``.

    Returns:
        Encoded: What was done.

    Raises:
        UserError: If a file, the model or an option is not what it has to be.
    """
    output = Path(config.output)
    if config.block < 1:
        raise UserError(f"block={config.block}: expected at least 1 sentence")
    if output.is_dir() or output.suffix not in (".npy", ".parquet"):
        raise UserError(f"output={output}: expected a file whose name ends in .npy or .parquet")
    lines = look_through(Path(config.input), config.block)
    encoder = encoder_of(config)
    if not isinstance(encoder, SentenceEncoder):
        raise UserError(f"{encoder.label} gives no sentence vectors; choose another encoder")
    settings = {
        "encoder": dict(encoder.identity),
        # Not in the identity where it only rounds, but one file is made by one engine.
        "engine": getattr(encoder, "engine", None),
        "format": output.suffix,
    }
    started = time.monotonic()
    with bar(lines.count, progress=config.progress) as advance:
        written = write_vectors(
            lines,
            output,
            lambda blocks: _embedded(encoder, blocks),
            settings,
            finish=_as_parquet(lines) if output.suffix == ".parquet" else as_npy,
            overwrite=config.overwrite,
            advance=advance,
        )
    return Encoded(written, time.monotonic() - started, sentences(encoder.facts))


def _embedded(
    encoder: SentenceEncoder, blocks: Iterable[list[str]]
) -> Iterator[NDArray[np.float32]]:
    """Embed block after block; transformers split the next one ahead, others only read it ahead."""
    of_blocks = getattr(encoder, "encode_blocks", None)
    if of_blocks is not None:
        yield from of_blocks(blocks)
    else:
        yield from map(encoder.encode, Prefetched(iter(blocks)))


def _as_parquet(lines: Lines) -> Finish:
    """Parquet ends with its index, so that it cannot grow: it is made of the whole ``.npy``."""

    def finish(part: Path, output: Path) -> None:
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

    return finish
