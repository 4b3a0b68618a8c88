"""Vectors of a transformer folder, what the folder says, and the same vectors elsewhere."""

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
from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.compose import build, compose
from sbert_repro.encoders.base import PairScorer, SentenceEncoder
from sbert_repro.encoders.transformer import Described, TransformerEncoder, describe
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences
from sbert_repro.inference import engine
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling
from sbert_repro.training.save import save_model

SENTENCES = ["a man plays guitar", "no", "the dog sleeps in the park", "", "Ünïcode 漢字 \x00"]
WORDS = st.sampled_from("a man plays the guitar no dog sleeps in park zebra ! 12".split())
TEXTS = st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=1, max_size=8)

OLD = "sentence_transformers.models"
NEW = "sentence_transformers.sentence_transformer.modules"


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def modules(prefix, *names, at=""):
    paths = {"Transformer": at, "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    return [{"type": f"{prefix}.{name}", "path": paths.get(name, name)} for name in names]


@pytest.fixture(scope="module")
def encoder(tiny_bert):
    return TransformerEncoder(str(tiny_bert), MeanPooling())


def test_it_is_a_sentence_encoder_and_no_pair_scorer(encoder):
    assert isinstance(encoder, SentenceEncoder) and not isinstance(encoder, PairScorer)
    assert encoder.label == "tiny-bert" and encoder.facts == []


def test_vectors_are_float32_rows_and_equal_texts_have_equal_vectors(encoder):
    vectors = encoder.encode([*SENTENCES, SENTENCES[0]])
    assert vectors.shape == (6, 32) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[0], vectors[-1])
    assert np.isfinite(vectors).all() and not np.allclose(vectors[0], vectors[1])
    assert encoder.encode([]).shape == (0, 32)


@settings(deadline=None, max_examples=15)
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
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    write(folder, {"modules.json": modules(OLD, "Transformer", "Pooling")})
    write(folder, {"1_Pooling/config.json": {"pooling_mode": "max"}})
    assert TransformerEncoder(str(folder)).pooling.name == "max"
    assert TransformerEncoder(str(folder), MeanPooling()).pooling.name == "mean"
    assert TransformerEncoder(str(tiny_bert)).pooling.name == "mean"


def test_a_model_trained_on_another_layer_is_refused(tiny_bert, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    (folder / "modules.json").write_text("[]")
    (folder / "sbert_repro.json").write_text(json.dumps({"layer": "first_last"}))
    with pytest.raises(UserError, match=r"use encoder\.layer=first_last"):
        TransformerEncoder(str(folder))
    assert TransformerEncoder(str(folder), layer="first_last").layer == "first_last"


def test_another_pooling_than_that_of_the_training_is_said(tiny_bert, tmp_path, caplog):
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    (folder / "modules.json").write_text(
        '[{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]'
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with caplog.at_level(logging.INFO):
        assert TransformerEncoder(str(folder), MeanPooling()).facts == [], "of others: in the log"
    assert "names pooling=max; mean is used" in caplog.text
    (folder / "sbert_repro.json").write_text("{}")
    assert TransformerEncoder(str(folder)).facts == []
    (folder / "sbert_repro.json").write_text('{"layer": "last"}')
    said = sentences(TransformerEncoder(str(folder), MeanPooling()).facts)
    assert said == ["model: trained with pooling=max, used here with pooling=mean"]
    assert TransformerEncoder(str(folder), MaxPooling()).facts == []


def test_a_folder_that_is_no_model_is_refused_before_any_sentence(tmp_path):
    with pytest.raises(UserError, match="not a model folder"):
        TransformerEncoder(str(tmp_path))


def test_a_plain_folder_says_nothing(tmp_path):
    files = {"config.json": {}, "tokenizer_config.json": {"model_max_length": 512}}
    assert describe(write(tmp_path, files)) == Described()


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_cls_token": True, "word_embedding_dimension": 8}, "cls"),
        ({"pooling_mode": "max", "embedding_dimension": 8, "include_prompt": True}, "max"),
        ({"pooling_mode": ["cls", "mean"]}, "cls+mean"),
        ({}, "mean"),
    ],
)
def test_pooling_in_old_and_new_spelling(tmp_path, config, pooling):
    files = {
        "modules.json": modules(OLD, "Transformer", "Pooling"),
        "1_Pooling/config.json": config,
    }
    assert describe(write(tmp_path, files)).pooling == pooling


