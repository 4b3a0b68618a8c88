"""A trained model as a folder that this project and sentence-transformers both load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from sbert_repro.backbone.bilstm import BiLstmBackbone
from sbert_repro.backbone.weights import AGAIN, read_weights
from sbert_repro.errors import UserError
from sbert_repro.losses.objective import Objective
from sbert_repro.storage import as_system_errors, filling
from sbert_repro.training.pretrained import Backbone

_MODES = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
_MODULES = "sentence_transformers.models"
_HEAD = "head.safetensors"


def save_model(
    folder: Path,
    backbone: Backbone,
    tokenizer: Any,
    pooling: nn.Module,
    loss: Objective,
    settings: Mapping[str, Any],
) -> None:
    """Write everything that makes up a model; the folder appears when it is complete.

    Args:
        folder: The model folder; one that a killed run left there is replaced.
        backbone: The trained backbone.
        tokenizer: Its tokenizer.
        pooling: The pooling it was trained with.
        loss: The objective; its parameters (W_t) are part of the model.
        settings: Of the training, written to ``sbert_repro.json``; ``max_length`` (word pieces
            without special tokens) is read.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    with filling(folder, replace=True) as whole, as_system_errors():
        backbone.save(whole)
        tokenizer.save_pretrained(whole)
        if loss.columns == 1:
            settings = {**settings, "reads": "pairs"}
        elif not isinstance(backbone, BiLstmBackbone):
            limit = settings["max_length"] + tokenizer.num_special_tokens_to_add()
            _describe(whole, pooling, backbone.width, min(limit, backbone.positions))
        _write(whole / "sbert_repro.json", settings)
        if loss.state_dict():
            save_file(loss.state_dict(), whole / _HEAD)


def _describe(folder: Path, pooling: nn.Module, width: int, limit: int) -> None:
    """Write what sentence-transformers reads beside the weights.

    It could not give the vectors of the two others: a cross-encoder has none, and a BiLSTM splits
    texts into words in another way.
    """
    modes = {f"pooling_mode_{mode}": name == pooling.name for name, mode in _MODES.items()}
    contents: dict[str, Any] = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{_MODULES}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{_MODULES}.Pooling"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": width, **modes},
        # There the limit counts [CLS] and [SEP], here it does not.
        "sentence_bert_config.json": {"max_seq_length": limit, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "__version__": {name: version(name) for name in ("transformers", "torch")},
            "similarity_fn_name": "cosine",
        },
    }
    for name, content in contents.items():
        _write(folder / name, content)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_head(folder: Path, loss: Objective) -> None:
    """Put the saved parameters of an objective back into one with the same options.

    Args:
        folder: A folder that `save_model` wrote.
        loss: The objective, which is changed.

    Raises:
        UserError: If the folder holds no such head.
    """
    path = folder / _HEAD
    weights = read_weights(path) if path.exists() else {}
    try:
        loss.load_state_dict(weights)
    except RuntimeError as problem:
        raise UserError(
            f"no head for loss={loss.name} ({type(problem).__name__}); expected the one that this "
            "objective was trained with",
            where=path,
            mend=AGAIN,
        ) from problem
