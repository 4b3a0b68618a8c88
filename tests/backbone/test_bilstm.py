"""The BiLSTM against torch's own LSTM on single sentences, and what is kept of it."""

import numpy as np
import pytest
import torch

from sbert_repro.backbone.bilstm import BiLstmBackbone, load, random_bilstm
from sbert_repro.backbone.bilstm_folder import is_bilstm
from sbert_repro.backbone.weights import WEIGHTS
from sbert_repro.batch import Tokens
from sbert_repro.data.batches import pad
from sbert_repro.data.word_vectors import WordVectors
from sbert_repro.errors import UserError
from sbert_repro.pooling.max import MaxPooling

WORDS, WIDTH, HIDDEN = 20, 6, 4
LENGTHS = [3, 1, 7, 3, 2]


@pytest.fixture(scope="module")
def vectors():
    values = np.random.default_rng(0).normal(size=(WORDS, WIDTH)).astype(np.float32)
    values.setflags(write=False)  # as if mapped from the disk
    return WordVectors({f"w{i}": i for i in range(WORDS)}, values, "0" * 64, [])


@pytest.fixture(scope="module")
def sentences():
    generator = np.random.default_rng(1)
    return [generator.integers(0, WORDS, n) for n in LENGTHS]


def alone(backbone, row):
    """What torch's LSTM gives for one sentence without padding."""
    with torch.no_grad():
        return backbone.lstm(backbone.words[torch.from_numpy(row)].unsqueeze(0))[0][0]


def test_states_are_those_of_each_sentence_alone(vectors, sentences):
    backbone = random_bilstm(vectors, HIDDEN, seed=1)
    tokens = pad(sentences, WORDS)
    with torch.no_grad():
        states = backbone(tokens)
    assert states.shape == (len(LENGTHS), max(LENGTHS), 2 * HIDDEN)
    assert backbone.width == 2 * HIDDEN
    for number, row in enumerate(sentences):
        torch.testing.assert_close(states[number, : len(row)], alone(backbone, row))
    assert (states[~tokens.mask] == 0).all()


def test_the_backward_half_begins_at_the_last_word(vectors, sentences):
    backbone = random_bilstm(vectors, HIDDEN, seed=1)
    short, long = sentences[0], sentences[2]
    with torch.no_grad():
        first = backbone(pad([short, long], WORDS))[0, :3]
        changed = backbone(pad([np.append(short, 5), long], WORDS))[0, :3]
    torch.testing.assert_close(first[:, :HIDDEN], changed[:, :HIDDEN])
    assert not torch.allclose(first[:, HIDDEN:], changed[:, HIDDEN:])


@pytest.mark.parametrize("pad_id", [0, WORDS])
def test_batch_mates_and_padding_never_change_a_vector(vectors, sentences, pad_id):
    backbone, pool = random_bilstm(vectors, HIDDEN, seed=1), MaxPooling()

    def pooled(rows):
        tokens = pad(rows, pad_id)
        with torch.no_grad():
            return pool(backbone(tokens), tokens.mask)

    together = pooled(sentences)
    for number, row in enumerate(sentences):
        torch.testing.assert_close(together[number], pooled([row])[0])
    torch.testing.assert_close(pooled(sentences[::-1]).flip(0), together)


def test_the_row_after_the_last_one_is_a_vector_of_zeros(vectors):
    backbone = random_bilstm(vectors, HIDDEN, seed=1)
    with torch.no_grad():
        found = backbone(pad([np.array([3, WORDS])], WORDS))[0]
        read = torch.stack([backbone.words[3], torch.zeros(WIDTH)])
        torch.testing.assert_close(found, backbone.lstm(read.unsqueeze(0))[0][0])


def test_word_vectors_are_neither_trained_nor_kept(vectors):
    backbone = random_bilstm(vectors, HIDDEN, seed=1)
    assert {name.split(".")[0] for name in backbone.state_dict()} == {"lstm"}
    assert {name.split(".")[0] for name, _ in backbone.named_parameters()} == {"lstm"}
    assert backbone.words.data_ptr() == torch.from_numpy(vectors.values.view()).data_ptr()


def test_a_seed_gives_the_weights_and_disturbs_no_other_draw(vectors):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, two, other = (random_bilstm(vectors, HIDDEN, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one.lstm.weight_hh_l0, two.lstm.weight_hh_l0)
    assert not torch.equal(one.lstm.weight_hh_l0, other.lstm.weight_hh_l0)


def test_it_loads_back_to_the_bit(vectors, tmp_path):
    backbone = random_bilstm(vectors, HIDDEN, seed=3)
    backbone.save(tmp_path / "model")
    assert is_bilstm(tmp_path / "model") and not is_bilstm(tmp_path)
    again = load(tmp_path / "model", vectors)
    assert not again.training
    for name, weight in backbone.lstm.state_dict().items():
        assert torch.equal(weight, again.lstm.state_dict()[name]), name


def test_what_is_damaged_or_does_not_fit_is_one_line(vectors, tmp_path):
    random_bilstm(vectors, HIDDEN, seed=3).save(tmp_path)
    narrow = WordVectors(vectors.index, vectors.values[:, :3], "1" * 64, [])
    with pytest.raises(UserError, match=r"no weights of a BiLSTM with 4 units .* 3 num") as refused:
        load(tmp_path, narrow)
    assert "\n" not in str(refused.value)
    (tmp_path / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be loaded"):
        load(tmp_path, vectors)
    with pytest.raises(UserError, match=r"encoder\.hidden=0"):
        BiLstmBackbone(vectors, 0)


def test_it_multiplies_in_bf16_too(vectors, sentences):
    backbone, tokens = random_bilstm(vectors, HIDDEN, seed=1), pad(sentences, WORDS)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = backbone(Tokens(tokens.ids, tokens.mask))
    with torch.no_grad():
        torch.testing.assert_close(half.float(), backbone(tokens), rtol=0.05, atol=0.02)
