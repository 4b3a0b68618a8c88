"""The peers give the vectors of our reference, or one line that says what is missing."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sbert_repro.benchmarks import peers
from sbert_repro.benchmarks.peers import (
    OnnxRuntimeEncoder,
    OpenVinoEncoder,
    PaddedEncoder,
    SentenceTransformersEncoder,
)
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError

EXTRA = ("onnxruntime", "onnx", "onnxscript")
needs_extra = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in EXTRA),
    reason="ONNX Runtime is not installed: make setup EXTRAS=peers",
)
TEXTS = ["the man plays guitar", "a dog", "", "two birds eats and sings in the park", "a dog"]
# One word, a batch of one, and more than the 64 positions: sizes that a trace could have fixed.
SIZES = [["a"], ["a dog " * 50, "one"], TEXTS]


@needs_extra
@pytest.mark.parametrize("model", ["tiny_bert", "tiny_roberta"])
def test_the_graph_gives_the_vectors_of_the_reference(model, request, tmp_path, caplog):
    folder = request.getfixturevalue(model)
    caplog.set_level("INFO")
    encoder = OnnxRuntimeEncoder(str(folder), cache=tmp_path, batch_size=2)
    ours = TransformerEncoder(str(folder), engine="reference")
    for texts in SIZES:
        assert encoder.encode(texts) == pytest.approx(ours.encode(texts), abs=1e-4)
    assert [text for text in caplog.messages if "initializer" in text] == []
    # No weight is left in PyTorch, so the vectors are the session's.
    assert not list(encoder.model.parameters())
    assert isinstance(encoder, SentenceEncoder) and encoder.facts[0]["code"] == "onnx_runtime"

    session = encoder.model[0].model.session
    assert session.get_providers() == ["CPUExecutionProvider"]
    _is_exported_once(folder, tmp_path)


def _is_exported_once(folder, cache):
    (graph,) = (cache / "onnx").iterdir()
    before = graph.stat().st_mtime_ns
    again = OnnxRuntimeEncoder(str(folder), cache=cache)
    assert np.isfinite(again.encode(["one"])).all() and graph.stat().st_mtime_ns == before


@needs_extra
def test_another_model_has_another_graph(tiny_bert, tiny_roberta, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "_exported", lambda folder: folder.name.encode())
    paths = [peers.onnx_graph(folder, tmp_path) for folder in (tiny_bert, tiny_roberta)]
    assert [path.read_text() for path in paths] == ["tiny-bert", "tiny-roberta"]


@needs_extra
def test_a_full_disk_leaves_no_half_graph(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "_exported", lambda folder: b"graph")
    (tmp_path / "onnx").write_text("a file in the folder's place")
    with pytest.raises(UserError, match="cannot be written"):
        peers.onnx_graph(tiny_bert, tmp_path)


@pytest.mark.parametrize("absent", EXTRA)
def test_a_missing_library_says_which_command_brings_it(tiny_bert, tmp_path, monkeypatch, absent):
    pytest.importorskip("sentence_transformers")
    for name in EXTRA:  # those that would be asked for first are there
        monkeypatch.setitem(sys.modules, name, None if name == absent else np)
    with pytest.raises(UserError, match=f"{absent} is not .*make setup EXTRAS=peers") as mistake:
        OnnxRuntimeEncoder(str(tiny_bert), cache=tmp_path)
    assert "\n" not in str(mistake.value)


def test_a_gpu_is_refused(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(UserError, match="runs on a CPU only"):
        OnnxRuntimeEncoder(str(tiny_bert), cache=tmp_path)


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
    assert seen == [["", "a dog"], ["a dog", TEXTS[0]], [TEXTS[3]]]


def test_the_peer_gives_our_vectors_and_says_nothing(tiny_bert, caplog, capfd):
    pytest.importorskip("sentence_transformers")
    caplog.set_level("INFO")
    ours = TransformerEncoder(str(tiny_bert), engine="reference").encode(TEXTS)
    assert SentenceTransformersEncoder(str(tiny_bert)).encode(TEXTS) == pytest.approx(
        ours, abs=1e-5
    )
    assert not caplog.messages and not "".join(capfd.readouterr())


def test_a_library_is_imported_only_when_asked_for_and_then_greets_nobody(monkeypatch):
    """Its imports print on stdout, where results stand, and log what else is installed."""
    pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("WANDB_MODE", "offline")
    code = (
        "import logging, sys; logging.basicConfig(level=logging.INFO); from sbert_repro.benchmarks "
        "import peers; print('onnxruntime' in sys.modules, 'sentence_transformers' in sys.modules, "
        "peers.library('sentence_transformers', '').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False sentence_transformers\n" and "available" not in done.stderr


def test_the_peer_runs_no_code_of_a_folder(tiny_bert, tmp_path):
    pytest.importorskip("sentence_transformers")
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    (folder / "modules.json").write_text('[{"idx": 0, "path": "", "type": "own.Transformer"}]')
    (folder / "own.py").write_text("raise SystemExit('code of the folder ran')\n")
    with pytest.raises(UserError, match=r"module own\.Transformer is code in the folder"):
        SentenceTransformersEncoder(str(folder)).encode(TEXTS)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: PaddedEncoder(path, order="words"), "expected one of given, characters"),
        (lambda path: PaddedEncoder(path, batch_size=0), "batch_size=0"),
    ],
)
def test_wrong_options_are_one_line(tiny_bert, make, says):
    with pytest.raises(UserError, match=says):
        make(str(tiny_bert))


@needs_extra
@pytest.mark.parametrize("model", ["tiny_bert", "tiny_roberta"])
def test_openvino_gives_the_vectors_of_the_reference(model, request, tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    folder = str(request.getfixturevalue(model))
    encoder = OpenVinoEncoder(folder, cache=tmp_path, batch_size=2)
    ours = TransformerEncoder(folder, engine="reference")
    for texts in SIZES:
        assert encoder.encode(texts) == pytest.approx(ours.encode(texts), abs=1e-4)
    assert not list(encoder.model.parameters()) and encoder.facts[0]["code"] == "openvino"
    with pytest.raises(UserError, match=r"data_root: int8 is calibrated on training sentences"):
        OpenVinoEncoder(folder, cache=tmp_path, precision="int8")


TERMINATED_AFTER_SEVERAL = """
import gc, signal, sys
from sbert_repro.benchmarks.peers import OpenVinoEncoder

