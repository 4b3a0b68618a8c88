"""BERT or RoBERTa with a pooling on top: SBERT at inference (Figure 2 of the paper)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sbert_repro.backbone.find_model import find_model, model_sha256, weights_facts, weights_folder
from sbert_repro.backbone.transformer import TransformerBackbone, load_tokenizer
from sbert_repro.data.batches import Prefetched
from sbert_repro.data.tokens import WordPieces
from sbert_repro.encoders.base import Vectors
from sbert_repro.encoders.folder import check_layer, describe, pooling_named
from sbert_repro.facts import sentences
from sbert_repro.inference.engine import Advance, Engine, bar

MAX_LENGTH = 128
"""Word pieces of a sentence where nothing says otherwise, [CLS] and [SEP] not counted."""
BLOCK = 8192
"""Sentences whose word pieces are held at once: enough to find many of equal length."""


class TransformerEncoder:
    """Sentence vectors of a transformer folder, trained here, by others or not at all.

    Nothing heavy is read until the first sentence comes, so asking for `identity` is cheap.

    Attributes:
        VERSION: Raised when the same model would give other vectors.
        label: The name that a table prints.
        notes: What a reader must know about the model.
    """

    VERSION: ClassVar[int] = 1

    def __init__(
        self,
        path: str,
        pooling: nn.Module | None = None,
        *,
        label: str | None = None,
        revision: str | None = None,
        layer: str = "last",
        max_length: int | None = None,
        models_root: str | Path | None = None,
        precision: str = "fp32",
        engine: str = "auto",
        progress: bool = False,
    ) -> None:
        """Find the model; a folder that is none is refused here.

        Args:
            path: A folder or a Hub id; see `find_model`.
            pooling: ``(states, mask) -> [N, D]``; ``None``: what the folder says, else MEAN.
            label: ``None``: the last part of ``path``.
            revision: On the Hub.
            layer: Which layer's states are pooled; a name from `LAYERS`.
            max_length: Word pieces without [CLS] and [SEP]; ``None``: the folder's, else 128.
            models_root: Folder of models.
            precision: ``fp32`` or ``bf16``.
            engine: ``packed``, ``reference`` or ``auto``; see `Engine`.
            progress: Show a bar when the work is long.
        """
        self.folder = find_model(path, None if models_root is None else Path(models_root), revision)
        weights_folder(self.folder)
        said = describe(self.folder)
        check_layer(self.folder, said.layer, layer)
        self.pooling = pooling_named(said.pooling or "mean") if pooling is None else pooling
        self.label = label or Path(path).name
        self.notes = sentences(weights_facts(path, revision, self.folder))
        self.layer, self.precision, self.progress = layer, precision, progress
        self.normalize = said.normalize
        self.max_length = max_length or said.max_length or MAX_LENGTH
        self._engine = Engine(engine, self.folder, self.pooling, layer=layer, precision=precision)

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on: files by content and settings, not where they lie."""
        return {
            "encoder": "transformer",
            "version": [self.VERSION, TransformerBackbone.VERSION],
            "model": model_sha256(self.folder),
            "pooling": [self.pooling.name, self.pooling.VERSION],
            "layer": self.layer,
            "max_length": self.max_length,
            "normalize": self.normalize,
            "precision": self.precision,
            **self._engine.rounding,
        }

    @property
    def engine(self) -> str:
        """The engine that computes: ``packed`` or ``reference``."""
        return self._engine.name

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's fast tokenizer."""
        return load_tokenizer(self.folder)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self._engine.device

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences, equal ones once.

        Args:
            sentences: ``N`` texts; what is longer than ``max_length`` is cut; the log counts it.

        Returns:
            Vectors: ``[N, D]``, float32.
        """
        row = {text: number for number, text in enumerate(dict.fromkeys(sentences))}
        if not row:
            return np.empty((0, self._engine.width), np.float32)
        texts = list(row)
        blocks = [texts[at : at + BLOCK] for at in range(0, len(texts), BLOCK)]
        vectors = np.empty((len(texts), self._engine.width), np.float32)
        with bar(len(texts), progress=self.progress) as advance:
            found = self.encode_blocks(blocks, advance)
            for at, of_block in zip(range(0, len(texts), BLOCK), found, strict=True):
                vectors[at : at + BLOCK] = of_block
        if len(row) == len(sentences):
            return vectors  # most lists hold no sentence twice: no second copy
        return vectors[[row[text] for text in sentences]]

    def encode_blocks(
        self, blocks: Iterable[Sequence[str]], advance: Advance = lambda done: None
    ) -> Iterator[Vectors]:
        """Embed one block of sentences after the other; the next is split ahead of the model.

        Within a block nothing runs ahead. On a CPU it is worth nothing: splitting 512 sentences of
        STSb takes 1 % of MiniLM's time (fp32; bf16: 1.5 %), by the cores that the model needs, and
        a part of a block has fewer sentences of equal length.

        Args:
            blocks: Each some ``n`` texts, at least one; read in a thread.
            advance: Told how many distinct sentences are done.

        Yields:
            Vectors: ``[n, D]`` of each block.
        """
        cut_to, total = self._word_pieces.copy(), 0

        def split(block: Sequence[str]) -> tuple[list[int], list[NDArray[np.int32]]]:
            row = {text: number for number, text in enumerate(dict.fromkeys(block))}
            return [row[text] for text in block], cut_to(list(row))

        for rows, pieces in Prefetched(map(split, blocks)):
            total += len(rows)
            yield self._embed_pieces(pieces, advance)[rows]
        cut_to.log_truncated(total)

    def _embed_pieces(self, pieces: list[NDArray[np.int32]], advance: Advance) -> Vectors:
        pad_id = self.tokenizer.pad_token_id
        return self._engine.encode(pieces, self.pool, pad_id=pad_id, advance=advance)

    def pieces(self, sentences: Sequence[str]) -> list[NDArray[np.int32]]:
        """Split sentences into word pieces, [CLS] and [SEP] included.

        Args:
            sentences: ``N`` texts.

        Returns:
            list[NDArray[np.int32]]: ``N`` arrays of ids.
        """
        cut_to = self._word_pieces.copy()
        found = cut_to(sentences)
        cut_to.log_truncated(len(sentences))
        return found

    @cached_property
    def _word_pieces(self) -> WordPieces:
        specials = int(self.tokenizer.num_special_tokens_to_add())
        return WordPieces(self.tokenizer, min(self.max_length, self._engine.positions - specials))

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool, and scale to length 1 where the folder says so.

        Args:
            states: ``[N, T, D]``.
            mask: ``True`` on word pieces; ``[N, T]``.

        Returns:
            Tensor: ``[N, D]``, float32.
        """
        vectors: Tensor = self.pooling(states.float(), mask)
        return nn.functional.normalize(vectors, dim=1) if self.normalize else vectors
