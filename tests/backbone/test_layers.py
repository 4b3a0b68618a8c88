"""Named layers against the hidden states of transformers, where no two names mean the same."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from sbert_repro.backbone.random_bert import Size, write_random_bert, write_random_roberta
from sbert_repro.backbone.transformer import LAYERS, load
from sbert_repro.batch import Tokens
from sbert_repro.composition import build, compose
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.pooling.mean import MeanPooling

# What each name stands for in a model of four layers, by hand; state 0 is the embeddings'.
MEANT = {"last": [4], "second_to_last": [3], "first_last": [1, 4], "embedding_last": [0, 4]}
WORDS = "a the man woman dog cat plays runs sleeps park guitar house in no".split()
SENTENCES = ["the man plays", "no", "a dog sleeps in the park", " ".join(WORDS * 3)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("four")
    size = Size(layers=4)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for name, write, words in (
        ("bert", write_random_bert, [*special, *WORDS]),
        ("roberta", write_random_roberta, SENTENCES),
    ):
        (root / name).mkdir()
        write(root / name, words, size)
    return root


def states_of(folder, sentences):
    """All hidden states of transformers' own network, and the mask."""
    encoded = AutoTokenizer.from_pretrained(folder)(sentences, padding=True, return_tensors="pt")
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        output = model(**encoded, output_hidden_states=True)
    return output.hidden_states, encoded


def test_every_name_is_checked():
    assert set(MEANT) == set(LAYERS)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("layer", MEANT)
def test_states_are_the_mean_of_the_layers_that_are_meant(folders, kind, layer):
    hidden, encoded = states_of(folders / kind, SENTENCES)
    assert len(hidden) == 5
    expected = torch.stack([hidden[number] for number in MEANT[layer]]).mean(0)
    mask = encoded["attention_mask"].bool()
    with torch.no_grad():
        found = load(folders / kind, layer)(Tokens(encoded["input_ids"], mask))
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-5, atol=1e-5)
    others = [hidden[number] for number in range(5) if [number] != MEANT[layer]]
    assert not any(torch.allclose(found[mask], other[mask], atol=1e-3) for other in others)


@pytest.mark.parametrize("layer", MEANT)
def test_vectors_are_the_mean_over_all_tokens_with_the_special_ones(folders, layer):
    hidden, encoded = states_of(folders / "bert", SENTENCES)
    chosen = torch.stack([hidden[number] for number in MEANT[layer]]).mean(0)
    mask = encoded["attention_mask"][:, :, None]
    expected = (chosen * mask).sum(1) / mask.sum(1)
    encoder = TransformerEncoder(str(folders / "bert"), MeanPooling(), layer=layer)
    np.testing.assert_allclose(encoder.encode(SENTENCES), expected.numpy(), atol=1e-5)


def test_as_service_takes_the_second_to_last_layer_of_25_tokens(folders):
    words = ["encoder=bert_base_as_service", f"encoder.path={folders / 'bert'}", "pooling=mean"]
    config = compose(words, "evaluate")
    encoder = build(config.encoder, pooling=build(config.pooling))
    assert [len(ids) for ids in encoder.pieces(SENTENCES)] == [5, 3, 8, 25]
    # The service cuts to 23 word pieces, then adds [CLS] and [SEP].
    cut = [*SENTENCES[:3], " ".join((WORDS * 3)[:23])]
    hidden, encoded = states_of(folders / "bert", cut)
    assert encoded["attention_mask"].sum(1).tolist() == [5, 3, 8, 25]
    mask = encoded["attention_mask"][:, :, None]
    expected = (hidden[3] * mask).sum(1) / mask.sum(1)
    np.testing.assert_allclose(encoder.encode(SENTENCES), expected.numpy(), atol=1e-5)
