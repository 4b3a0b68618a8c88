"""The demo's data and models are written once, and anew when they are other ones."""

import json
from pathlib import Path

from sbert_repro.backbone import demo
from sbert_repro.backbone.random_bert import Size
from sbert_repro.backbone.transformer import load
from sbert_repro.compose import compose, prepare


def test_data_and_models_are_written_once(tmp_path):
    arguments = str(tmp_path / "data"), str(tmp_path / "models")
    demo.prepare_demo(*arguments)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    demo.prepare_demo(*arguments)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == files
    for name, size in demo.MODELS.items():
        model = load(tmp_path / "models" / name)
        assert model.model.config.num_hidden_layers == size.layers and model.positions == 130
        assert json.loads((tmp_path / "models" / name / "MANIFEST.json").read_text())["synthetic"]


def test_the_demo_writes_into_the_cache_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    config = compose(["profile=demo", "paths.data=mistyped", "paths.models=mine"])
    prepare(config)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".cache", "mine"]
    assert not list((tmp_path / "mine").iterdir())
    assert Path(config.encoder.path).is_dir(), "and its models are found there"


def test_a_model_of_another_size_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "write_demo", lambda root: None)
    for layers in (1, 2):
        monkeypatch.setattr(demo, "MODELS", {"demo-bert": Size(layers=layers, width=8, heads=2)})
        demo.prepare_demo(str(tmp_path / "data"), str(tmp_path / "models"))
        model = load(tmp_path / "models" / "demo-bert")
        assert model.model.config.num_hidden_layers == layers
