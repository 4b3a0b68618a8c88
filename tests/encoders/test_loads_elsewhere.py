"""A model saved here gives the same vectors in sentence-transformers, and the other way round."""

import numpy as np
import pytest
import torch

from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling
from sbert_repro.training.save import save_model

SENTENCES = ["a man plays guitar", "no", "the dog sleeps in the park", "", "dog " * 100]


@pytest.fixture(params=["tiny_bert", "tiny_roberta"])
def base(request):
    return request.getfixturevalue(request.param)


def theirs(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.mark.parametrize(
    "pooling", [MeanPooling(), MaxPooling(), ClsPooling()], ids=lambda p: p.name
)
def test_a_saved_model_gives_the_same_vectors_there(base, pooling, tmp_path):
    backbone = load(base)
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.mul_(1.1)  # so that not the base model is compared with itself
    settings = {"max_length": 20, "layer": "last"}
    folder = tmp_path / "model"
    save_model(folder, backbone, load_tokenizer(base), pooling, RegressionLoss(), settings)
    encoder = TransformerEncoder(str(folder))
    ours = encoder.encode(SENTENCES)
    assert encoder.pooling.name == pooling.name and encoder.max_length == 20
    np.testing.assert_allclose(theirs(folder).encode(SENTENCES), ours, atol=1e-5)
    untrained = TransformerEncoder(str(base), pooling, max_length=20).encode(SENTENCES)
    assert np.abs(ours - untrained).max() > 1e-3


@pytest.mark.parametrize("mode", ["mean", "max", "cls"])
def test_a_folder_that_they_write_gives_the_same_vectors_here(base, mode, tmp_path):
    from sentence_transformers import SentenceTransformer, models

    transformer = models.Transformer(str(base), max_seq_length=16)
    parts = [transformer, models.Pooling(32, pooling_mode=mode), models.Normalize()]
    written = SentenceTransformer(modules=parts, device="cpu")
    written.save(str(tmp_path / "model"))
    encoder = TransformerEncoder(str(tmp_path / "model"))
    assert (encoder.max_length, encoder.normalize) == (14, True)
    np.testing.assert_allclose(encoder.encode(SENTENCES), written.encode(SENTENCES), atol=1e-5)


def test_the_real_model_gives_their_vectors(minilm):
    texts = [*SENTENCES, "Ünïcode, 漢字 and 한국어!", "word " * 20_000]
    encoder = TransformerEncoder(str(minilm))
    np.testing.assert_allclose(encoder.encode(texts), theirs(minilm).encode(texts), atol=1e-5)
