"""The sentence-transformers library as an encoder: the peer that ours is timed against."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import transformers

from sbert_repro.backbone.find_model import find_model, model_sha256, weights_folder
from sbert_repro.encoders.base import Vectors
from sbert_repro.encoders.transformer import describe
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact


class PeerEncoder:
    """``SentenceTransformer(folder).encode`` at its defaults.

    Attributes:
        VERSION: Raised when the same model would give other vectors.
        label: The name that a table prints.
        notes: What a reader must know about the model.
    """

    VERSION: ClassVar[int] = 1

    def __init__(
        self,
        path: str,
        *,
        batch_size: int = 32,
        precision: str = "fp32",
        label: str | None = None,
        models_root: str | Path | None = None,
    ) -> None:
        """Find model and library.

        Args:
            path: A folder or a Hub id; see `find_model`.
            batch_size: Sentences in a batch; 32 is the library's default.
            precision: ``fp32`` or ``bf16``: the format that the weights are loaded in.
            label: ``None``: the last part of ``path``.
            models_root: Folder of models.

        Raises:
            UserError: If the library or the model is not there, or as in `describe`.
        """
        self.library = library("sentence_transformers", ".venv/bin/pip install")
        self.folder = find_model(path, None if models_root is None else Path(models_root))
        weights_folder(self.folder)
        # Refuses modules that the library would import from the folder: code of others.
        describe(self.folder)
        self.batch_size, self.precision = batch_size, precision
        self.label = label or Path(path).name
        self.facts: list[Fact] = [
            fact("library", library="sentence-transformers", version=self.library.__version__)
        ]

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on."""
        return {
            "encoder": "sentence_transformers",
            "version": [self.VERSION, self.library.__version__],
            "model": model_sha256(self.folder),
            "backend": "torch",
            "precision": self.precision,
        }

    @cached_property
    def model(self) -> Any:
        """The library's own model."""
        kind = "bfloat16" if self.precision == "bf16" else "float32"
        transformers.logging.disable_progress_bar()
        return self.library.SentenceTransformer(
            str(self.folder),
            local_files_only=True,
            model_kwargs={"dtype": kind, "use_safetensors": True},
        )

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences, each as often as it comes.

        Args:
            sentences: ``N`` texts.

        Returns:
            Vectors: ``[N, D]``, float32.
        """
        found = self.model.encode(
            list(sentences), batch_size=self.batch_size, show_progress_bar=False
        )
        return np.asarray(found, np.float32)


def library(module: str, install: str) -> Any:
    """Import a library that only a peer needs, without what it says while it is imported.

    Args:
        module: Its name in Python.
        install: The command that installs it; one that ends in ``install`` is given the name.

    Returns:
        Any: The module.

    Raises:
        UserError: If it is not installed.
    """
    # transformers prints, onto the results, that W&B is offline; datasets logs what it has found,
    # sentence-transformers which folder it reads.
    for name in ("datasets", "sentence_transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(module)
    except ImportError as problem:
        package = module.replace("_", "-")
        command = f"{install} {package}" if install.endswith(" install") else install
        raise UserError(
            f"{package} is not installed ({problem}); run {command}, or leave this encoder out"
        ) from None
