"""A BiLSTM over word vectors with MAX pooling: InferSent, trained here or as its authors left it.

`BiLstmEncoder` is not trained, `TrainedBiLstmEncoder` comes from a run of ``experiment=infersent``,
and `InferSentEncoder` has the published weights, which Tables 1, 2, 3, 5 and 7 compare with.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.aliases import name_of
from sbert_repro.backbone import bilstm_folder
from sbert_repro.backbone.weights import AGAIN, WEIGHTS
from sbert_repro.batch import Tokens
from sbert_repro.data.words import DESCRIPTION, WordRows, Words, WordTokenizer
from sbert_repro.declared import declared
from sbert_repro.encoders.base import ChosenPooling, Vectors, find
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.storage import sha256_of

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    import torch
    from torch import Tensor, nn

    from sbert_repro.backbone.bilstm import BiLstmBackbone

_BACKBONE = "sbert_repro.backbone.bilstm.BiLstmBackbone"
SOURCE = "https://dl.fbaipublicfiles.com/infersent"
"""Folder of infersent1.pkl and infersent2.pkl."""
PADDINGS = ("v1", "masked")
UNTRAINED_SEED = 1
_PREFIX = "enc_lstm."
_SHAPE = f"{_PREFIX}weight_hh_l0"
_log = logging.getLogger(__name__)


class BiLstmEncoder:
    """Sentence vectors of a BiLSTM with random weights.

    They are a baseline of their own, showing how much the word vectors already know.

    # paper: InferSent reads sentences of any length
    # here: ``data.max_length`` words in training and the same in evaluation, because the data at
    #   hand hold a "sentence" of 32,860 words
    # effect: 32 of the 109,410 training pairs of profile lite

    Attributes:
        VERSION: Raised when the same model would give other vectors.
        trained_as: The kind of backbone that training starts from.
        label: The name that a table prints.
        facts: What a reader of its scores must know.
        longest: Words of a sentence where nothing says otherwise, markers not counted.
    """

    VERSION: ClassVar[int] = 1
    trained_as: ClassVar[str] = "bilstm"
    longest: ClassVar[int] = 128

    def __init__(
        self,
        path: str,
        pooling: nn.Module | str | None = None,
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
            progress: Show a bar when the vectors are read for the first time.

        Raises:
            UserError: If the vectors are missing or damaged, or an option is unknown.
        """
        if precision == "int8":
            raise UserError(
                "a BiLSTM has no 8-bit products",
                where="precision=int8",
                mend="use precision=fp32 or bf16",
            )
        self.vectors = bilstm_folder.word_vectors(path, data_root, cache, progress)
        self.tokenizer = WordTokenizer(self.vectors, path, split=tokenisation, markers=markers)
        self.pooling = ChosenPooling("max" if pooling is None else pooling)
        self.hidden = hidden
        self.label = label or f"untrained BiLSTM, 2 × {hidden:,}"
        self.facts: list[Fact] = list(self.vectors.facts)
        self.precision, self.max_length = precision, max_length or self.longest

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on: files by content, and settings; not where the files lie."""
        return {
            "encoder": "bilstm",
            "version": [self.VERSION, declared(_BACKBONE).constants["VERSION"]],
            "model": self._model_identity,
            "words": self.tokenizer.identity,
            "pooling": self.pooling.identity,
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
        from sbert_repro.backbone import bilstm

        return bilstm.random_bilstm(self.vectors, self.hidden, UNTRAINED_SEED)

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        import torch

        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences, equal ones once, and log how many words have no vector.

        Args:
            sentences: ``N`` texts; those longer than ``max_length`` words are cut.

        Returns:
            Vectors: ``[N, D]``, float32.
        """
        from sbert_repro.inference.engine import encode_padded

        row = {text: number for number, text in enumerate(dict.fromkeys(sentences))}
        if not row:
            return np.empty((0, self.backbone.width), np.float32)
        split = WordRows(self.tokenizer, self.max_length)
        vectors = encode_padded(
            split(list(row)), self.embed, pad_id=self.tokenizer.pad_token_id, device=self.device
        )
        _log.info(
            "%s: %.1f %% of %s words have no vector; of %s sentences %s have none, %s were cut",
            self.label,
            100 * split.unknown / max(split.words, 1),
            f"{split.words:,}",
            f"{len(row):,}",
            f"{split.empty:,}",
            f"{split.truncated:,}",
        )
        return vectors[[row[text] for text in sentences]]

    def embed(self, tokens: Tokens) -> Tensor:
        """Run the network and pool.

        Args:
            tokens: ``N`` sentences.

        Returns:
            Tensor: ``[N, D]``, float32.
        """
        import torch

        half = self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            states = self.backbone(tokens)
        vectors: Tensor = self.pooling(states.float(), tokens.mask)
        return vectors


class _Trained(TypedDict):
    max_length: int
    pooling: dict[str, Any]


