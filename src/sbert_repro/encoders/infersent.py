"""InferSent's published weights, which Tables 1, 2, 3, 5 and 7 compare with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sbert_repro.backbone import bilstm
from sbert_repro.backbone.bilstm import BiLstmBackbone
from sbert_repro.batch import Tokens
from sbert_repro.encoders.bilstm import BiLstmEncoder
from sbert_repro.errors import UserError
from sbert_repro.storage import sha256_of

SOURCE = "https://dl.fbaipublicfiles.com/infersent"
"""Folder of infersent1.pkl and infersent2.pkl."""
PADDINGS = ("v1", "masked")
_PREFIX = "enc_lstm."
_SHAPE = f"{_PREFIX}weight_hh_l0"


class InferSentEncoder(BiLstmEncoder):
    """Sentence vectors of ``infersent1.pkl`` (GloVe) or ``infersent2.pkl`` (fastText).

    # paper: "InferSent - GloVe", which is the first version
    # here: the first version; ``encoder=infersent2`` is the second
    # effect: tables 1, 2, 3, 5 and 7

    # paper: version 1 let the zeros of padding take part in the maximum, so that a vector depended
    #   on whether its sentence was the longest of its batch
    # here: with ``padding=v1`` a zero takes part for each sentence, as it did for all but a batch's
    #   longest, so that no batch mate counts; ``masked`` lets none take part, as version 2
    # effect: tables 1, 2, 3, 5 and 7

    # paper: both versions split by NLTK's word_tokenize, which looks for ends of sentences first
    # here: one rule set of the Penn Treebank for the whole text, as for averaged word vectors
    # effect: full stops inside of a text
    """

    VERSION: ClassVar[int] = 1
    longest: ClassVar[int] = BiLstmBackbone.positions

    def __init__(
        self,
        path: str,
        word_vectors: str,
        *,
        padding: str = "v1",
        sha256: str | None = None,
        tokenisation: str = "penn_treebank",
        markers: Sequence[str] = ("<s>", "</s>"),
        label: str | None = None,
        max_length: int | None = None,
        models_root: str | Path | None = None,
        data_root: str | Path | None = None,
        cache: str | Path = ".cache",
        precision: str = "fp32",
        progress: bool = False,
    ) -> None:
        """Find weights and word vectors.

        Args:
            path: The file of weights, or its name in ``models_root``.
            word_vectors: The file that they were trained with, or its name in the data root.
            padding: A name from ``PADDINGS``.
            sha256: What the weights must be; ``None``: whatever lies there, with a note.
            tokenisation: ``penn_treebank`` or ``moses``.
            markers: What stands before and after each sentence.
            label: ``None``: the name of the file.
            max_length: Words of a sentence; ``None``: all.
            models_root: Folder of models.
            data_root: The data root.
            cache: Folder of all caches.
            precision: ``fp32`` or ``bf16``.
            progress: Draw a bar when the vectors are read for the first time.
        """
        self.file, self.padding = _found(path, padding, models_root), padding
        digest = _checked(self.file, sha256)
        options: dict[str, Any] = {"tokenisation": tokenisation, "markers": markers, "cache": cache}
        options |= {"data_root": data_root, "max_length": max_length, "precision": precision}
        super().__init__(word_vectors, label=label or self.file.stem, progress=progress, **options)
        self.notes += [] if sha256 else [f"{self.file.name}: sha256 {digest}, compared with none"]

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on: files by content and settings, not where they lie."""
        return {**super().identity, "encoder": "infersent", "padding": self.padding}

    @property
    def _model_identity(self) -> Any:
        return sha256_of(self.file)

    def _load(self) -> BiLstmBackbone:
        weights = _weights(self.file)
        hidden = int(weights[_SHAPE].shape[-1])
        own = {name.removeprefix(_PREFIX): value for name, value in weights.items()}
        return bilstm.fresh(self.vectors, hidden, seed=0).take(own, self.file)

    def embed(self, tokens: Tokens) -> Tensor:
        """Run the network and pool.

        Args:
            tokens: ``N`` sentences.

        Returns:
            Tensor: ``[N, D]``, float32.
        """
        vectors = super().embed(tokens)
        return vectors.clamp(min=0) if self.padding == "v1" else vectors


def _found(path: str, padding: str, models_root: str | Path | None) -> Path:
    if padding not in PADDINGS:
        raise UserError(f"encoder.padding={padding} is unknown: use {' or '.join(PADDINGS)}")
    places = [Path(path).expanduser()]
    if models_root is not None:
        places += [Path(models_root) / path]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        name = Path(path).name
        raise UserError(f"no file {path}, nor {places[-1]}: download {SOURCE}/{name} to it")
    return file


def _checked(file: Path, wanted: str | None) -> str:
    found = sha256_of(file)
    if wanted is not None and found != wanted.lower():
        raise UserError(
            f"{file}: sha256 {found}, expected {wanted}: download {SOURCE}/{file.name} again, or "
            "give encoder.sha256=null"
        )
    return found


def _weights(file: Path) -> dict[str, Tensor]:
    """Read a state_dict; anything else that a pickle may hold is refused, not run."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as problem:  # a damaged file and a pickle of objects have kinds of their own
        raise UserError(
            f"{file}: no plain weights ({type(problem).__name__}), and other pickles are not read: "
            f"download {SOURCE}/{file.name}, which holds nothing else"
        ) from problem
    if not isinstance(found, dict) or not isinstance(found.get(_SHAPE), Tensor):
        there = ", ".join(list(map(str, found))[:3]) if isinstance(found, dict) else type(found)
        raise UserError(
            f"{file}: no weights of InferSent, expected {_SHAPE} among them (there: {there}): "
            f"download {SOURCE}/{file.name}"
        )
    return {name: value.float() for name, value in found.items() if isinstance(value, Tensor)}
