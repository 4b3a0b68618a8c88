"""A cross-encoder from training to scores: the same head, the same scores, whatever the batch."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.encoders.base import FittedEncoder, PairScorer, SentenceEncoder
from sbert_repro.encoders.cross_encoder import CrossEncoder
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.inference import engine
from sbert_repro.losses.cross_classification import CrossClassificationLoss
from sbert_repro.losses.cross_regression import CrossRegressionLoss
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.mean import MeanPooling
from sbert_repro.training.save import save_model

PAIRS = [
    ("a man plays the guitar", "the man plays"),
    ("no", ""),
    ("", "the dog runs in the park " * 30),
    ("the man plays", "a man plays the guitar"),
    ("a man plays the guitar", "the man plays"),
]


def write(folder, source, loss=None, pooling=None):
    """What `fit` writes, untrained; the head is as random as the network."""
    backbone, tokenizer = load(source), load_tokenizer(source)
    torch.manual_seed(3)
    loss = loss or CrossRegressionLoss(backbone.width)
    pooling = pooling or ClsPooling()
    name = "cross_regression" if hasattr(loss, "error") else "cross_classification"
    trained = {
        "loss": {"name": name, "error": getattr(loss, "error", None)},
        "pooling": {"name": pooling.name},
        "max_length": 20,
        "layer": "last",
    }
    save_model(folder, backbone, tokenizer, pooling, loss, trained)
    return backbone, tokenizer, loss.eval()


@pytest.fixture(scope="module", params=["tiny_bert", "tiny_roberta"])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "model"
    return folder, *write(folder, request.getfixturevalue(request.param))


@pytest.mark.parametrize(
    ("family", "pooling"), [("tiny_bert", ClsPooling()), ("tiny_roberta", MeanPooling())]
)
def test_both_engines_give_the_same_scores(request, tmp_path, family, pooling):
    write(tmp_path / "model", request.getfixturevalue(family), pooling=pooling)
    packed, plain = (
        CrossEncoder(str(tmp_path / "model"), engine=engine) for engine in ("packed", "reference")
    )
    assert (packed.engine, plain.engine) == ("packed", "reference")
    np.testing.assert_allclose(packed.score(PAIRS), plain.score(PAIRS), atol=1e-5, rtol=0)
    assert packed.identity == plain.identity


def test_scores_are_those_of_the_padded_network_before_it_was_saved(saved):
    folder, backbone, tokenizer, loss = saved
    inputs = tokenizer(
        # 20 word pieces a sentence at most, 64 positions for the pair
        [" ".join(a.split()[:20]) for a, _ in PAIRS],
        [" ".join(b.split()[:20]) for _, b in PAIRS],
        padding=True,
        return_tensors="pt",
    )
    assert inputs["input_ids"].shape[1] < 64
    with torch.inference_mode():
        states = backbone.model(**inputs).last_hidden_state[:, 0]
        wanted = torch.sigmoid(loss.head(states)).squeeze(1)
    scores = CrossEncoder(str(folder)).score(PAIRS)
    assert scores.dtype == np.float32
    if "roberta" not in backbone.model.config.model_type:
        np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-6)
    else:  # byte pairs of the long text are not its words, so it is cut elsewhere
        np.testing.assert_allclose(scores[[0, 1, 3]], wanted[[0, 1, 3]], rtol=1e-5, atol=1e-6)


def test_equal_pairs_score_equal_and_the_order_of_the_sentences_counts(saved):
    scores = CrossEncoder(str(saved[0])).score(PAIRS)
    assert scores[0] == scores[4] and scores[0] != scores[3]
    assert ((scores > 0) & (scores < 1)).all()
    assert CrossEncoder(str(saved[0])).score([]).shape == (0,)


WORDS = st.lists(st.sampled_from("a man dog plays runs red in the park no".split()), max_size=25)
TEXT = WORDS.map(" ".join)


@settings(deadline=None, max_examples=12)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=12), st.integers(1, 200))
def test_batch_mates_and_padding_never_change_a_score(saved, pairs, budget):
    model = CrossEncoder(str(saved[0]))
    model.backbone, model.tokenizer = saved[1].eval(), saved[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(engine.BUDGET, "packed", budget)
        together = model.score(pairs)
    alone = np.concatenate([model.score([pair]) for pair in pairs])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_what_it_is(saved):
    model = CrossEncoder(str(saved[0]), label="BERT-STSb")
    assert isinstance(model, PairScorer) and model.label == "BERT-STSb" and model.facts == []
    assert not isinstance(model, SentenceEncoder | FittedEncoder)
    assert model.max_length == 20 and CrossEncoder(str(saved[0]), max_length=4).max_length == 4


def test_the_head_the_pooling_and_the_error_are_part_of_its_identity(tmp_path, tiny_bert):
    kinds = {
        "one": (CrossRegressionLoss(32), ClsPooling()),
        "squared": (CrossRegressionLoss(32, "squared"), ClsPooling()),
        "mean": (CrossRegressionLoss(32), MeanPooling()),
    }
    for name, (loss, pooling) in kinds.items():
        write(tmp_path / name, tiny_bert, loss, pooling)
    found = [CrossEncoder(str(tmp_path / name)).identity for name in kinds]
    assert len({json.dumps(one, sort_keys=True) for one in found}) == 3
    before = found[0]["model"]
    write(tmp_path / "one", tiny_bert, CrossRegressionLoss(32))
    assert CrossEncoder(str(tmp_path / "one")).identity["model"] != before, "another head"


def test_a_linear_score_may_leave_0_to_1_and_bf16_is_near(tmp_path, tiny_bert):
    loss = CrossRegressionLoss(32, "squared")
    with torch.no_grad():
        loss.head.bias.fill_(5.0)
    write(tmp_path / "model", tiny_bert, loss)
    full = CrossEncoder(str(tmp_path / "model")).score(PAIRS)
    half = CrossEncoder(str(tmp_path / "model"), precision="bf16").score(PAIRS)
    assert (full > 1).all() and np.abs(full - half).max() < 0.1


def test_other_folders_are_refused(tmp_path, tiny_bert):
    with pytest.raises(UserError, match="not a cross-encoder that gives a score: train one with"):
        CrossEncoder(str(tiny_bert))
    write(tmp_path / "nli", tiny_bert, CrossClassificationLoss(32))
    with pytest.raises(UserError, match="not a cross-encoder that gives a score"):
        CrossEncoder(str(tmp_path / "nli"))
    write(tmp_path / "model", tiny_bert)
    (tmp_path / "model" / "head.safetensors").unlink()
    with pytest.raises(UserError, match=r"head\.safetensors: no head for loss=cross_regression"):
        CrossEncoder(str(tmp_path / "model")).score(PAIRS)


def test_it_is_never_taken_for_an_encoder_of_single_sentences(saved):
    with pytest.raises(UserError, match=r"a cross-encoder, .*: use encoder=cross_encoder"):
        TransformerEncoder(str(saved[0]))
    assert not (saved[0] / "modules.json").exists()


def test_a_folder_written_before_names_were_keys_gives_the_same_scores(tmp_path, tiny_bert):
    write(tmp_path / "model", tiny_bert)
    now = CrossEncoder(str(tmp_path / "model"))
    path = tmp_path / "model" / "sbert_repro.json"
    trained = json.loads(path.read_text())
    package = "sbert_repro"
    trained["loss"]["_target_"] = f"{package}.losses.cross_regression.CrossRegressionLoss"
    trained["pooling"]["_target_"] = f"{package}.pooling.cls.ClsPooling"
    del trained["loss"]["name"], trained["pooling"]["name"]
    path.write_text(json.dumps(trained))
    before = CrossEncoder(str(tmp_path / "model"))
    assert before.identity == now.identity
    np.testing.assert_array_equal(before.score(PAIRS), now.score(PAIRS))
