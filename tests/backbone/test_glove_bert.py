"""The raw encoder: GloVe's words in a small BERT, the same bytes wherever it is made."""

import numpy as np
import pytest
import torch

from sbert_repro.backbone import glove_bert
from sbert_repro.backbone.find_model import find_model, model_sha256
from sbert_repro.backbone.glove_bert import write_glove_bert
from sbert_repro.backbone.random_bert import Size
from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.data.word_vectors import Place, WordVectors
from sbert_repro.errors import UserError

WORDS = ["the", "'s", ",", "dog", "café", "hot-dog", "cat", "zebra"]
VALUES = np.array([[row, row % 3, -row] for row in range(len(WORDS))], np.float32)
VECTORS = WordVectors({word: row for row, word in enumerate(WORDS)}, VALUES, "0" * 64, [])
SIZE = Size(layers=1, width=8, heads=2, intermediate=8, spread=0.02, seed=3)


@pytest.fixture
def folder(tmp_path):
    write_glove_bert(tmp_path / "one", VECTORS, 4, SIZE)
    return tmp_path / "one"


def test_the_most_frequent_whole_words_are_pieces_and_others_are_spelt_out(folder):
    cut = load_tokenizer(folder).tokenize
    assert cut("The dog, the CAT") == ["the", "dog", ",", "the", "cat"]
    assert cut("zebra") == ["z", "##e", "##b", "##r", "##a"]  # the fifth whole word
    assert cut("Café") == ["c", "##a", "##f", "##e"]


def test_a_word_starts_as_its_standardised_vector(folder):
    backbone, ids = load(folder), load_tokenizer(folder).convert_tokens_to_ids
    table = backbone.model.embeddings.word_embeddings.weight.detach().double()
    words = ["the", ",", "dog", "cat"]
    found = table[ids(words)]
    chosen = torch.from_numpy(VALUES[[WORDS.index(word) for word in words]]).double()
    expected = (chosen - chosen.mean(0)) / chosen.std(0, correction=0)
    torch.testing.assert_close(found[:, :3], expected, atol=6e-4, rtol=0)
    assert not found[:, 3:].any()
    assert table[ids("##z")].abs().max() < 0.2  # random: it has no vector


def test_equal_vectors_give_equal_bytes_whatever_was_drawn_before(folder, tmp_path):
    torch.manual_seed(99)
    write_glove_bert(tmp_path / "two", VECTORS, 4, SIZE)
    assert model_sha256(tmp_path / "two") == model_sha256(folder)
    write_glove_bert(tmp_path / "other", VECTORS, 4, Size(**{**vars(SIZE), "seed": 4}))
    assert model_sha256(tmp_path / "other") != model_sha256(folder)
    assert "transformers_version" not in (folder / "config.json").read_text()


def test_its_name_alone_makes_it_once(tmp_path, monkeypatch):
    monkeypatch.setattr(glove_bert.word_vectors, "find", lambda *_: Place(tmp_path / "vectors"))
    monkeypatch.setattr(glove_bert.word_vectors, "load", lambda *_: VECTORS)
    monkeypatch.setattr(glove_bert, "SIZE", SIZE)
    monkeypatch.setattr(glove_bert, "WORDS", 4)
    made = find_model("glove-bert", cache=tmp_path / "cache")
    assert load(made).width == SIZE.width
    written = (made / "model.safetensors").stat().st_mtime_ns
    assert find_model("glove-bert", cache=tmp_path / "cache") == made
    assert (made / "model.safetensors").stat().st_mtime_ns == written


def test_without_the_word_vectors_it_says_what_to_install(tmp_path, monkeypatch):
    def find(*_):
        raise UserError("not installed", mend="make setup EXTRAS=lite", code="missing")

    monkeypatch.setattr(glove_bert.word_vectors, "find", find)
    with pytest.raises(UserError, match="make setup EXTRAS=lite"):
        find_model("glove-bert", cache=tmp_path)
