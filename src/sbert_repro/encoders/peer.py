"""The sentence-transformers library as an encoder: the peer that ours is timed against."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sbert_repro.backbone.lookup import find_model, model_sha256, weights_folder
from sbert_repro.encoders.base import Vectors
from sbert_repro.errors import UserError

_BACKENDS = ("torch", "onnx")


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
        backend: str = "torch",
        batch_size: int = 32,
        precision: str = "fp32",
        label: str | None = None,
        models_root: str | Path | None = None,
    ) -> None:
        """Find model and library.

        Args:
            path: A folder or a Hub id; see `find_model`.
            backend: ``torch`` or ``onnx``.
            batch_size: Sentences in a batch; 32 is the library's default.
            precision: ``fp32`` or ``bf16``: the format that the weights are loaded in.
            label: ``None``: the last part of ``path``.
            models_root: Folder of models.

        Raises:
            UserError: If there is no such backend, or it or the model is not there.
        """
        if backend not in _BACKENDS:
            raise UserError(f"encoder.backend={backend}: expected one of {', '.join(_BACKENDS)}")
        self.library = _library("sentence_transformers", "sentence-transformers")
        if backend == "onnx":
            # No version of it runs beside transformers 5, which this project needs.
            _library("optimum.onnxruntime", "optimum-onnx")
        self.folder = find_model(path, None if models_root is None else Path(models_root))
        weights_folder(self.folder)
        self.backend, self.batch_size, self.precision = backend, batch_size, precision
        self.label = label or Path(path).name
        self.notes: list[str] = [f"sentence-transformers {self.library.__version__}"]

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on."""
        return {
            "encoder": "sentence_transformers",
            "version": [self.VERSION, self.library.__version__],
            "model": model_sha256(self.folder),
            "backend": self.backend,
            "precision": self.precision,
        }

    @cached_property
    def model(self) -> Any:
        """The library's own model."""
        kind = "bfloat16" if self.precision == "bf16" else "float32"
        return self.library.SentenceTransformer(
            str(self.folder),
            backend=self.backend,
            local_files_only=True,
            model_kwargs={"dtype": kind} if self.backend == "torch" else {},
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


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise UserError(
            f"{package} is not installed ({problem}); run .venv/bin/pip install {package}, or "
            "leave this encoder out"
        ) from None
