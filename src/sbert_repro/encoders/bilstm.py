"""A BiLSTM over word vectors with MAX pooling: InferSent as trained here, or not trained at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sbert_repro.backbone import bilstm
from sbert_repro.backbone.bilstm import BiLstmBackbone
from sbert_repro.batch import Tokens
from sbert_repro.data.words import DESCRIPTION, WordRows, WordTokenizer
from sbert_repro.encoders.base import Vectors
from sbert_repro.encoders.folder import pooling_named, trained_with
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences
from sbert_repro.inference.engine import encode_padded
from sbert_repro.storage import sha256_of

UNTRAINED_SEED = 1
_log = logging.getLogger(__name__)


class BiLstmEncoder:
    """Sentence vectors of a BiLSTM: those of a run of ``experiment=infersent``, or a random one's.

    Random ones are a baseline of their own: they say how much is in the word vectors already.

    # paper: InferSent reads sentences of any length
    # here: ``data.max_length`` words in training and the same in evaluation, because the data at
    #   hand hold a "sentence" of 32,860 words
    # effect: 32 of the 109,410 training pairs of profile lite

    Attributes:
        VERSION: Raised when the same model would give other vectors.
        label: The name that a table prints.
        notes: What a reader must know about the model.
        longest: Words of a sentence where nothing says otherwise, markers not counted.
    """

    VERSION: ClassVar[int] = 1
    longest: ClassVar[int] = 128

    def __init__(
        self,
        path: str,
        pooling: nn.Module | None = None,
        *,
        hidden: int = 2048,
        tokenisation: str = "penn_treebank",
        markers: Sequence[str] = ("<s>", "</s>"),
        label: str | None = None,
        max_length: int | None = None,
        data_root: str | Path | None = None,
        cache: str | Path = ".cache",
        precision: str = "fp32",
        progress: bool = False,
    ) -> None:
        """Open the word vectors.

        Args:
            path: A file, or its name in ``<data_root>/word_vectors``.
            pooling: ``(states, mask) -> [N, D]``; ``None``: MAX.
            hidden: Width of each direction.
            tokenisation: ``penn_treebank`` or ``moses``.
            markers: What stands before and after each sentence.
            label: ``None``: "untrained BiLSTM, " with its width.
            max_length: Words of a sentence; ``None``: 128.
            data_root: The data root.
            cache: Folder of all caches.
            precision: ``fp32`` or ``bf16`` (matrix products only).
            progress: Draw a bar when the vectors are read for the first time.

        Raises:
            UserError: If they are not there or damaged, or an option is unknown.
        """
        self.vectors = bilstm.word_vectors(path, data_root, cache, progress)
        self.tokenizer = WordTokenizer(self.vectors, path, split=tokenisation, markers=markers)
        self.pooling = pooling_named("max") if pooling is None else pooling
        self.hidden = hidden
        self.label = label or f"untrained BiLSTM, 2 × {hidden:,}"
        self.notes = sentences(self.vectors.facts)
        self.precision, self.max_length = precision, max_length or self.longest

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on: files by content and settings, not where they lie."""
        return {
            "encoder": "bilstm",
            "version": [self.VERSION, BiLstmBackbone.VERSION],
            "model": self._model_identity,
            "words": self.tokenizer.identity,
            "pooling": [self.pooling.name, self.pooling.VERSION],
            "max_length": self.max_length,
            "precision": self.precision,
        }

    @property
    def _model_identity(self) -> Any:
        return ["random", self.hidden, UNTRAINED_SEED]

    @cached_property
    def backbone(self) -> BiLstmBackbone:
        """The network, on the accelerator if there is one."""
        return self._load().eval().to(self.device)

    def _load(self) -> BiLstmBackbone:
        return bilstm.fresh(self.vectors, self.hidden, UNTRAINED_SEED)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences, equal ones once, and log how many words have no vector.

        Args:
            sentences: ``N`` texts; what is longer than ``max_length`` is cut.

        Returns:
            Vectors: ``[N, D]``, float32.
        """
        row = {text: number for number, text in enumerate(dict.fromkeys(sentences))}
        if not row:
            return np.empty((0, self.backbone.width), np.float32)
        split = WordRows(self.tokenizer, self.max_length)
        vectors = encode_padded(
            split(list(row)), self.embed, pad_id=self.tokenizer.pad_token_id, device=self.device
        )
        share = 100 * split.unknown / max(split.words, 1)
        counts = [f"{n:,}" for n in (split.words, len(row), split.empty, split.truncated)]
        said = "%s: %.1f %% of %s words have no vector; of %s sentences %s have none, %s were cut"
        _log.info(said, self.label, share, *counts)
        return vectors[[row[text] for text in sentences]]

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
        return vectors


class TrainedBiLstmEncoder(BiLstmEncoder):
    """The BiLSTM of a finished run, with the word vectors that it was trained with.

    The model folder holds the network and the sha256 of the vectors' file, not the vectors: those
    of InferSent are 2 GB.
    """

    def __init__(
        self, folder: Path, pooling: nn.Module | None = None, *, label: str, **options: Any
    ) -> None:
        """Open the model and find its word vectors.

        Args:
            folder: The model folder of the run.
            pooling: ``None``: as in training.
            label: The name that a table prints.
            **options: As of `BiLstmEncoder`; ``max_length`` ``None`` is that of the training.

        Raises:
            UserError: If the word vectors are not there any more, or are others.
        """
        said, words = trained_with(folder), _read(folder / DESCRIPTION)
        trained = str(said["pooling"]["_target_"]).split(".")[-2]
        options["max_length"] = options.get("max_length") or int(said["max_length"])
        super().__init__(
            str(words["word_vectors"]),
            pooling_named(trained) if pooling is None else pooling,
            tokenisation=str(words["split"]),
            markers=list(words["markers"]),
            hidden=int(_read(folder / bilstm.DESCRIPTION)["hidden"]),
            label=label,
            **options,
        )
        self.folder = folder
        if self.vectors.sha256 != words["sha256"]:
            raise UserError(
                f"{folder} was trained with other word vectors than {words['word_vectors']} holds "
                f"(sha256 {words['sha256'][:12]}…, found {self.vectors.sha256[:12]}…): put that "
                "file back, or train again"
            )

    @property
    def _model_identity(self) -> Any:
        return sha256_of(self.folder / bilstm.WEIGHTS)

    def _load(self) -> BiLstmBackbone:
        return bilstm.load(self.folder, self.vectors)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as problem:
        raise UserError(
            f"{path}: not readable as JSON ({type(problem).__name__}); train the model again"
        ) from problem
