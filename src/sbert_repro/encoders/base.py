"""The kinds of model that the paper's tables compare; how their files are found and read."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.backbone.weights import AGAIN
from sbert_repro.declared import component
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact
from sbert_repro.inference.choice import check_engine

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from sbert_repro.inference.engine import Engine

Vectors = NDArray[np.float32]
"""Sentence vectors ``[N, D]``."""


@runtime_checkable
class SentenceEncoder(Protocol):
    """Maps each sentence to a vector, independently of its neighbours (SBERT, averaged GloVe …).

    Attributes:
        label: The name that a table prints.
    """

    label: str

    @property
    def facts(self) -> list[Fact]:
        """What a reader of its scores must know, such as partial training data."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the vectors depend on, by content; equal identities give equal vectors."""

    def encode(self, sentences: Sequence[str]) -> Vectors:
        """Embed sentences.

        Args:
            sentences: ``N`` texts; empty and very long ones are allowed.

        Returns:
            Vectors: ``[N, D]``, float32, in the order of the sentences.
        """


@runtime_checkable
class FittedEncoder(Protocol):
    """Has to be fitted on sentences before it can embed any, as tf-idf does (Table 3).

    Attributes:
        label: The name that a table prints.
        facts: What a reader of its scores must know.
    """

    label: str
    facts: list[Fact]

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the vectors depend on besides the sentences that it is fitted on."""

    def fitted(self, sentences: Sequence[str]) -> SentenceEncoder:
        """Learn from sentences.

        Args:
            sentences: Training sentences; never those that will be scored.

        Returns:
            SentenceEncoder: A fitted encoder; this one is not changed.
        """


@runtime_checkable
class PairScorer(Protocol):
    """Scores two sentences read together, so that neither has a vector.

    The cross-encoder rows of Tables 2 and 3 are of this kind.

    Attributes:
        label: The name that a table prints.
    """

    label: str

    @property
    def facts(self) -> list[Fact]:
        """What a reader of its scores must know."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the scores depend on, by content."""

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.floating]:
        """Score pairs.

        Args:
            pairs: ``N`` pairs of texts.

        Returns:
            NDArray[np.floating]: ``[N]``, bigger means closer.
        """


def find(name: str, models_root: str | Path | None, *, folder: bool, mend: str) -> Path:
    """Find a model that does not come from the Hub (`find_model` finds those).

    Args:
        name: A path, or a name in ``models_root``.
        models_root: The folder of models, if there is one.
        folder: Whether the model is a folder, not a file.
        mend: What to do when it is missing.

    Returns:
        Path: The file or folder.

    Raises:
        UserError: If it is missing.
    """
    places = [Path(name).expanduser()]
    if models_root is not None:
        places += [Path(models_root) / name, Path(models_root) / places[0].name]
    for place in places:
        if place.is_dir() if folder else place.is_file():
            return place
    found = f"{places[0].name} is not on this machine"
    raise UserError(found, where=places[-1], mend=mend, code="missing")


class Trained(TypedDict, total=False):
    """``sbert_repro.json``, which a training of ours leaves beside its model."""

    max_length: int
    layer: str
    pooling: dict[str, Any]
    loss: dict[str, Any]
    reads: str


def trained_with(folder: Path) -> dict[str, Any]:
    """Return what a training of ours wrote about its model.

    Args:
        folder: A model folder.

    Returns:
        dict[str, Any]: The settings that `save_model` was given; empty for a model of others.
        ``name_of`` gives the word of a component in them, whatever version wrote them.

    Raises:
        UserError: If the file is damaged.
    """
    path = folder / "sbert_repro.json"
    return dict(json_files.read(path, Trained, AGAIN)) if path.is_file() else {}


def reads_pairs(trained: Mapping[str, Any]) -> bool:
    """Tell a cross-encoder from an encoder of single sentences.

    Args:
        trained: From `trained_with`.

    Returns:
        bool: Whether the model was trained on pairs read as one text.
    """
    return trained.get("reads") == "pairs"


