"""Models to time: the real ones where they are, otherwise random weights of the same shape.

How long a network takes does not depend on the values of its weights, so random ones are a fair
stand-in for its speed; their vectors mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from sbert_repro.backbone.find_model import at_hand, find_model, model_sha256
from sbert_repro.backbone.random_bert import Size, write_random_bert
from sbert_repro.encoders.base import pooling_named, trained_with
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.storage import make_folder, sha256_of

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    from sbert_repro.encoders.cross_encoder import CrossEncoder

VERSION = 1
"""Raised when the same sizes would give other random weights."""
BASE = "google-bert/bert-base-uncased"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
DEMO = "demo-bert"
SIZES = {
    BASE: Size(12, 768, 12, 3072, positions=512, spread=0.02),
    MINILM: Size(6, 384, 12, 1536, positions=512, spread=0.02),
}
"""Published shapes of the models that random weights may replace."""
_MAX_LENGTH = 128


def model_to_time(
    name: str, config: DictConfig, texts: Sequence[str], *, download: bool = False
) -> tuple[Path, list[Fact]]:
    """Find a model, or write random weights of its shape; the demo has one model for all.

    Args:
        name: A key of `SIZES`.
        config: Composed options; ``profile`` and ``paths`` are read.
        texts: What is timed; a stand-in knows their words where no vocabulary is at hand.
        download: Look on the Hub too.

    Returns:
        The folder, and the facts about a stand-in.
    """
    models, cache = Path(config.paths.models), Path(config.paths.cache)
    if config.profile.name == "demo":
        return models / DEMO, [fact("demo_model")]
    if found := at_hand(name, models, None, cache):
        return found, []
    if download:
        try:
            return find_model(name, models, None, cache), []
        except UserError:
            pass  # without a network its speed can still be measured
    size, folder = SIZES[name], cache / "shapes" / Path(name).name
    vocabulary = _vocabulary(models, cache, texts)
    stamp = {"generator": "random_bert", "version": VERSION, "model": name, "size": asdict(size)}

    def fill(empty: Path) -> list[dict[str, Any]]:
        write_random_bert(empty, vocabulary, size)
        return [{"file": f.name, "sha256": sha256_of(f)} for f in sorted(empty.iterdir())]

    make_folder(folder, {**stamp, "pieces": len(vocabulary)}, fill)
    shape = {"model": folder.name, "layers": size.layers, "width": size.width}
    return folder, [fact("random_weights", **shape)]


def _vocabulary(models: Path, cache: Path, texts: Sequence[str]) -> list[str]:
    """Return BERT's word pieces where MiniLM is, which has the same; else the texts' words."""
    folder = at_hand(MINILM, models, None, cache)
    try:
        file = (folder or models) / "vocab.txt"
        return file.read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return sorted({word for text in texts for word in text.lower().split()})


def untrained_cross_encoder(source: Path, cache: Path) -> CrossEncoder:
    """Put an untrained head on a network; it is as fast as a trained cross-encoder.

    Args:
        source: Folder of the network.
        cache: Where the cross-encoder's folder is kept.

    Returns:
        The cross-encoder of Tables 2 and 3, except that its head is random.
    """
    import torch

    from sbert_repro.backbone.transformer import load, load_tokenizer
    from sbert_repro.encoders.cross_encoder import CrossEncoder
    from sbert_repro.losses.cross_regression import CrossRegressionLoss
    from sbert_repro.training.save import save_model

    folder = cache / "shapes" / f"cross-encoder-{model_sha256(source)[:16]}"
    if not trained_with(folder):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            backbone = load(source, "last")
            loss = CrossRegressionLoss(backbone.width)
        pooling = pooling_named("cls")
        settings = {
            "loss": {"name": loss.name, "version": loss.VERSION, "error": loss.error},
            "pooling": {"name": pooling.name, "version": pooling.VERSION},
            "layer": "last",
            "max_length": _MAX_LENGTH,
            "untrained": True,
        }
        save_model(folder, backbone, load_tokenizer(source), pooling, loss, settings)
    return CrossEncoder(str(folder))
