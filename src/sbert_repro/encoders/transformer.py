"""BERT or RoBERTa with a pooling on top: SBERT at inference (Figure 2 of the paper)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sbert_repro.backbone.lookup import find_model, model_sha256, weights_folder
from sbert_repro.backbone.transformer import TransformerBackbone, load, load_tokenizer
from sbert_repro.batch import Tokens
from sbert_repro.data.word_pieces import WordPieces
from sbert_repro.encoders.base import Vectors
from sbert_repro.encoders.folder import check_layer, describe, pooling_named
from sbert_repro.inference import reference

MAX_LENGTH = 128
"""Word pieces of a sentence where nothing says otherwise, [CLS] and [SEP] not counted."""
_CHUNK = 4096
_log = logging.getLogger(__name__)


class TransformerEncoder:
    """Sentence vectors of a transformer folder, trained here, by others or not at all.

    Nothing heavy is read until the first sentence comes, so asking for `identity` is cheap.

    Attributes:
        VERSION: Raised when the same model would give other vectors.
        label: The name that a table prints.
        notes: What a reader must know about the model.
    """

    VERSION: ClassVar[int] = 1

    def __init__(  # noqa: PLR0913 - one argument a key of configs/encoder/*.yaml
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
        progress: bool = False,
    ) -> None:
        """Find the model; a folder that is none is refused here.

        Args:
            path: A folder or a Hub id; see `find_model`.
            pooling: ``(states, mask) -> [N, D]``; ``None``: what the folder says, else MEAN.
            label: ``None``: the last part of ``path``.
            revision: On the Hub.
            layer: Which layer's states are pooled; a name from `LAYERS`.
            max_length: Word pieces of a sentence, [CLS] and [SEP] not counted; ``None``: what the
                folder says, else 128. Never more than the model has positions for.
            models_root: Folder of models.
            precision: ``fp32`` or ``bf16`` (matrix products only).
            progress: Show a bar when the work is long.
        """
        self.folder = find_model(path, None if models_root is None else Path(models_root), revision)
        weights_folder(self.folder)
        said = describe(self.folder)
        check_layer(self.folder, said.layer, layer)
        self.pooling = pooling_named(said.pooling or "mean") if pooling is None else pooling
        self.label = label or Path(path).name
        self.notes: list[str] = []
        self.layer, self.precision, self.progress = layer, precision, progress
        self.normalize = said.normalize
        self.max_length = max_length or said.max_length or MAX_LENGTH

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
        }

    @cached_property
    def backbone(self) -> TransformerBackbone:
        """The network, on the accelerator if there is one."""
        return load(self.folder, self.layer).to(self.device)

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's fast tokenizer."""
        return load_tokenizer(self.folder)

    @property
    def _specials(self) -> int:
        return int(self.tokenizer.num_special_tokens_to_add())

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences, equal ones once.

        Args:
            sentences: ``N`` texts; what is longer than ``max_length`` is cut; the log counts it.

        Returns:
            Vectors: ``[N, D]``, float32.
        """
        row = {text: number for number, text in enumerate(dict.fromkeys(sentences))}
        if not row:
            return np.empty((0, self.backbone.width), np.float32)
        vectors = reference.encode(
            self.pieces(list(row)),
            self.embed,
            pad_id=self.tokenizer.pad_token_id,
            device=self.device,
            progress=self.progress,
        )
        return vectors[[row[text] for text in sentences]]

    def pieces(self, sentences: Sequence[str]) -> list[NDArray[np.int32]]:
        """Split sentences into word pieces, [CLS] and [SEP] included.

        Args:
            sentences: ``N`` texts.

        Returns:
            list[NDArray[np.int32]]: ``N`` arrays of ids.
        """
        limit = min(self.max_length, self.backbone.positions - self._specials)
        cut_to = WordPieces(self.tokenizer, limit)
        chunks = range(0, len(sentences), _CHUNK)
        found = [ids for at in chunks for ids in cut_to(sentences[at : at + _CHUNK])]
        if cut_to.truncated:
            counts = f"{cut_to.truncated:,} of {len(sentences):,}"
            _log.info("%s sentences were cut to %s word pieces", counts, limit)
        return found

    def embed(self, tokens: Tokens) -> Tensor:
        """Run the network and pool.

        Args:
            tokens: ``N`` sentences.

        Returns:
            Tensor: ``[N, D]``, float32.
        """
        half = self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            states = self.backbone(tokens)
        vectors: Tensor = self.pooling(states.float(), tokens.mask)
        return nn.functional.normalize(vectors, dim=1) if self.normalize else vectors
