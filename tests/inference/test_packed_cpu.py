"""The packed engine gives the reference's vectors, whatever the network, the layer, the pooling."""

import json
import logging
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from sbert_repro.backbone.transformer import LAYERS
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import evaluate
from sbert_repro.inference import packed_cpu
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling

POOLINGS = [MeanPooling(), MaxPooling(), ClsPooling()]
SENTENCES = ["a man plays guitar", "no", "the dog sleeps", "", "Ünïcode 漢字 \x00 🙂", "dog " * 80]
WORDS = st.sampled_from("a man plays the guitar no dog sleeps in park zebra ! 12".split())
TEXTS = st.lists(st.lists(WORDS, max_size=30).map(" ".join), min_size=1, max_size=12)


def pair(folder, pooling, **options):
    """The same encoder with either engine."""
    both = [
        TransformerEncoder(str(folder), pooling, engine=engine, **options)
        for engine in ("packed", "reference")
    ]
    assert [one.engine for one in both] == ["packed", "reference"]
    return both


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: pooling.name)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta"])
def test_vectors_are_the_references(request, family, layer, pooling):
    packed, reference = pair(request.getfixturevalue(family), pooling, layer=layer)
    np.testing.assert_allclose(
        packed.encode(SENTENCES), reference.encode(SENTENCES), atol=1e-5, rtol=0
    )


@settings(deadline=None, max_examples=30)
@given(TEXTS, st.integers(1, 200), st.sampled_from(POOLINGS))
def test_any_lengths_at_any_budget(tiny_bert, texts, budget, pooling):
    packed, reference = pair(tiny_bert, pooling)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_cpu, "BUDGET", budget)
        found = packed.encode(texts)
    np.testing.assert_allclose(found, reference.encode(texts), atol=1e-5, rtol=0)


def test_halves_of_characters_and_a_million_equal_sentences(tiny_bert):
    encoder = TransformerEncoder(str(tiny_bert), MeanPooling())
    vectors = encoder.encode(["no \ud83d dog", "no \ufffd dog", "\ud83d\ude42", "🙂"])
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[::2], vectors[1::2], atol=1e-6)
    many = encoder.encode(["a dog"] * 1_000_000)
    assert many.shape == (1_000_000, 32) and (many == many[0]).all()


@pytest.mark.parametrize("engine", ["packed", "reference"])
def test_a_weight_that_is_no_number_is_named(tiny_bert, tmp_path, engine):
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    weights = load_file(folder / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    weights[name][3, 4] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"the weight {name} holds NaN"):
        TransformerEncoder(str(folder), MeanPooling(), engine=engine).encode(["a dog"])


def test_what_cannot_be_packed_is_computed_by_the_reference_and_said_once(
    tiny_bert, tmp_path, caplog
):
    folder = tmp_path / "relu"
    shutil.copytree(tiny_bert, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    encoder = TransformerEncoder(str(folder), MeanPooling())
    with caplog.at_level(logging.INFO):
        first = encoder.encode(SENTENCES)
        encoder.encode(SENTENCES)
    assert [m for m in caplog.messages if "reference engine" in m] == [
        "relu: the reference engine computes, not the packed one: its activation is relu, not gelu"
    ]
    wanted = TransformerEncoder(str(folder), MeanPooling(), engine="reference").encode(SENTENCES)
    np.testing.assert_array_equal(first, wanted)
    with pytest.raises(UserError, match=r"engine=packed: .*relu, not gelu; use engine=auto"):
        TransformerEncoder(str(folder), MeanPooling(), engine="packed").encode(["a dog"])


def test_an_engine_that_does_not_exist_is_refused(tiny_bert):
    with pytest.raises(UserError, match=r"engine=fast: .* auto, packed, reference"):
        TransformerEncoder(str(tiny_bert), engine="fast")


def test_the_engine_is_part_of_what_a_bf16_vector_is_and_of_no_fp32_vector(tiny_bert):
    same, other = pair(tiny_bert, MeanPooling())
    assert same.identity == other.identity
    auto = TransformerEncoder(str(tiny_bert), MeanPooling())
    assert auto.engine == "packed" and auto.identity == same.identity
    packed, reference = pair(tiny_bert, MeanPooling(), precision="bf16")
    assert packed.identity != reference.identity


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: pooling.name)
@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta"])
def test_bf16_stays_close(request, family, pooling):
    folder = request.getfixturevalue(family)
    half = TransformerEncoder(str(folder), pooling, precision="bf16", engine="packed")
    exact = TransformerEncoder(str(folder), pooling, engine="reference")
    u, v = half.encode(SENTENCES), exact.encode(SENTENCES)
    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    assert cosine.min() >= 0.9995


def test_minilm_in_both_precisions(minilm, data_root):
    table = pd.read_parquet(data_root / "stsb" / "test.parquet")
    texts = [*table.sentence1[:150], *table.sentence2[:150]]
    packed, reference = pair(minilm, None)
    exact = reference.encode(texts)
    np.testing.assert_allclose(packed.encode(texts), exact, atol=1e-5, rtol=0)
    half = TransformerEncoder(str(minilm), precision="bf16", engine="packed").encode(texts)
    assert (half * exact).sum(1).min() >= 0.9995


@pytest.mark.slow
def test_minilms_stsb_in_bf16_is_its_stsb(minilm, data_root):
    scores = [
        evaluate(TransformerEncoder(str(minilm), precision=p), "stsb", data_root)["stsb"][
            "spearman"
        ]
        for p in ("fp32", "bf16")
    ]
    assert abs(scores[0] - scores[1]) <= 0.05
