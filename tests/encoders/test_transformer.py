"""Vectors of a transformer folder: independent of batch mates, of places, of length."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from sbert_repro.backbone.random_bert import Size, write_random_bert
from sbert_repro.composition import build, compose
from sbert_repro.encoders.base import PairScorer, SentenceEncoder
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.inference import engine
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling

SENTENCES = ["a man plays guitar", "no", "the dog sleeps in the park", "", "Ünïcode 漢字 \x00"]
WORDS = st.sampled_from("a man plays the guitar no dog sleeps in park zebra ! 12".split())
TEXTS = st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return TransformerEncoder(str(tiny_bert), MeanPooling())


def test_it_is_a_sentence_encoder_and_no_pair_scorer(encoder):
    assert isinstance(encoder, SentenceEncoder) and not isinstance(encoder, PairScorer)
    assert encoder.label == "tiny-bert" and encoder.notes == []


def test_vectors_are_float32_rows_and_equal_texts_have_equal_vectors(encoder):
    vectors = encoder.encode([*SENTENCES, SENTENCES[0]])
    assert vectors.shape == (6, 32) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], vectors[-1])
    assert np.isfinite(vectors).all() and not np.allclose(vectors[0], vectors[1])
    assert encoder.encode([]).shape == (0, 32)


@settings(deadline=None, max_examples=30)
@given(TEXTS, st.sampled_from([MeanPooling(), MaxPooling(), ClsPooling()]), st.integers(1, 64))
def test_batch_mates_and_padding_never_change_a_vector(tiny_bert, texts, pooling, budget):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(engine.BUDGET, "packed", 512)
        encoder = TransformerEncoder(str(tiny_bert), pooling)
        alone = np.concatenate([encoder.encode([text]) for text in texts])
        patch.setitem(engine.BUDGET, "packed", budget)
        together = encoder.encode(texts)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_empty_and_endless_sentences_are_embedded_and_counted(tiny_bert, caplog):
    encoder = TransformerEncoder(str(tiny_bert), MeanPooling(), max_length=10)
    with caplog.at_level(logging.INFO, "sbert_repro.data.tokens"):
        vectors = encoder.encode(["", "dog " * 25_000, "dog " * 10, "dog " * 11])
    assert caplog.messages == ["2 of 4 sentences were cut to 10 word pieces"]
    assert np.isfinite(vectors).all()
    # What is cut is the same as if it had never been written.
    np.testing.assert_allclose(vectors[1], vectors[2], atol=1e-6)


def test_no_sentence_is_longer_than_the_model_has_positions_for(tiny_bert, tiny_roberta):
    for folder in (tiny_bert, tiny_roberta):
        encoder = TransformerEncoder(str(folder), MeanPooling(), max_length=5000)
        pieces = encoder.pieces(["dog " * 500])
        assert len(pieces[0]) == 64
        assert np.isfinite(encoder.encode(["dog " * 500])).all()


def test_identity_is_content_not_place(tiny_bert, tmp_path):
    elsewhere = tmp_path / "copy"
    shutil.copytree(tiny_bert, elsewhere)
    here = TransformerEncoder(str(tiny_bert), MeanPooling())
    there = TransformerEncoder("copy", MeanPooling(), label="x", models_root=tmp_path)
    assert here.identity == there.identity and there.label == "x"
    json.dumps(here.identity)
    weights = elsewhere / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    changed = TransformerEncoder(str(elsewhere), MeanPooling())
    assert changed.identity != here.identity


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": MaxPooling()},
        {"layer": "second_to_last"},
        {"max_length": 7},
        {"precision": "bf16"},
    ],
)
def test_identity_knows_every_setting_that_changes_a_vector(tiny_bert, encoder, options):
    other = TransformerEncoder(str(tiny_bert), **{"pooling": MeanPooling(), **options})
    assert other.identity != encoder.identity


def test_bf16_stays_close(tiny_bert, encoder):
    u = encoder.encode(SENTENCES)
    v = TransformerEncoder(str(tiny_bert), MeanPooling(), precision="bf16").encode(SENTENCES)
    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    assert v.dtype == np.float32 and not np.array_equal(u, v)
    assert cosine.min() > 0.999


def test_the_pooling_is_the_folders_own_unless_another_is_asked_for(tiny_bert, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    types = [("Transformer", ""), ("Pooling", "1_Pooling")]
    described = [{"type": f"sentence_transformers.models.{t}", "path": p} for t, p in types]
    (folder / "modules.json").write_text(json.dumps(described))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "max"}))
    assert TransformerEncoder(str(folder)).pooling.name == "max"
    assert TransformerEncoder(str(folder), MeanPooling()).pooling.name == "mean"
    assert TransformerEncoder(str(tiny_bert)).pooling.name == "mean"


def test_a_model_trained_on_another_layer_is_refused(tiny_bert, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    (folder / "modules.json").write_text("[]")
    (folder / "sbert_repro.json").write_text(json.dumps({"layer": "first_last"}))
    with pytest.raises(UserError, match=r"give encoder\.layer=first_last"):
        TransformerEncoder(str(folder))
    assert TransformerEncoder(str(folder), layer="first_last").layer == "first_last"


def test_a_folder_that_is_no_model_is_refused_before_any_sentence(tmp_path):
    with pytest.raises(UserError, match="not a model folder"):
        TransformerEncoder(str(tmp_path))


@pytest.mark.parametrize(("words", "layer"), [([], 4), (["encoder=bert_base_as_service"], 3)])
def test_mean_is_over_all_tokens_and_as_service_takes_its_own_layer_of_25(tmp_path, words, layer):
    texts = ["the man plays", "no", "a dog sleeps in the park", "dog " * 39]
    write_random_bert(tmp_path, " ".join(texts).split(), Size(layers=4))
    words = [*(words or ["encoder=transformer"]), f"encoder.path={tmp_path}", "pooling=mean"]
    config = compose(words, "evaluate")
    encoder = build(config.encoder, pooling=build(config.pooling))
    if layer == 3:  # the service cuts to 23 word pieces, then adds [CLS] and [SEP]
        texts[3] = "dog " * 23
    encoded = AutoTokenizer.from_pretrained(tmp_path)(texts, padding=True, return_tensors="pt")
    assert encoded["attention_mask"].sum(1).tolist()[3] == (25 if layer == 3 else 41)
    model = AutoModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    with torch.no_grad():
        states = model(**encoded, output_hidden_states=True).hidden_states[layer]
    mask = encoded["attention_mask"][:, :, None]
    expected = ((states * mask).sum(1) / mask.sum(1)).numpy()
    texts[3] = "dog " * 39
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)
