"""what=train trains both sides on the same pairs; no test says how fast anything is."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from sbert_repro.tables import training_speed

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def typed(*words):
        command = ["benchmark.py", "profile=demo", "progress=false", "output=f.json", *words]
        monkeypatch.setattr(sys, "argv", ["benchmark.py", *command[1:], "what=train"])
        runpy.run_path(str(ROOT / "scripts" / "benchmark.py"), run_name="__main__")
        return json.loads(Path("f.json").read_text(encoding="utf-8"))

    return typed


def test_both_sides_are_trained_and_judged(figures):
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("accelerate", reason="what the library's trainer needs")
    found = figures("what.steps=3", "what.repeats=1", "what.batch_size=4")
    rows = {(row["training"], row["precision"]): row for row in found["rows"]}
    assert {who for who, _ in rows} == {"ours", "sentence-transformers"} and len(rows) == 4
    base = rows["sentence-transformers", "fp32"]
    for row in rows.values():
        assert row["pairs/s"] == pytest.approx(4 / row["s a step"])
        assert row["× the trainer in fp32"] == pytest.approx(row["pairs/s"] / base["pairs/s"])
        assert 0 < row["of the ceiling"] < 1 and row["peak GB"] > 0
    judged = rows["ours", "bf16"]
    assert judged["goal"].endswith("not met") == (judged["× the trainer in fp32"] < 6)
    profile = next(note for note in found["notes"] if note.startswith("our step in bf16"))
    assert "products" in profile and "GELU" in profile
    Path("demo").mkdir()
    Path("f.json").rename(Path("demo") / training_speed.FILE)
    (speed,) = training_speed.measured(Path())
    assert (speed.model, speed.batch_size, set(speed.rates)) == ("demo-bert", 4, {"fp32", "bf16"})
    assert speed.rates["bf16"] == judged["pairs/s"] and " threads" in speed.where


def test_a_training_without_steps_is_one_line(figures, capsys):
    with pytest.raises(SystemExit) as end:
        figures("what.steps=1")
    assert end.value.code == 2 and "what.steps: at least 2" in capsys.readouterr().err
