"""The weights a run starts from: a pre-trained transformer, or a BiLSTM with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from omegaconf import DictConfig

from sbert_repro.backbone import bilstm_folder
from sbert_repro.backbone.find_model import find_model, model_sha256, weights_facts
from sbert_repro.compose import declaration
from sbert_repro.config import plain
from sbert_repro.data.word_vectors import WordVectors
from sbert_repro.data.words import WordTokenizer
from sbert_repro.declared import declared
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact

if TYPE_CHECKING:  # seconds to import, and the key of a run needs none of it
    from sbert_repro.backbone.bilstm import BiLstmBackbone
    from sbert_repro.backbone.transformer import TransformerBackbone

Backbone: TypeAlias = "TransformerBackbone | BiLstmBackbone"
_FUSED = "sbert_repro.backbone.fused"
_BACKBONES = {
    "bilstm": "sbert_repro.backbone.bilstm.BiLstmBackbone",
    "transformer": "sbert_repro.backbone.transformer.TransformerBackbone",
}


def _trained_as(config: DictConfig) -> str:
    """Return the kind of backbone that the encoder's class names; "" if it cannot be trained."""
    return str(declaration(config.encoder).constants.get("trained_as", ""))


def identity(config: DictConfig) -> dict[str, Any]:
    """Describe by content what a run starts from, for its key.

    Args:
        config: The composed options.

    Returns:
        Plain values: the weights by their sha256, versions, the layer.

    Raises:
        UserError: If the model or the word vectors are missing, or the encoder cannot be trained.
    """
    encoder, kind = config.encoder, _trained_as(config)
    if kind not in _BACKBONES:
        raise UserError(
            "cannot be fine-tuned",
            where=f"encoder {encoder.get('label')}",
            mend="use a transformer, such as encoder=bert_base",
        )
    constants = declared(_BACKBONES[kind]).constants
    if kind == "bilstm":
        tokenizer = _word_tokenizer(config, _word_vectors(config))
        return {
            "words": tokenizer.identity,
            "hidden": encoder.hidden,
            "layer": constants["layer"],
            "version": constants["VERSION"],
        }
    return {
        "model": model_sha256(_model_folder(config)),
        "layer": encoder.layer,
        "version": constants["VERSION"],
        # In bf16 the network is computed in a way of its own, which rounds in other places.
        **(
            {"fused": declared(_FUSED).constants["VERSION"]}
            if plain(config.trainer.precision) == "bf16"
            else {}
        ),
    }


def load(config: DictConfig, parent_model: Path | None = None) -> tuple[Backbone, Any]:
    """Load the backbone a run starts from, on the CPU, and its tokenizer.

    Args:
        config: The composed options.
        parent_model: Model folder of a first stage, if there is one.

    Returns:
        The backbone, and the tokenizer that belongs to it.

    Raises:
        UserError: If a file is missing or damaged.
    """
    from sbert_repro.backbone import bilstm, transformer

    if _trained_as(config) == "bilstm":
        vectors = _word_vectors(config)
        backbone = (
            bilstm.random_bilstm(vectors, config.encoder.hidden, config.seed)
            if parent_model is None
            else bilstm.load(parent_model, vectors)
        )
        return backbone, _word_tokenizer(config, vectors)
    source = parent_model or _model_folder(config)
    return transformer.load(source, config.encoder.layer), transformer.load_tokenizer(source)


def facts(config: DictConfig) -> list[Fact]:
    """Return what is true of every number that rests on the weights a run starts from.

    Args:
        config: The composed options.

    Returns:
        Nothing for weights that are known to be the model's.
    """
    if _trained_as(config) == "bilstm":
        return []
    encoder = config.encoder
    return weights_facts(encoder.path, encoder.revision, _model_folder(config))


def _model_folder(config: DictConfig) -> Path:
    encoder, paths = config.encoder, config.paths
    return find_model(encoder.path, Path(paths.models), encoder.revision, Path(paths.cache))


def _word_vectors(config: DictConfig) -> WordVectors:
    paths = config.paths
    return bilstm_folder.word_vectors(
        config.encoder.path, Path(paths.data), Path(paths.cache), config.trainer.progress
    )


def _word_tokenizer(config: DictConfig, vectors: WordVectors) -> WordTokenizer:
    return WordTokenizer(vectors, config.encoder.path, split=config.encoder.tokenisation)
