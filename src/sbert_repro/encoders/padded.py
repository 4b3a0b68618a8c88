"""SBERT run as its authors did: transformers' network on padded batches (section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from sbert_repro.backbone.find_model import find_model, model_sha256, weights_folder
from sbert_repro.backbone.transformer import load_tokenizer
from sbert_repro.encoders.base import Vectors, pooling_named
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact

ORDERS = ("given", "characters")


class PaddedEncoder:
    """Batches of a fixed number of sentences, padded to the longest of them.

    # paper: "smart batching: sentences with similar lengths are grouped together and are only
    #   padded to the longest element in a mini-batch"; without it nothing is said of the padding
    # here: ``characters`` sorts by length in characters, as the authors' code does; ``given`` takes
    #   the sentences as they come; both pad to the longest of the batch
    # effect: table 7; no vector changes

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
        order: str = "characters",
        batch_size: int = 32,
        max_length: int = 128,
        label: str | None = None,
        models_root: str | Path | None = None,
    ) -> None:
        """Find the model.

        Args:
            path: A folder or a Hub id; see `find_model`.
            pooling: ``(states, mask) -> [N, D]``; ``None``: MEAN.
            order: ``given`` or ``characters``.
            batch_size: Sentences in a batch.
            max_length: Word pieces of a sentence, [CLS] and [SEP] counted.
            label: ``None``: the last part of ``path``.
            models_root: Folder of models.

        Raises:
            UserError: If there is no such model or order, or a number is not positive.
        """
        if order not in ORDERS or min(batch_size, max_length) < 1:
            raise UserError(
                f"encoder.order={order} encoder.batch_size={batch_size} encoder.max_length="
                f"{max_length}: expected an order of {', '.join(ORDERS)} and numbers from 1"
            )
        self.folder = find_model(path, None if models_root is None else Path(models_root))
        weights_folder(self.folder)
        self.pooling = pooling_named("mean") if pooling is None else pooling
        self.order, self.batch_size, self.max_length = order, batch_size, max_length
        self.label = label or Path(path).name
        self.facts: list[Fact] = []

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on; order and batch size change none by more than rounding."""
        return {
            "encoder": "padded",
            "version": self.VERSION,
            "model": model_sha256(self.folder),
            "pooling": [self.pooling.name, self.pooling.VERSION],
            "max_length": self.max_length,
        }

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def network(self) -> Any:
        """The network as transformers has it."""
        folder = weights_folder(self.folder)
        found = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        return found.float().eval().to(self.device)

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's fast tokenizer."""
        return load_tokenizer(self.folder)

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences, each as often as it comes.

        Args:
            sentences: ``N`` texts; what is longer than ``max_length`` is cut.

        Returns:
            Vectors: ``[N, D]``, float32.
        """
        rows = np.arange(len(sentences))
        if self.order == "characters":
            rows = np.argsort([len(text) for text in sentences], kind="stable")
        vectors = np.empty((len(sentences), self.network.config.hidden_size), np.float32)
        with torch.inference_mode():
            for start in range(0, len(rows), self.batch_size):
                some = rows[start : start + self.batch_size]
                vectors[some] = self._embed([sentences[row] for row in some]).cpu().numpy()
        return vectors

    def _embed(self, texts: list[str]) -> Tensor:
        read = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        ).to(self.device)
        states = self.network(**read).last_hidden_state
        pooled: Tensor = self.pooling(states, read["attention_mask"].bool())
        return pooled
