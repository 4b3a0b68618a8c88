"""InferSent's published weights, as a small state_dict under the same names."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sbert_repro.compose import build, compose
from sbert_repro.encoders.infersent import InferSentEncoder
from sbert_repro.errors import UserError
from sbert_repro.storage import sha256_of

WORDS = ["A", "dog", "cat", "runs", "a", "<s>", "</s>", "do", "n't", "don"]
WIDTH, HIDDEN = 6, 4
TEXTS = ["A dog runs", "a cat", "zebra", "", "A dog and a cat runs ; a dog runs"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Word vectors, and weights as the published files hold them."""
    folder = tmp_path_factory.mktemp("infersent")
    values = np.random.default_rng(0).normal(size=(len(WORDS), WIDTH)).round(3)
    lines = [" ".join([word, *map(str, row)]) for word, row in zip(WORDS, values, strict=True)]
    (folder / "v.txt").write_text("\n".join(lines) + "\n")
    torch.manual_seed(5)
    lstm = nn.LSTM(WIDTH, HIDDEN, 1, bidirectional=True)
    weights = {f"enc_lstm.{name}": value for name, value in lstm.state_dict().items()}
    torch.save(weights, folder / "infersent1.pkl")
    # The published files are older than torch's zip format.
    torch.save(weights, folder / "old.pkl", _use_new_zipfile_serialization=False)
    return folder, lstm, dict(zip(WORDS, torch.tensor(values, dtype=torch.float32), strict=True))


def encoder(folder, path="infersent1.pkl", **options):
    options = {"cache": folder / "cache", "models_root": folder, **options}
    return InferSentEncoder(path, str(folder / "v.txt"), **options)


def by_hand(lstm, values, words):
    with torch.no_grad():
        states = lstm(torch.stack([values[word] for word in words]).unsqueeze(1))[0][:, 0]
    return states.max(0).values


@pytest.mark.parametrize("name", ["infersent1.pkl", "old.pkl"])
def test_vectors_are_the_maximum_over_the_states_of_known_words(files, name):
    folder, lstm, values = files
    found = torch.from_numpy(encoder(folder, name, padding="masked").encode(TEXTS))
    read = [["<s>", "A", "dog", "runs", "</s>"], ["<s>", "a", "cat", "</s>"], ["<s>", "</s>"]]
    for vector, words in zip(found, read, strict=False):
        torch.testing.assert_close(vector, by_hand(lstm, values, words))
    assert torch.equal(found[2], found[3]) and found.shape == (5, 2 * HIDDEN)


def test_padding_of_the_first_version_is_a_zero_in_the_maximum(files):
    folder, *_ = files
    masked, zero = (encoder(folder, padding=p).encode(TEXTS) for p in ("masked", "v1"))
    assert (masked < 0).any()
    np.testing.assert_array_equal(zero, np.maximum(masked, 0))


@pytest.mark.parametrize("padding", ["v1", "masked"])
def test_no_batch_mate_changes_a_vector(files, padding):
    made = encoder(files[0], padding=padding)
    together = made.encode(TEXTS)
    for number, text in enumerate(TEXTS):
        np.testing.assert_allclose(made.encode([text])[0], together[number], atol=1e-6)


def test_markers_without_a_vector_are_left_out(files):
    folder, lstm, values = files
    made = encoder(folder, padding="masked", markers=("<p>", "</p>"), tokenisation="moses")
    found = torch.from_numpy(made.encode(["dog do n't runs", "zebra"]))
    torch.testing.assert_close(found[0], by_hand(lstm, values, ["dog", "don", "runs"]))
    with torch.no_grad():
        torch.testing.assert_close(found[1], lstm(torch.zeros(1, 1, WIDTH))[0][0, 0])


def test_the_found_digest_is_said_where_none_is_given_to_compare(files):
    folder, *_ = files
    digest = sha256_of(folder / "infersent1.pkl")
    assert encoder(folder).facts == [
        {"code": "unknown_file", "file": "infersent1.pkl", "sha256": digest}
    ]
    assert encoder(folder, sha256=digest.upper()).facts == []
    with pytest.raises(
        UserError, match=f"sha256 {digest}, expected abc: download https"
    ) as refused:
        encoder(folder, sha256="abc")
    assert "\n" not in str(refused.value)


def test_what_changes_a_vector_changes_the_identity(files):
    folder, *_ = files
    options = [{}, {"padding": "masked"}, {"tokenisation": "moses"}, {"max_length": 3}]
    found = [str(encoder(folder, **one).identity) for one in options]
    found += [str(encoder(folder, "old.pkl").identity)]
    assert len(set(found)) == 5


class Anything:
    """Stands for the whole model, which InferSent's first releases pickled."""


def bad_files(folder):
    torch.save(Anything(), folder / "object.pkl")
    (folder / "plain.pkl").write_bytes(pickle.dumps({"a": Anything()}))
    (folder / "cut.pkl").write_bytes((folder / "infersent1.pkl").read_bytes()[:500])
    torch.save({"weight": torch.zeros(2)}, folder / "other.pkl")
    torch.save([1, 2], folder / "list.pkl")
    wide = nn.LSTM(WIDTH + 1, HIDDEN, bidirectional=True).state_dict()
    torch.save({f"enc_lstm.{name}": value for name, value in wide.items()}, folder / "wide.pkl")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("object.pkl", "no plain weights .*other pickles are not read: download https://dl.fba"),
        ("plain.pkl", "no plain weights"),
        ("cut.pkl", "no plain weights"),
        ("other.pkl", r"no weights of InferSent, expected enc_lstm\.weight_hh_l0 .*there: weight"),
        ("list.pkl", "no weights of InferSent"),
        ("wide.pkl", "no weights of a BiLSTM with 4 units over vectors of 6 numbers"),
    ],
)
def test_a_file_of_anything_else_is_one_line(files, name, said):
    folder, *_ = files
    bad_files(folder)
    with pytest.raises(UserError, match=said) as refused:
        encoder(folder, name).encode(["a dog"])
    assert "\n" not in str(refused.value) and str(folder / name) in str(refused.value)


def test_missing_files_say_where_from_and_where_to(files, tmp_path):
    folder, *_ = files
    with pytest.raises(UserError, match=r"download https://\S+/gone\.pkl into") as missing:
        encoder(folder, "gone.pkl", models_root=tmp_path)
    assert missing.value.code == "missing" and "gone.pkl" in missing.value.found
    options = {"models_root": folder, "data_root": tmp_path, "cache": tmp_path}
    with pytest.raises(
        UserError, match=r"glove\.840B\.300d\.txt are not on this machine.*download https"
    ):
        InferSentEncoder("infersent1.pkl", "glove.840B.300d.txt", **options)
    with pytest.raises(UserError, match=r"encoder\.padding=zero: unknown; use v1 or masked"):
        encoder(folder, padding="zero")


@pytest.mark.parametrize(("name", "padding"), [("infersent", "v1"), ("infersent2", "masked")])
def test_the_two_published_versions_are_options(files, name, padding):
    folder, *_ = files
    words = [f"encoder={name}", f"encoder.path={folder / 'infersent1.pkl'}", "task=stsb"]
    words += [f"encoder.word_vectors={folder / 'v.txt'}", f"paths.cache={folder / 'cache'}"]
    config = compose(words, "evaluate")
    made = build(config.encoder, pooling=None, models_root=None, precision="fp32", progress=False)
    assert made.padding == padding and made.encode(["a dog"]).shape == (1, 2 * HIDDEN)
