"""Universal Sentence Encoder, multilingual, version 3: the one that a Python package holds."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from sbert_repro.data.packages import USE_MULTILINGUAL
from sbert_repro.encoders.base import Vectors
from sbert_repro.facts import Fact
from sbert_repro.progress import showing

_BLOCK = 512
"""Sentences between two steps of the bar; the package makes its own batches, without padding."""


class UseMultilingualEncoder:
    """Sentence vectors of the package's numpy network, which runs only if all of it is known.

    # paper: universal-sentence-encoder-large, version 3, a transformer for English
    # here: a deep averaging network with CNN features for 16 languages, trained on other data
    # effect: tables 1, 2, 5 and 7 of profile lite, where it stands in for it

    Attributes:
        VERSION: Raised when the same files would give other vectors.
        label: The name that a table prints.
        facts: What a reader of its scores must know.
        width: Width ``D`` of the vectors.
    """

    VERSION: ClassVar[int] = 1
    width: ClassVar[int] = 512

    def __init__(self, *, label: str | None = None, progress: bool = False) -> None:
        """Find the package's files and check them; nothing of it is run before that.

        Args:
            label: ``None``: the name of the package.
            progress: Show a bar when the work is long.

        Raises:
            UserError: If the package is not installed, or a file is not the known one.
        """
        self._package = USE_MULTILINGUAL.files()[0]
        self.label = label or USE_MULTILINGUAL.name
        self.facts: list[Fact] = []
        self.progress = progress

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on: code, weights and vocabulary by content."""
        files = "".join(USE_MULTILINGUAL.sha256.values())
        digest = hashlib.sha256(files.encode()).hexdigest()
        return {"encoder": "use_multilingual", "version": self.VERSION, "files": digest}

    @cached_property
    def model(self) -> Any:
        """The network, with as many threads as everything else here has."""
        import torch

        name = self._package.parent.name
        # By its path: another module of this name earlier on the path would not have been checked.
        found = importlib.util.spec_from_file_location(name, self._package)
        assert found is not None and found.loader is not None, "a .py file has a loader"
        module = sys.modules[name] = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        return module.USE(threads=torch.get_num_threads())

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences, equal ones once.

        Args:
            sentences: ``N`` texts.

        Returns:
            Vectors: ``[N, D]``, float32, of length 1.
        """
        row = {text: number for number, text in enumerate(dict.fromkeys(sentences))}
        # Half of a surrogate pair has no place in UTF-8 and becomes a question mark.
        texts = [text.encode("utf-8", "replace").decode("utf-8") for text in row]
        vectors = np.empty((len(texts), self.width), np.float32)
        with showing("encoding", len(texts), shown=self.progress) as advance:
            for start in range(0, len(texts), _BLOCK):
                block = texts[start : start + _BLOCK]
                vectors[start : start + len(block)] = self.model.encode(block)
                advance(len(block))
        return vectors[[row[text] for text in sentences]]