@pytest.mark.parametrize(
    ("files", "length"),
    [
        ({"sentence_bert_config.json": {"max_seq_length": 256}}, 254),
        ({"sentence_bert_config.json": {}, "tokenizer_config.json": {"model_max_length": 66}}, 64),
        ({"tokenizer_config.json": {"model_max_length": 10**30}}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("at", ["", "0_Transformer"])
def test_the_length_is_given_without_special_tokens(tmp_path, files, length, at):
    placed = {f"{at}/{name}" if at else name: content for name, content in files.items()}
    written = write(tmp_path, {"modules.json": modules(NEW, "Transformer", at=at), **placed})
    assert describe(written).max_length == length


def test_normalize_is_seen_and_an_unknown_module_refused(tmp_path):
    write(tmp_path, {"modules.json": modules(NEW, "Transformer", "Normalize")})
    assert describe(tmp_path).normalize
    write(tmp_path, {"modules.json": modules(OLD, "Transformer", "Dense")})
    with pytest.raises(UserError, match=r"module Dense is not known.*every vector"):
        describe(tmp_path)


def test_what_is_done_to_a_text_before_it_is_split_is_refused_not_left_out(tmp_path):
    write(tmp_path, {"modules.json": modules(NEW, "Transformer", "Normalize")})
    write(tmp_path, {"sentence_bert_config.json": {"do_lower_case": True}})
    with pytest.raises(UserError, match=r"sentence_bert_config\.json: do_lower_case is not"):
        describe(tmp_path)
    write(tmp_path, {"tokenizer_config.json": {"do_lower_case": True}})
    assert describe(tmp_path).normalize
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": None}
    write(tmp_path, {"config_sentence_transformers.json": prompts})
    assert describe(tmp_path).normalize
    prompts["default_prompt_name"] = "query"
    write(tmp_path, {"config_sentence_transformers.json": prompts})
    with pytest.raises(UserError, match="the prompt 'query' stands before each text"):
        describe(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    write(tmp_path, {"modules.json": "[{"})
    with pytest.raises(UserError, match=r"modules\.json: damaged"):
        describe(tmp_path)
    write(tmp_path, {"modules.json": modules(OLD, "Transformer", "Pooling")})
    with pytest.raises(UserError, match=r"1_Pooling/config\.json: there is no such"):
        describe(tmp_path)


LONG = ["a man plays guitar", "no", "the dog sleeps in the park", "", "dog " * 100]


def theirs(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.mark.parametrize(
    ("family", "pooling"),
    [
        ("tiny_bert", MeanPooling()),
        ("tiny_bert", MaxPooling()),
        ("tiny_bert", ClsPooling()),
        ("tiny_roberta", MeanPooling()),
    ],
)
def test_a_saved_model_gives_the_same_vectors_there(request, family, pooling, tmp_path):
    base = request.getfixturevalue(family)
    backbone = load(base)
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.mul_(1.1)  # so that not the base model is compared with itself
    settings = {"max_length": 20, "layer": "last"}
    folder = tmp_path / "model"
    save_model(folder, backbone, load_tokenizer(base), pooling, RegressionLoss(), settings)
    encoder = TransformerEncoder(str(folder))
    ours = encoder.encode(LONG)
    assert encoder.pooling.name == pooling.name and encoder.max_length == 20
    np.testing.assert_allclose(theirs(folder).encode(LONG), ours, atol=1e-5)
    untrained = TransformerEncoder(str(base), pooling, max_length=20).encode(LONG)
    assert np.abs(ours - untrained).max() > 1e-3


def test_the_real_model_gives_their_vectors(minilm):
    texts = [*LONG, "Ünïcode, 漢字 and 한국어!", "word " * 20_000]
    encoder = TransformerEncoder(str(minilm))
    np.testing.assert_allclose(encoder.encode(texts), theirs(minilm).encode(texts), atol=1e-5)


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
