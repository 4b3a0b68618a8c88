"""Models to be timed: the real ones where they are, else random weights of the same shape.

How long a network takes does not depend on what its weights are, so random ones are a fair stand-in
for its speed; of its vectors they say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sbert_repro.backbone.find_model import find_model
from sbert_repro.backbone.random_bert import Size, write_random_bert
from sbert_repro.errors import UserError
from sbert_repro.storage import make_folder, sha256_of

VERSION = 1
"""Raised by hand when the same sizes would give other models."""
BASE = "google-bert/bert-base-uncased"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SIZES = {
    BASE: Size(12, 768, 12, 3072, positions=512, spread=0.02),
    MINILM: Size(6, 384, 12, 1536, positions=512, spread=0.02),
}
"""Models with a stand-in: their published shapes."""
_SAME_WORD_PIECES = "all-MiniLM-L6-v2"
"""A model whose tokenizer is that of bert-base-uncased."""


def timed_model(
    name: str, models_root: Path, cache: Path, texts: Sequence[str], *, download: bool
) -> tuple[Path, list[str]]:
    """Find a model, or make one of its shape.

    Args:
        name: A key of `SIZES`.
        models_root: Folder of models.
        cache: Where a stand-in is kept.
        texts: What is timed; a stand-in knows their words where no vocabulary is at hand.
        download: Look on the Hub too.

    Returns:
        tuple[Path, list[str]]: The folder, and what a reader must know about it.
    """
    for place in (Path(name), models_root / name, models_root / Path(name).name):
        if place.is_dir():
            return place, []
    if download:
        try:
            return find_model(name, models_root), []
        except UserError:
            pass  # on a machine without a network its speed can still be measured
    size, folder = SIZES[name], cache / "shapes" / Path(name).name
    vocabulary = _vocabulary(models_root, texts)
    stamp = {"generator": __name__, "version": VERSION, "model": name, "size": asdict(size)}

    def fill(fresh: Path) -> list[dict[str, Any]]:
        write_random_bert(fresh, vocabulary, size)
        files = sorted(fresh.iterdir())
        return [{"file": path.name, "sha256": sha256_of(path)} for path in files]

    make_folder(folder, {**stamp, "pieces": len(vocabulary)}, fill)
    shape = f"{size.layers} layers, {size.width} wide"
    return folder, [
        f"random weights in the shape of {Path(name).name} ({shape}), whose speed is that of the "
        "trained ones"
    ]


def _vocabulary(models_root: Path, texts: Sequence[str]) -> list[str]:
    """Give BERT's word pieces where a model at hand has them, else the words of the texts."""
    try:
        file = models_root / _SAME_WORD_PIECES / "vocab.txt"
        return file.read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return sorted({word for text in texts for word in text.lower().split()})
