"""Universal Sentence Encoder, a TensorFlow model that Tables 1, 2 and 5 compare with."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sbert_repro.encoders.base import Vectors, find
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact
from sbert_repro.progress import showing
from sbert_repro.storage import folder_sha256, sha256_of

SOURCE = "https://tfhub.dev/google/universal-sentence-encoder-large/3"
"""What section 7 of the paper names for Table 7: the large one, a transformer."""
INSTALL = "make setup EXTRAS=use"
SIGNATURES = ("default", "serving_default")
"""Of modules for TensorFlow 1 and of models for TensorFlow 2; both map strings to vectors."""
BUDGET = 8192
"""Characters in a batch, all texts counted as long as the longest; a longer text stands alone."""
GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
"""One of these files makes a folder a SavedModel."""
_UNPACK = f"unpack {SOURCE}?tf-hub-format=compressed"


class UseEncoder:
    """Sentence vectors of a SavedModel that takes strings, as TensorFlow Hub provides them.

    TensorFlow is imported when the first sentence comes; nothing else of the project needs it.

    # paper: "Universal Sentence Encoder"; only section 7 (speed) says which one
    # here: universal-sentence-encoder-large, version 3, in all tables; ``encoder.path`` for others
    # effect: tables 1, 2 and 5

    Attributes:
        VERSION: Raised when the same model would give other vectors.
        label: The name that a table prints.
        facts: What a reader of its scores must know.
    """

    VERSION: ClassVar[int] = 1

    def __init__(
        self,
        path: str,
        *,
        label: str | None = None,
        models_root: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        """Find the model; a folder that holds none is refused here, without TensorFlow.

        Args:
            path: A folder, its name in ``models_root``, or an address on TensorFlow Hub
                (``https://…``), which needs the package tensorflow_hub.
            label: ``None``: the last part of ``path``.
            models_root: Folder of models.
            progress: Show a bar when the work is long.

        Raises:
            UserError: If there is no SavedModel, or TensorFlow is not installed.
        """
        self.label = label or Path(path).name
        self.facts: list[Fact] = []
        self.progress = progress
        if path.startswith(("https://", "http://")):
            self.folder = _download(path)
        else:
            mend = f"{_UNPACK} into the folder of models (SBERT_MODELS); {INSTALL}"
            self.folder = find(path, models_root, folder=True, mend=mend)
        if not any((self.folder / name).is_file() for name in GRAPHS):
            found = "no SavedModel, expected saved_model.pb and variables/"
            raise UserError(found, where=self.folder, mend=f"{_UNPACK} there")
        if importlib.util.find_spec("tensorflow") is None:
            found = f"{self.label} needs TensorFlow, which is not installed"
            raise UserError(found, mend=INSTALL, code="missing")

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on: graph, weights and vocabulary by content."""
        graph = next(self.folder / name for name in GRAPHS if (self.folder / name).is_file())
        parts = {name: folder_sha256(self.folder / name, ("",)) for name in ("variables", "assets")}
        return {"encoder": "use", "version": self.VERSION, "graph": sha256_of(graph), **parts}

    @cached_property
    def model(self) -> Callable[[list[bytes]], Vectors]:
        """The function from ``n`` texts in UTF-8 to their vectors ``[n, D]``."""
        tensorflow = tensorflow_module()
        function = _function(_load(tensorflow, self.folder), self.folder)

        def run(texts: list[bytes]) -> Vectors:
            vectors = function(tensorflow.constant(texts, tensorflow.string, [len(texts)]))
            return np.asarray(vectors, np.float32)

        # A graph may take strings and return something else, or take something else.
        try:
            shape = run([b"one", b"two"]).shape
        except Exception as problem:  # TensorFlow has a kind of its own for each way to fail
            raise _unusable(self.folder, f"fails on two strings ({_short(problem)})") from problem
        if len(shape) != 2 or shape[0] != 2:  # noqa: PLR2004
            raise _unusable(self.folder, f"gives {list(shape)} for two strings")
        return run

    @cached_property
    def width(self) -> int:
        """Width ``D`` of the vectors; 512 for every published one."""
        return int(self.model([b""]).shape[1])

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences, equal ones once; the model itself splits them into words.

        Args:
            sentences: ``N`` texts.

        Returns:
            Vectors: ``[N, D]``, float32.
        """
        from sbert_repro.inference.engine import plan_padded

        row = {text: number for number, text in enumerate(dict.fromkeys(sentences))}
        # Half of a surrogate pair has no place in UTF-8 and becomes a question mark.
        texts = [text.encode("utf-8", "replace") for text in row]
        vectors = np.empty((len(texts), self.width), np.float32)
        batches = plan_padded(np.array([len(text) for text in texts], np.int64), BUDGET)
        with showing("encoding", len(texts), shown=self.progress) as advance:
            for rows in batches:
                vectors[rows] = self.model([texts[number] for number in rows])
                advance(len(rows))
        return vectors[[row[text] for text in sentences]]


def _download(address: str) -> Path:
    """Download through TensorFlow Hub's own client, which keeps a cache."""
    where = f"encoder.path={address}"
    if importlib.util.find_spec("tensorflow_hub") is None:
        raise UserError(
            "an address needs the package tensorflow_hub, which is not installed",
            where=where,
            mend=f"unpack {address}?tf-hub-format=compressed into a folder and use that instead",
            code="missing",
        )
    try:
        return Path(importlib.import_module("tensorflow_hub").resolve(address))
    except Exception as problem:  # network, address and archive each have their own kinds
        found = f"not available from TensorFlow Hub ({_short(problem)})"
        raise UserError(found, where=where, mend="use a folder", code="missing") from problem


def tensorflow_module() -> Any:
    """Import TensorFlow without its greetings, which would stand between our lines."""
    # Read when TensorFlow is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with _without_stderr():
        module = importlib.import_module("tensorflow")
    # Its handler would close the stream that was stderr at import, once logging is set up anew.
    handler = importlib.import_module("absl.logging").get_absl_handler()
    handler.python_handler.stream = sys.__stderr__
    return module


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Silence what C++ prints before its log can be told to; an exception still comes through."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _load(tensorflow: Any, folder: Path) -> Any:
    """Load a SavedModel; one for TensorFlow 1 may hold a graph for training besides its own."""
    try:
        try:
            return tensorflow.saved_model.load(str(folder))
        except ValueError:  # raised where there are several graphs, and none was named
            return tensorflow.saved_model.load(str(folder), tags=[])
    except Exception as problem:  # a damaged graph and missing variables raise different kinds
        raise UserError(
            f"not loadable by TensorFlow {tensorflow.__version__} ({_short(problem)})",
            where=folder,
            mend=f"{_UNPACK} there again",
        ) from problem


def _function(loaded: Any, folder: Path) -> Callable[[Any], Any]:
    """Choose what maps a tensor of strings ``[n]`` to vectors ``[n, D]``."""
    signatures = getattr(loaded, "signatures", {})
    name = next((name for name in SIGNATURES if name in signatures), None)
    if name is None:
        if callable(loaded):
            called: Callable[[Any], Any] = loaded
            return called
        there = ", ".join(signatures) or "none"
        raise _unusable(folder, f"has no signature {' or '.join(SIGNATURES)} (there: {there})")
    signature = signatures[name]
    inputs = list(signature.structured_input_signature[1].items())
    outputs = list(signature.structured_outputs)
    if len(inputs) != 1 or inputs[0][1].dtype.name != "string":
        takes = ", ".join(f"{key}: {spec.dtype.name}" for key, spec in inputs) or "nothing"
        raise _unusable(folder, f"takes {takes} in signature {name}")
    # A module names its one output "default"; others may stand beside it.
    output = "default" if "default" in outputs else outputs[0]
    return lambda texts: signature(**{inputs[0][0]: texts})[output]


def _unusable(folder: Path, what: str) -> UserError:
    expected = f"expected strings [n] to vectors [n, D], as {SOURCE}"
    return UserError(f"this SavedModel {what}; {expected}", where=folder)


def _short(problem: Exception, limit: int = 200) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:limit]}"
