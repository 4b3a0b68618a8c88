"""The demo's model in USE's format: written once, and it knows the demo's words."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from sbert_repro.compose import build, compose
from sbert_repro.data.demo_language import word_vectors
from sbert_repro.encoders import demo_use
from sbert_repro.errors import UserError


def encoder(tmp_path):
    config = compose(["encoder=demo_use", f"paths.models={tmp_path}"], "evaluate")
    return build(config.encoder, pooling=None, models_root=config.paths.models, progress=False)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="TensorFlow is not installed: make setup EXTRAS=use",
)
def test_it_is_written_once_and_averages_the_vectors_of_words(tmp_path, monkeypatch):
    one, vectors = encoder(tmp_path), word_vectors(demo_use.WIDTH, demo_use.SEED)
    first, second = list(vectors)[:2]
    found = one.encode([first, f"{first.title()} {second}.", "nosuchword", ""])
    both = (vectors[first] + vectors[second]) / 2
    expected = [vectors[first], both, 0 * both, 0 * both]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    monkeypatch.setattr(demo_use, "_fill", None)
    assert encoder(tmp_path).identity == one.identity


def test_without_tensorflow_it_says_what_to_install_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"not installed: make setup EXTRAS=use$") as refused:
        encoder(tmp_path)
    assert refused.value.code == "missing" and not list(tmp_path.iterdir())
