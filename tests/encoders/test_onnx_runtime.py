"""The library over ONNX Runtime gives the vectors of the reference; without the extra, one line."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from sbert_repro.encoders import onnx_graph
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.encoders.onnx_runtime import OnnxRuntimeEncoder
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
    assert isinstance(encoder, SentenceEncoder) and encoder.facts[1]["library"] == "onnxruntime"

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
    monkeypatch.setattr(onnx_graph, "_exported", lambda folder: folder.name.encode())
    paths = [onnx_graph.onnx_graph(folder, tmp_path) for folder in (tiny_bert, tiny_roberta)]
    assert [path.read_text() for path in paths] == ["tiny-bert", "tiny-roberta"]


@needs_extra
def test_a_full_disk_leaves_no_half_graph(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "_exported", lambda folder: b"graph")
    (tmp_path / "onnx").write_text("a file in the folder's place")
    with pytest.raises(UserError, match="cannot be written"):
        onnx_graph.onnx_graph(tiny_bert, tmp_path)


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


def test_nothing_imports_it_unasked():
    code = (
        "import sys; import sbert_repro.encoders.onnx_runtime; print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
