"""The saved folder: complete or not there, loaded back here and by sentence-transformers."""

import errno
import json

import pytest
import torch
from sentence_transformers import SentenceTransformer

from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.batch import Tokens
from sbert_repro.errors import UserError
from sbert_repro.losses.classification import ClassificationLoss
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling
from sbert_repro.training.save import load_head, save_model

TEXTS = ["a man plays", "the small dog runs outside in the park " * 4, "no", ""]
POOLINGS = [MeanPooling(), MaxPooling(), ClsPooling()]
SETTINGS = {"max_length": 20}


def saved(folder, source, pooling=None, loss=None):
    backbone, tokenizer = load(source), load_tokenizer(source)
    loss = loss or ClassificationLoss(backbone.width)
    save_model(folder, backbone, tokenizer, pooling or MeanPooling(), loss, SETTINGS)
    return backbone, tokenizer, loss


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda p: p.name)
@pytest.mark.parametrize("kind", ["tiny_bert", "tiny_roberta"])
def test_sentence_transformers_gives_the_same_vectors(request, tmp_path, pooling, kind):
    backbone, tokenizer, _ = saved(tmp_path / "model", request.getfixturevalue(kind), pooling)
    encoded = tokenizer(TEXTS, padding=True, truncation=True, max_length=22, return_tensors="pt")
    tokens = Tokens(encoded["input_ids"], encoded["attention_mask"].bool())
    with torch.no_grad():
        ours = pooling(backbone(tokens), tokens.mask)
    theirs = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert theirs.max_seq_length == 22, "20 word pieces and the two special ones"
    vectors = theirs.encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(ours, vectors, rtol=1e-5, atol=1e-5)


def test_it_loads_back_to_the_bit(tmp_path, tiny_bert):
    backbone, tokenizer, loss = saved(tmp_path / "model", tiny_bert)
    again = load(tmp_path / "model")
    for (name, one), (_, two) in zip(
        backbone.named_parameters(), again.named_parameters(), strict=True
    ):
        assert torch.equal(one, two), name
    head = ClassificationLoss(backbone.width)
    assert not torch.equal(head.head.weight, loss.head.weight)
    load_head(tmp_path / "model", head)
    assert torch.equal(head.head.weight, loss.head.weight)
    assert torch.equal(head.head.bias, loss.head.bias)
    assert load_tokenizer(tmp_path / "model")(TEXTS) == tokenizer(TEXTS)
    assert json.loads((tmp_path / "model" / "sbert_repro.json").read_text()) == SETTINGS


def test_a_head_of_another_shape_is_refused(tmp_path, tiny_bert):
    saved(tmp_path / "model", tiny_bert)
    with pytest.raises(UserError, match=r"head\.safetensors: no head for loss=classification"):
        load_head(tmp_path / "model", ClassificationLoss(32, ["u", "v"]))


def test_an_objective_without_parameters_has_no_head_file(tmp_path, tiny_bert):
    saved(tmp_path / "model", tiny_bert, loss=RegressionLoss())
    assert not (tmp_path / "model" / "head.safetensors").exists()
    load_head(tmp_path / "model", RegressionLoss())


def test_what_a_killed_run_left_is_replaced(tmp_path, tiny_bert):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "half").write_text("written")
    saved(tmp_path / "model", tiny_bert)
    assert not (tmp_path / "model" / "half").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_leaves_nothing(tmp_path, tiny_bert, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sbert_repro.training.save._write", full)
    with pytest.raises(UserError, match="no space left"):
        saved(tmp_path / "run" / "model", tiny_bert)
    assert list((tmp_path / "run").iterdir()) == []