class ChosenPooling:
    """A pooling that is built, and torch imported for it, when the first states come.

    Attributes:
        name: Its word on the command line.
        VERSION: That of its class.

    Args:
        pooling: Its word, that of its file in ``sbert_repro/pooling``, or one that is built.
        where: The model folder that names it, for the message.

    Raises:
        UserError: If there is no such pooling.
    """

    def __init__(self, pooling: nn.Module | str, where: object = "") -> None:
        if isinstance(pooling, str):
            self.name: str = pooling
            found = component(_pooling_file(pooling, where), pooling)
            self.VERSION: int = found.constants["VERSION"]
        else:
            self.module = pooling
            self.name, self.VERSION = str(pooling.name), int(pooling.VERSION)  # type: ignore[arg-type]

    @cached_property
    def module(self) -> nn.Module:
        """``(states [N, T, D], mask [N, T]) -> [N, D]``."""
        return pooling_named(self.name)

    def __call__(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool.

        Args:
            states: ``[N, T, D]``.
            mask: ``True`` on word pieces; ``[N, T]``.

        Returns:
            Tensor: ``[N, D]``.
        """
        vectors: Tensor = self.module(states, mask)
        return vectors

    @property
    def identity(self) -> list[str | int]:
        """What vectors depend on: name and version."""
        return [self.name, self.VERSION]


class OnEngine:
    """An encoder whose network an `Engine` runs, which is made when the first text comes.

    Attributes:
        folder: The model's folder.
        pooling: Of the states.
        layer: The layer whose states are pooled.
        precision: ``fp32``, ``bf16`` or ``int8``.
    """

    folder: Path
    pooling: ChosenPooling
    layer: str
    precision: str
    _known: list[Fact]

    def _ask_for(self, engine: str) -> None:
        """Choose ``packed``, ``reference`` or ``auto``, after the attributes have been set."""
        check_engine(engine, self.precision)
        self._asked = engine

    @cached_property
    def _engine(self) -> Engine:
        from sbert_repro.inference.engine import Engine

        chosen, pooling = self._asked, self.pooling.module
        return Engine(chosen, self.folder, pooling, layer=self.layer, precision=self.precision)

    @property
    def facts(self) -> list[Fact]:
        """What a reader of its scores must know."""
        return [*self._known, *([] if self.precision == "fp32" else self._engine.facts)]

    @facts.setter
    def facts(self, known: list[Fact]) -> None:
        """Say what is known of its weights; the engine adds what concerns it."""
        self._known = known

    @property
    def _rounding(self) -> dict[str, str | int]:
        """What the engine adds to an identity."""
        # In fp32 all engines give one vector, and none has to be made ready to say so.
        return {} if self.precision == "fp32" else self._engine.rounding

    @property
    def engine(self) -> str:
        """The engine that computes: ``packed`` or ``reference``."""
        return self._engine.name

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self._engine.device

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's fast tokenizer."""
        from sbert_repro.backbone.transformer import load_tokenizer

        return load_tokenizer(self.folder)


def pooling_named(name: str, where: object = "") -> nn.Module:
    """Build the pooling of a name, which is that of its file in ``sbert_repro/pooling``.

    Args:
        name: ``mean``, ``max``, ``cls`` …
        where: The model folder that names it, for the message.

    Returns:
        nn.Module: ``(states [N, T, D], mask [N, T]) -> [N, D]``.

    Raises:
        UserError: If there is no such pooling.
    """
    module = importlib.import_module(_pooling_file(name, where))
    classes: list[Any] = [kind for _, kind in inspect.getmembers(module, inspect.isclass)]
    built: nn.Module = next(c for c in classes if getattr(c, "name", None) == name)()
    return built


def _pooling_file(name: str, where: object) -> str:
    """Return the module of a pooling, if there is one."""
    package = importlib.import_module("sbert_repro.pooling")
    known = sorted(path.stem for path in Path(package.__path__[0]).glob("[!_]*.py"))
    if name not in known:
        raise UserError(
            f"the model's pooling is {name}; known are: {', '.join(known)}",
            where=where,
            mend="use another model, or encoder=transformer with one of these as pooling=…",
        )
    return f"sbert_repro.pooling.{name}"
