"""What a folder in sentence-transformers' layout says about itself, beside its weights."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from sbert_repro.errors import UserError

_SPECIALS = 2
_NO_LIMIT = 100_000
"""Tokenizers without a limit say so by an absurd number."""
_OLD_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_LIBRARY = "sentence_transformers."
_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class Described:
    """What is written in a model folder; a plain transformers folder says nothing.

    Attributes:
        pooling: ``mean``, ``max``, ``cls`` or whatever else it names; ``None`` if it does not say.
        max_length: Word pieces of a sentence, [CLS] and [SEP] not counted, or ``None``.
        normalize: Whether vectors are scaled to length 1 (the cosine does not notice).
        layer: Which layer's states a run of ours was trained on, or ``None``.
    """

    pooling: str | None = None
    max_length: int | None = None
    normalize: bool = False
    layer: str | None = None


def describe(folder: Path) -> Described:
    """Read ``modules.json`` and the files it names, in the old and the new spelling of their keys.

    Args:
        folder: A model folder.

    Returns:
        Described: What it says.

    Raises:
        UserError: If a file is damaged, the model has a module that would be left out, changes its
            texts before they are split, or is a cross-encoder.
    """
    ours = trained_with(folder)
    if reads_pairs(ours):
        raise UserError(
            f"{folder}: a cross-encoder, which gives scores of pairs and no sentence vectors; use "
            "encoder=cross_encoder"
        )
    if not (folder / "modules.json").is_file():
        return Described()
    modules = _modules(folder)
    pooling = modules.get("Pooling")
    _refuse_other_text(folder, modules.get("Transformer", folder))
    return Described(
        pooling=None if pooling is None else _pooling(_read(pooling / "config.json")),
        max_length=_max_length(modules.get("Transformer", folder)),
        normalize="Normalize" in modules,
        layer=ours.get("layer"),
    )


def _modules(folder: Path) -> dict[str, Path]:
    """Give the folder of each module by its name; what is not known is refused."""
    listed = _read(folder / "modules.json")
    # What is none of the library's own it would import from the folder: code of others.
    if foreign := [m for m in listed if not str(m.get("type", "")).startswith(_LIBRARY)]:
        raise UserError(
            f"{folder / 'modules.json'}: module {foreign[0].get('type')} is code that lies in the "
            f"folder, expected modules of {_LIBRARY[:-1]} only; use another model"
        )
    modules = {m["type"].rpartition(".")[2]: folder / str(m.get("path", "")) for m in listed}
    if unknown := [name for name in modules if name not in _MODULES]:
        raise UserError(
            f"{folder / 'modules.json'}: module {unknown[0]} is not known, and leaving it "
            f"out would change every vector; known are {', '.join(_MODULES)}"
        )
    return modules


def trained_with(folder: Path) -> dict[str, Any]:
    """Read what a run of ours wrote down about its model.

    Args:
        folder: A model folder.

    Returns:
        dict[str, Any]: What `save_model` was given; empty for a model of others.

    Raises:
        UserError: If the file is damaged.
    """
    return _optional(folder / "sbert_repro.json")


def reads_pairs(trained: Mapping[str, Any]) -> bool:
    """Tell a cross-encoder from an encoder of single sentences.

    Args:
        trained: From `trained_with`.

    Returns:
        bool: Whether the model was trained on pairs read as one.
    """
    return trained.get("reads") == "pairs"


def check_layer(folder: Path, trained: str | None, wanted: str) -> None:
    """Refuse to pool other states than those a model was trained on.

    Args:
        folder: The model folder.
        trained: The layer that the folder names, or ``None``.
        wanted: The layer that is asked for.

    Raises:
        UserError: If the two differ.
    """
    if trained not in (None, wanted):
        raise UserError(
            f"encoder.layer={wanted}: {folder} was trained with another one; give "
            f"encoder.layer={trained}"
        )


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UserError(
            f"{path}: not readable as JSON ({type(problem).__name__}); copy the model again"
        ) from problem


def _pooling(config: dict[str, Any]) -> str:
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for key, mode in _OLD_KEYS.items() if config.get(key)]
    return modes if isinstance(modes, str) else "+".join(modes) or "mean"


def _refuse_other_text(folder: Path, transformer: Path) -> None:
    """Refuse what sentence-transformers does to a text before the tokenizer sees it."""
    prompts = _optional(folder / "config_sentence_transformers.json")
    if name := prompts.get("default_prompt_name"):
        raise UserError(
            f"{folder / 'config_sentence_transformers.json'}: the prompt {name!r} stands before "
            "each text, which is not done here and would change every vector; use another model"
        )
    lowers = _optional(transformer / "sentence_bert_config.json").get("do_lower_case")
    # Uncased BERT's own tokenizer does it anyway.
    if lowers and not _optional(transformer / "tokenizer_config.json").get("do_lower_case"):
        raise UserError(
            f"{transformer / 'sentence_bert_config.json'}: do_lower_case for a tokenizer that "
            "keeps upper case is not done here and would change every vector; use another model"
        )


def _optional(path: Path) -> dict[str, Any]:
    return dict(_read(path)) if path.is_file() else {}


def _max_length(transformer: Path) -> int | None:
    """The limit stands in one of two files, depending on who wrote the folder."""
    for name, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        if (transformer / name).is_file():
            limit = _read(transformer / name).get(key)
            if limit is not None and limit < _NO_LIMIT:
                return int(limit) - _SPECIALS
    return None


def pooling_named(name: str) -> nn.Module:
    """Build the pooling whose file in ``sbert_repro/pooling`` has this name.

    Args:
        name: ``mean``, ``max``, ``cls`` …

    Returns:
        nn.Module: ``(states [N, T, D], mask [N, T]) -> [N, D]``.

    Raises:
        UserError: If there is no such pooling.
    """
    package = importlib.import_module("sbert_repro.pooling")
    known = sorted(p.stem for p in Path(package.__path__[0]).glob("[!_]*.py"))
    if name not in known:
        raise UserError(f"the model's pooling is {name}; known are: {', '.join(known)}")
    module = importlib.import_module(f"sbert_repro.pooling.{name}")
    kinds: list[type[nn.Module]] = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, nn.Module)
    ]
    return next(kind for kind in kinds if getattr(kind, "name", None) == name)()
