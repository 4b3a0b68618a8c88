"""What a run starts from: a pre-trained transformer, or a BiLSTM with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sbert_repro.backbone import bilstm, fused, transformer
from sbert_repro.backbone.bilstm import BiLstmBackbone
from sbert_repro.backbone.find_model import find_model, model_sha256, weights_facts
from sbert_repro.backbone.transformer import TransformerBackbone
from sbert_repro.config import plain
from sbert_repro.data.word_vectors import WordVectors
from sbert_repro.data.words import WordTokenizer
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact

Backbone = TransformerBackbone | BiLstmBackbone
_TRANSFORMER = "sbert_repro.encoders.transformer.TransformerEncoder"
_BILSTM = "sbert_repro.encoders.infersent.BiLstmEncoder"


def identity(config: DictConfig) -> dict[str, Any]:
    """Give what the start of a run depends on, by content.

    Args:
        config: The composed options.

    Returns:
        dict[str, Any]: For run keys.

    Raises:
        UserError: If the model or the word vectors are not there, or the encoder cannot be trained.
    """
    encoder = config.encoder
    if encoder["_target_"] == _BILSTM:
        tokenizer = _tokenizer(config, _vectors(config))
        return {
            "words": tokenizer.identity,
            "hidden": encoder.hidden,
            "layer": BiLstmBackbone.layer,
            "version": BiLstmBackbone.VERSION,
        }
    if encoder["_target_"] != _TRANSFORMER:
        raise UserError(
            f"encoder {encoder.get('label')} cannot be fine-tuned; use a transformer, such as "
            "encoder=bert_base"
        )
    return {
        "model": model_sha256(_source(config)),
        "layer": encoder.layer,
        "version": TransformerBackbone.VERSION,
        # In bf16 it is computed in its own way, which rounds in its own places.
        **({"fused": fused.VERSION} if plain(config.trainer.precision) == "bf16" else {}),
    }


def load(config: DictConfig, parent_model: Path | None = None) -> tuple[Backbone, Any]:
    """Load what a run starts from, and the tokenizer that belongs to it.

    Args:
        config: The composed options.
        parent_model: Model folder of a first stage, if there is one.

    Returns:
        tuple[Backbone, Any]: On the CPU.

    Raises:
        UserError: If something is not there, or damaged.
    """
    if config.encoder["_target_"] == _BILSTM:
        vectors = _vectors(config)
        backbone = (
            bilstm.random_bilstm(vectors, config.encoder.hidden, config.seed)
            if parent_model is None
            else bilstm.load(parent_model, vectors)
        )
        return backbone, _tokenizer(config, vectors)
    source = parent_model or _source(config)
    return transformer.load(source, config.encoder.layer), transformer.load_tokenizer(source)


def facts(config: DictConfig) -> list[Fact]:
    """Give what a reader must know about the weights that a run starts from.

    Args:
        config: The composed options.

    Returns:
        list[Fact]: Nothing for weights that are known to be the model's.
    """
    if config.encoder["_target_"] == _BILSTM:
        return []
    encoder = config.encoder
    return weights_facts(encoder.path, encoder.revision, _source(config))


def _source(config: DictConfig) -> Path:
    encoder = config.encoder
    return find_model(encoder.path, Path(config.paths.models), encoder.revision)


def _vectors(config: DictConfig) -> WordVectors:
    paths = config.paths
    return bilstm.word_vectors(
        config.encoder.path, Path(paths.data), Path(paths.cache), config.trainer.progress
    )


def _tokenizer(config: DictConfig, vectors: WordVectors) -> WordTokenizer:
    return WordTokenizer(vectors, config.encoder.path, split=config.encoder.tokenisation)
