"""A folder that merely bears a model's name is not taken for the model."""

import shutil

import pytest

from sbert_repro.backbone import known_weights
from sbert_repro.backbone.known_weights import notes
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.storage import sha256_of

BERT = "google-bert/bert-base-uncased"


@pytest.fixture
def folder(tiny_bert, tmp_path):
    return shutil.copytree(tiny_bert, tmp_path / "bert-base-uncased")


def test_other_weights_under_a_known_name_are_told(folder, tmp_path):
    found = sha256_of(folder / "model.safetensors")[:16]
    said = f"{BERT}: weights of a local folder, sha256 {found}, the Hub's are 68d45e234eb4a928"
    assert notes(BERT, "86b5e0", folder) == [said]
    encoder = TransformerEncoder(BERT, revision="86b5e0", models_root=tmp_path)
    assert encoder.notes == [said]


def test_weights_that_nothing_is_known_of_are_named(folder):
    (said,) = notes("google-bert/bert-large-uncased", "6da4b6", folder)
    assert said.endswith(", not compared with the Hub's")


def test_nothing_is_said_without_doubt(folder, tmp_path, monkeypatch):
    assert notes(BERT, None, folder) == [], "no revision was asked for"
    snapshot = shutil.copytree(folder, tmp_path / "86b5e0")
    assert notes(BERT, "86b5e0", snapshot) == [], "a snapshot of the Hub at this revision"
    digest = sha256_of(folder / "model.safetensors")
    monkeypatch.setitem(known_weights.SHA256, BERT, digest)
    assert notes(BERT, "86b5e0", folder) == []


def test_the_real_encoder_of_lite_is_what_it_is_called(minilm):
    assert notes("sentence-transformers/all-MiniLM-L6-v2", "8b3219", minilm) == []