class TrainedBiLstmEncoder(BiLstmEncoder):
    """The BiLSTM of a finished run, with the word vectors that it was trained with.

    The model folder holds the network and the sha256 of the vectors' file, not the vectors: those
    of InferSent take 2 GB.
    """

    def __init__(
        self, folder: Path, pooling: nn.Module | str | None = None, *, label: str, **options: Any
    ) -> None:
        """Open the model and find its word vectors.

        Args:
            folder: The model folder of the run.
            pooling: ``None``: as in training.
            label: The name that a table prints.
            **options: As of `BiLstmEncoder`; ``max_length=None`` takes that of the training.

        Raises:
            UserError: If the word vectors are missing or have changed.
        """
        words = json_files.read(folder / DESCRIPTION, Words, AGAIN)
        trained = json_files.read(folder / "sbert_repro.json", _Trained, AGAIN)
        options["max_length"] = options.get("max_length") or trained["max_length"]
        super().__init__(
            words["word_vectors"],
            ChosenPooling(name_of(trained["pooling"]), folder).name if pooling is None else pooling,
            tokenisation=words["split"],
            markers=words["markers"],
            hidden=bilstm_folder.described(folder)["hidden"],
            label=label,
            **options,
        )
        self.folder = folder
        if self.vectors.sha256 != words["sha256"]:
            raise UserError(
                f"was trained with other word vectors than {words['word_vectors']} holds (sha256 "
                f"{words['sha256'][:12]}…, found {self.vectors.sha256[:12]}…)",
                where=folder,
                mend="put that file back, or train again",
            )

    @property
    def _model_identity(self) -> Any:
        return sha256_of(self.folder / WEIGHTS)

    def _load(self) -> BiLstmBackbone:
        from sbert_repro.backbone import bilstm

        return bilstm.load(self.folder, self.vectors)


class InferSentEncoder(BiLstmEncoder):
    """Sentence vectors of ``infersent1.pkl`` (GloVe) or ``infersent2.pkl`` (fastText).

    # paper: "InferSent - GloVe", which is the first version
    # here: the first version; ``encoder=infersent2`` is the second
    # effect: tables 1, 2, 3, 5 and 7

    # paper: version 1 let the zeros of padding take part in the maximum, so that a vector depended
    #   on whether its sentence was the longest of its batch
    # here: with ``padding=v1`` a zero takes part for each sentence, as it did for all but the
    #   longest of a batch, so that no batch mate counts; with ``masked`` none does, as in version 2
    # effect: tables 1, 2, 3, 5 and 7

    # paper: both versions split by NLTK's word_tokenize, which looks for ends of sentences first
    # here: one rule set of the Penn Treebank for the whole text, as for averaged word vectors
    # effect: full stops inside a text
    """

    VERSION: ClassVar[int] = 1
    trained_as: ClassVar[str] = ""  # published weights are scored, not trained on
    longest: ClassVar[int] = sys.maxsize  # a recurrent network has no last position

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
            sha256: What the weights must be; ``None``: anything, stated as a fact.
            tokenisation: ``penn_treebank`` or ``moses``.
            markers: What stands before and after each sentence.
            label: ``None``: the name of the file.
            max_length: Words of a sentence; ``None``: all.
            models_root: Folder of models.
            data_root: The data root.
            cache: Folder of all caches.
            precision: ``fp32`` or ``bf16``.
            progress: Show a bar when the vectors are read for the first time.

        Raises:
            UserError: If a file is missing or not the expected one, or an option is unknown.
        """
        if padding not in PADDINGS:
            raise UserError(
                f"unknown; use {' or '.join(PADDINGS)}", where=f"encoder.padding={padding}"
            )
        self.padding = padding
        name = Path(path).name
        self.file = find(
            path,
            models_root,
            folder=False,
            mend=f"download {SOURCE}/{name} into the folder of models (SBERT_MODELS)",
        )
        digest = sha256_of(self.file)
        if sha256 is not None and digest != sha256.lower():
            raise UserError(
                f"sha256 {digest}, expected {sha256}",
                where=self.file,
                mend=f"download {SOURCE}/{name} again, or use encoder.sha256=null",
            )
        super().__init__(
            word_vectors,
            tokenisation=tokenisation,
            markers=markers,
            label=label or self.file.stem,
            max_length=max_length,
            data_root=data_root,
            cache=cache,
            precision=precision,
            progress=progress,
        )
        if sha256 is None:
            self.facts.append(fact("unknown_file", file=self.file.name, sha256=digest))

    @property
    def identity(self) -> dict[str, Any]:
        """What the vectors depend on: files by content, and settings; not where the files lie."""
        return {**super().identity, "encoder": "infersent", "padding": self.padding}

    @property
    def _model_identity(self) -> Any:
        return sha256_of(self.file)

    def _load(self) -> BiLstmBackbone:
        from sbert_repro.backbone import bilstm

        weights = published_weights(self.file)
        hidden = int(weights[_SHAPE].shape[-1])
        own = {name.removeprefix(_PREFIX): value for name, value in weights.items()}
        return bilstm.random_bilstm(self.vectors, hidden, seed=0).with_weights(own, self.file)

    def embed(self, tokens: Tokens) -> Tensor:
        """Run the network and pool.

        Args:
            tokens: ``N`` sentences.

        Returns:
            Tensor: ``[N, D]``, float32.
        """
        vectors = super().embed(tokens)
        return vectors.clamp(min=0) if self.padding == "v1" else vectors


def published_weights(file: Path) -> dict[str, Tensor]:
    """Read a state_dict; anything else that a pickle may hold is refused, not run.

    Args:
        file: ``infersent1.pkl`` or ``infersent2.pkl``.

    Returns:
        dict[str, Tensor]: Name of a weight → its values, as float32.

    Raises:
        UserError: If it is not that.
    """
    import torch
    from torch import Tensor

    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as problem:  # a damaged file and a pickle of objects raise different kinds
        raise UserError(
            f"no plain weights ({type(problem).__name__}), and other pickles are not read",
            where=file,
            mend=f"download {SOURCE}/{file.name}, which holds nothing else",
        ) from problem
    if not isinstance(weights, dict) or not isinstance(weights.get(_SHAPE), Tensor):
        there = ", ".join(list(map(str, weights))[:3]) if isinstance(weights, dict) else "no dict"
        raise UserError(
            f"no weights of InferSent, expected {_SHAPE} among them (there: {there})",
            where=file,
            mend=f"download {SOURCE}/{file.name}",
        )
    return {name: value.float() for name, value in weights.items() if isinstance(value, Tensor)}
