"""Models of others: their folder has the only word on how they pool."""

import json
import shutil

import numpy as np
import pytest

from sbert_repro.compose import build, compose
from sbert_repro.encoders.released import released
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.pooling.mean import MeanPooling

SENTENCES = ["a man plays guitar", "no", "the dog sleeps in the park", "", "dog " * 100]


def written(base, folder, mode):
    from sentence_transformers import SentenceTransformer, models

    transformer = models.Transformer(str(base), max_seq_length=16)
    parts = [transformer, models.Pooling(32, pooling_mode=mode), models.Normalize()]
    model = SentenceTransformer(modules=parts, device="cpu")
    model.save(str(folder))
    return model


@pytest.mark.parametrize(
    ("base", "mode"),
    [("tiny_bert", "mean"), ("tiny_bert", "max"), ("tiny_bert", "cls"), ("tiny_roberta", "mean")],
)
def test_the_option_gives_the_vectors_of_sentence_transformers(base, mode, request, tmp_path):
    theirs = written(request.getfixturevalue(base), tmp_path / "theirs", mode)
    words = ["encoder=released", "encoder.path=theirs", f"paths.models={tmp_path}"]
    config = compose(words, "evaluate")
    options = {"models_root": config.paths.models, "pooling": None, "precision": "fp32"}
    encoder = build(config.encoder, **options)
    assert (encoder.label, encoder.pooling.name, encoder.max_length) == ("theirs", mode, 14)
    np.testing.assert_allclose(encoder.encode(SENTENCES), theirs.encode(SENTENCES), atol=1e-5)


def test_it_is_the_same_model_as_by_encoder_transformer(minilm):
    assert released(str(minilm)).identity == TransformerEncoder(str(minilm)).identity


def test_a_folder_that_does_not_say_its_pooling_is_refused(tiny_bert, tmp_path):
    with pytest.raises(UserError, match=r"has no modules\.json.*: use encoder=transformer"):
        released(str(tiny_bert))
    folder = shutil.copytree(tiny_bert, tmp_path / "no-pooling")
    only = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    (folder / "modules.json").write_text(json.dumps(only))
    with pytest.raises(UserError, match=r"names no Pooling module.*use encoder=transformer"):
        released(str(folder))


def test_another_pooling_is_refused_and_not_ignored(tiny_bert, tmp_path):
    written(tiny_bert, tmp_path / "model", "max")
    with pytest.raises(UserError, match="pooling=mean: encoder=released takes the pooling that"):
        released(str(tmp_path / "model"), MeanPooling())
