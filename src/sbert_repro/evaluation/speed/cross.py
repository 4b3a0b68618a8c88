"""A cross-encoder to be timed: a network with an untrained head, read by the real pair scorer."""

from __future__ import annotations

from pathlib import Path

import torch

from sbert_repro.backbone.find_model import model_sha256
from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.encoders.base import pooling_named, trained_with
from sbert_repro.encoders.cross_encoder import CrossEncoder
from sbert_repro.losses.cross_regression import CrossRegressionLoss
from sbert_repro.training.save import save_model

MAX_LENGTH = 128


def untrained_cross_encoder(source: Path, cache: Path) -> CrossEncoder:
    """Give a cross-encoder over a network, whose speed is that of a trained one.

    Args:
        source: Folder of the network.
        cache: Where its folder is kept.

    Returns:
        CrossEncoder: As Tables 2 and 3 have it, but for the head's random weights.
    """
    folder = cache / "shapes" / f"cross-encoder-{model_sha256(source)[:16]}"
    if not trained_with(folder):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            backbone = load(source, "last")
            loss = CrossRegressionLoss(backbone.width)
        pooling = pooling_named("cls")
        settings = {
            "loss": {"_target_": _target(loss), "error": loss.error},
            "pooling": {"_target_": _target(pooling)},
            "layer": "last",
            "max_length": MAX_LENGTH,
            "untrained": True,
        }
        save_model(folder, backbone, load_tokenizer(source), pooling, loss, settings)
    return CrossEncoder(str(folder))


def _target(component: object) -> str:
    return f"{type(component).__module__}.{type(component).__name__}"