folder, cache = sys.argv[1:]
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
several = [OpenVinoEncoder(folder, cache=cache) for _ in range(2)]
assert all(encoder.encode(["a dog"]).any() for encoder in several)
while several:
    several.pop(0)
    gc.collect()
signal.raise_signal(signal.SIGTERM)
"""


@needs_extra
def test_a_signal_is_heard_after_several_models_of_openvino(tiny_bert, tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    ended = subprocess.run(
        [sys.executable, "-c", TERMINATED_AFTER_SEVERAL, tiny_bert, tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "heard\n"), ended.stderr


@needs_extra
def test_8_bits_of_onnx_runtime_are_near_and_made_once(tiny_bert, tmp_path):
    narrow = OnnxRuntimeEncoder(str(tiny_bert), cache=tmp_path, precision="int8")
    exact = TransformerEncoder(str(tiny_bert)).encode(TEXTS)
    found = narrow.encode(TEXTS)
    cosines = (found * exact).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosines.min() > 0.9 and not np.array_equal(found, exact)
    assert narrow.identity != OnnxRuntimeEncoder(str(tiny_bert), cache=tmp_path).identity
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "onnx").iterdir()}
    OnnxRuntimeEncoder(str(tiny_bert), cache=tmp_path, precision="int8").encode(["one"])
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "onnx").iterdir()} == files


def test_a_precision_that_a_peer_has_not_is_refused(tiny_bert, tmp_path):
    pytest.importorskip("sentence_transformers")
    with pytest.raises(UserError, match=r"precision=int8: .*transformers computes in fp32"):
        SentenceTransformersEncoder(str(tiny_bert), precision="int8")
    with pytest.raises(UserError, match="precision=bf16: encoder=onnx_runtime computes in fp32"):
        OnnxRuntimeEncoder(str(tiny_bert), cache=tmp_path, precision="bf16")
