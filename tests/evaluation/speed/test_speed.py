"""What is timed and how often; never how fast it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from sbert_repro.backbone.random_bert import Size
from sbert_repro.encoders.padded import PaddedEncoder
from sbert_repro.encoders.peer import PeerEncoder
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.speed import ceiling, shapes
from sbert_repro.evaluation.speed.timing import interleaved

TEXTS = ["the man plays guitar", "a dog", "two birds eats and sings in the park", "a dog", "one"]


def test_repeats_are_taken_in_turns_after_the_warm_up():
    done = []
    found = interleaved({n: lambda n=n: done.append(n) for n in "ab"}, repeats=3, warm_up=2)
    assert "".join(done) == "aabb" + "ababab"
    assert {len(timing.seconds) for timing in found.values()} == {3}
    low, high = found["a"].ends
    assert 0 <= low <= found["a"].median <= high


def test_what_is_timed_is_said_once_where_there_is_no_terminal(caplog, capsys):
    caplog.set_level("INFO")
    interleaved({"a": int, "b": int}, repeats=3, title="BERT, STSb")
    interleaved({"a": int}, repeats=1)
    assert caplog.messages == ["BERT, STSb: timing, 4 times each, in turns: a, b"]
    assert not "".join(capsys.readouterr())


def test_a_terminal_shows_what_is_timed_and_draws_in_between_only(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    threads = []
    interleaved({"a": lambda: threads.append(threading.active_count())}, repeats=2, title="BERT")
    shown = capsys.readouterr()
    assert not shown.out and "BERT: a, warm-up" in shown.err and "BERT: a, 2 of 2" in shown.err
    assert set(threads) == {threading.active_count()}


@pytest.mark.parametrize("order", ["given", "characters"])
def test_the_authors_way_gives_our_vectors(tiny_bert, order):
    ours = TransformerEncoder(str(tiny_bert), engine="reference").encode(TEXTS)
    theirs = PaddedEncoder(str(tiny_bert), order=order, batch_size=2).encode(TEXTS)
    assert theirs == pytest.approx(ours, abs=1e-5)


def test_smart_batching_sorts_by_characters(tiny_bert, monkeypatch):
    encoder, seen = PaddedEncoder(str(tiny_bert), order="characters", batch_size=2), []
    embed = encoder._embed
    monkeypatch.setattr(encoder, "_embed", lambda texts: (seen.append(texts), embed(texts))[1])
    encoder.encode(TEXTS)
    assert seen == [["one", "a dog"], ["a dog", TEXTS[0]], [TEXTS[2]]]


def test_the_peer_gives_our_vectors_and_says_nothing(tiny_bert, caplog, capfd):
    pytest.importorskip("sentence_transformers")
    caplog.set_level("INFO")
    ours = TransformerEncoder(str(tiny_bert), engine="reference").encode(TEXTS)
    assert PeerEncoder(str(tiny_bert)).encode(TEXTS) == pytest.approx(ours, abs=1e-5)
    assert not caplog.messages and not "".join(capfd.readouterr())


def test_a_peers_library_greets_nobody(monkeypatch):
    """Its imports print on stdout, where results stand, and log what else is installed."""
    pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("WANDB_MODE", "offline")
    code = (
        "import logging; logging.basicConfig(level=logging.INFO); from sbert_repro.encoders import "
        "peer; print(peer.library('sentence_transformers', '').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "sentence_transformers\n" and "available" not in done.stderr


def test_the_peer_runs_no_code_of_a_folder(tiny_bert, tmp_path):
    pytest.importorskip("sentence_transformers")
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    (folder / "modules.json").write_text('[{"idx": 0, "path": "", "type": "own.Transformer"}]')
    (folder / "own.py").write_text("raise SystemExit('code of the folder ran')\n")
    with pytest.raises(UserError, match=r"module own\.Transformer is code that lies in the folder"):
        PeerEncoder(str(folder)).encode(TEXTS)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: PaddedEncoder(path, order="words"), "expected an order of given, characters"),
        (lambda path: PaddedEncoder(path, batch_size=0), "batch_size=0"),
    ],
)
def test_wrong_options_are_one_line(tiny_bert, make, says):
    with pytest.raises(UserError, match=says):
        make(str(tiny_bert))


def test_useful_arithmetic_is_that_of_a_count_by_hand():
    shape = ceiling.Shape(layers=2, width=4, intermediate=6)
    # A word piece: Q, K, V and output are 4 maps of 4 x 4, the FFN two of 4 x 6; a sentence of n
    # adds n x n scores and as many sums of values, 4 wide each.
    linear = 2 * (4 * 16 + 2 * 24)
    by_hand = 2 * ((3 + 5) * linear + 2 * 2 * 4 * (9 + 25))
    assert shape.flops(np.array([3, 5])) == by_hand


def test_the_ceiling_counts_what_it_multiplies(monkeypatch):
    multiplied = []
    real = torch.ops.mkldnn._linear_pointwise

    def counted(given, weight, *rest):
        made = real(given, weight, *rest)
        multiplied.append(2 * given.shape[0] * given.shape[1] * made.shape[1])
        return made

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
    work, flops = ceiling.product_work(ceiling.Shape(1, 32, 64), "fp32")
    work()
    assert sum(multiplied) == flops


def test_a_machine_without_prepacked_products_has_a_ceiling_too(monkeypatch):
    monkeypatch.setattr(ceiling.packed_cpu, "why_not_here", lambda precision: "none here")
    monkeypatch.delattr(torch.ops.mkldnn, "_linear_pointwise")
    shapes_seen, real = [], torch.nn.functional.linear

    def counted(given, weight):
        shapes_seen.append(tuple(weight.shape))
        return real(given, weight)

    monkeypatch.setattr(ceiling.functional, "linear", counted)
    work, _ = ceiling.product_work(ceiling.Shape(1, 32, 64), "fp32")
    work()
    assert set(shapes_seen) == {(96, 32), (32, 32), (64, 32), (32, 64)}


def test_a_stand_in_has_the_published_shape_and_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setitem(shapes.SIZES, shapes.BASE, Size(2, 32, 4, 48, positions=40))
    made = [
        shapes.timed_model(shapes.BASE, tmp_path / "m", tmp_path / "c", TEXTS, download=False)
        for _ in range(2)
    ]
    assert made[0] == made[1]
    folder, notes = made[0]
    config = AutoConfig.from_pretrained(folder)
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (2, 32, 48)
    assert "random weights" in notes[0] and "2 layers, 32 wide" in notes[0]
    real = tmp_path / "m" / "bert-base-uncased"
    folder.rename(real) if real.parent.mkdir() is None else None
    found = shapes.timed_model(shapes.BASE, tmp_path / "m", tmp_path / "c", TEXTS, download=False)
    assert found == (real, [])


def test_what_bert_base_stands_for():
    size = shapes.SIZES[shapes.BASE]
    assert (size.layers, size.width, size.heads, size.intermediate) == (12, 768, 12, 3072)
