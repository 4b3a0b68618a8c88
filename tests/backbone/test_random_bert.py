"""Random models on disk: what reads a pre-trained one reads them, and they are always the same."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from sbert_repro.backbone.random_bert import Size, write_random_bert, write_random_roberta
from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.data.demo_language import vocabulary
from sbert_repro.storage import sha256_of

SMALL = Size(layers=1, width=8, heads=2, intermediate=8, positions=16, seed=5)
TEXTS = ["A dog is pushing the ball", "The hound is not loved by a cat"] * 3


def write(kind, folder, size):
    """A random model of one of the two families."""
    if kind == "bert":
        write_random_bert(folder, vocabulary(), size)
    else:
        write_random_roberta(folder, TEXTS, size, pieces=300)
    return folder


@pytest.fixture(params=["bert", "roberta"])
def kind(request):
    return request.param


@pytest.fixture
def folder(kind, tmp_path):
    return write(kind, tmp_path / "first", SMALL)


def test_is_read_like_a_pretrained_model(folder):
    backbone, tokenizer = load(folder), load_tokenizer(folder)
    assert backbone.width == 8 and backbone.positions == tokenizer.model_max_length == 16
    config = AutoModel.from_pretrained(folder).config
    assert config.pad_token_id == tokenizer.pad_token_id == ("roberta" in config.model_type)
    assert config.vocab_size == len(tokenizer.get_vocab()) > max(tokenizer.get_vocab().values())
    assert not list(folder.glob("*.bin")) and (folder / "model.safetensors").exists()


def test_sentence_transformers_reads_it(folder):
    st = pytest.importorskip("sentence_transformers")
    model = st.SentenceTransformer(str(folder), device="cpu")
    assert model.encode(["The dog", "a cat " * 40]).shape == (2, 8)


def test_seed_decides_and_the_global_generator_is_left_alone(kind, folder, tmp_path):
    state = torch.random.get_rng_state()
    again = write(kind, tmp_path / "again", SMALL)
    changed = write(kind, tmp_path / "changed", replace(SMALL, seed=6))
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert sha256_of(again / name) == sha256_of(folder / name)
    assert sha256_of(changed / "model.safetensors") != sha256_of(folder / "model.safetensors")
    assert torch.equal(state, torch.random.get_rng_state())


def test_verbs_share_their_stem_and_unknown_words_are_spelt(tmp_path):
    write_random_bert(tmp_path, vocabulary(), SMALL)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("The Dog pushes, pushed") == "the dog push ##es , push ##ed".split()
    assert tokenizer.tokenize("adore adoring") == "ador ##e ador ##ing".split()
    assert tokenizer.tokenize("zoo") == ["z", "##o", "##o"]
    assert tokenizer.unk_token not in tokenizer.tokenize("Naïve 1984 it's")


def test_bytes_spell_everything(tmp_path):
    write_random_roberta(tmp_path, TEXTS, SMALL, pieces=300)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("한국 zoo")["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "한국 zoo"
    # A word is the same word at the start of a sentence.
    assert tokenizer.tokenize("dog dog")[0] == tokenizer.tokenize("dog dog")[-1]
