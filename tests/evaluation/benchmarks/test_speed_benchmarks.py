"""what=encode and what=search compare what they say; no test says how fast anything is."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def typed(*words):
        command = ["benchmark.py", "profile=demo", "progress=false", "output=f.json", *words]
        monkeypatch.setattr(sys, "argv", command)
        runpy.run_path(str(ROOT / "scripts" / "benchmark.py"), run_name="__main__")
        return json.loads(Path("f.json").read_text(encoding="utf-8"))

    return typed


def test_encoding_is_compared_with_the_same_vectors_and_judged(figures):
    pytest.importorskip("sentence_transformers")
    found = figures("what=encode", "what.repeats=1", "what.sentences=8")
    kinds = {(row["model"], row["texts"]) for row in found["rows"]}
    assert {kind for _, kind in kinds} == {"STSb", "long", "mixed"} and len(kinds) == 5
    for row in found["rows"]:
        assert float(row["max |Δ|"]) <= 1e-5
        assert row["fp32 ×"] == pytest.approx(row["ours fp32 /s"] / row["peer fp32 /s"])
        for goal in row["goals"].split("; "):
            if goal == "onnx not timed":
                assert any("EXTRAS=peers" in note for note in found["notes"])
                continue
            words = goal.removesuffix(" met").removesuffix(" not").split()
            ratio, least = float(words[-3]), float(words[-1])
            # Shown with two digits, so a ratio on the edge may be either.
            assert goal.endswith(" not met") == (ratio < least) or abs(ratio - least) < 0.01
    first = next(row for row in found["rows"] if "bf16 / bf16" in row["goals"])
    assert first["peer bf16 /s"] > 0 and "ceiling" in first["goals"]
    assert "onnx" in first["goals"] and (first["onnx /s"] == "—") == ("not timed" in first["goals"])


def test_every_figure_is_readable_where_there_is_no_terminal(figures, capsys):
    pytest.importorskip("sentence_transformers")
    found = figures("what=encode", "what.repeats=1", "what.sentences=8")
    printed = capsys.readouterr().out.splitlines()
    for row in found["rows"]:
        shown = [line for line in printed if row["model"] in line and f" {row['texts']} " in line]
        assert any(f"{row['of the ceiling']:.2f}" in line for line in shown)
        assert any(
            line.endswith(f"{row['model']}, {row['texts']}: {row['goals']}") for line in printed
        )
    assert all(note in printed for note in found["notes"])


def test_search_is_compared_with_the_same_rows(figures, capsys):
    pytest.importorskip("faiss", reason="extra search")
    few = ["what.vectors=3000", "what.width=16", "what.queries=9", "what.k=4", "what.repeats=1"]
    (row,) = figures("what=search", *few)["rows"]
    assert f"goals of {row['vectors']}: {row['goal']}" in capsys.readouterr().out
    assert row["same rows %"] == pytest.approx(100)
    assert row["times faster"] == pytest.approx(row["faiss s"] / row["ours s"])
    met = row["times faster"] >= 1 and row["GB beside"] <= 1
    assert row["goal"].endswith("not met") is not met


def test_numbers_that_measure_nothing_are_one_line(figures, capsys):
    with pytest.raises(SystemExit) as end:
        figures("what=search", "what.k=0")
    assert end.value.code == 2 and "what=search: every number" in capsys.readouterr().err
