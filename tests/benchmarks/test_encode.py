"""what=encode compares the same vectors with what users have, and judges its goals."""

from __future__ import annotations

import re

import pytest
import torch

from sbert_repro.benchmarks import encode
from sbert_repro.benchmarks.timing import why_not_timed
from sbert_repro.compose import build, compose, prepare


def test_encoding_is_compared_with_the_same_vectors_judged_and_shown(figures, capsys):
    pytest.importorskip("sentence_transformers")
    found = figures("what=encode", "what.repeats=1", "what.sentences=8")
    kinds = {(row["model"], row["texts"]) for row in found["rows"]}
    assert {kind for _, kind in kinds} == {"STSb", "long", "mixed"} and len(kinds) == 5
    for row in found["rows"]:
        assert float(row["max |Δ|"]) <= 1e-5
        assert row["fp32 ×"] == pytest.approx(row["ours fp32 /s"] / row["peer fp32 /s"])
        for goal in row["goals"].split("; "):
            if goal.endswith(" not timed"):
                assert any(" not timed: " in note for note in found["notes"])
                continue
            words = goal.removesuffix(" met").removesuffix(" not").split()
            ratio, least = float(words[-3]), float(words[-1])
            # Shown with two digits, so a ratio on the edge may be either.
            assert goal.endswith(" not met") == (ratio < least) or abs(ratio - least) < 0.01
    assert "all-MiniLM-L6-v2, ours fp32: engine packed" in found["notes"]
    first = next(row for row in found["rows"] if "bf16 / bf16" in row["goals"])
    in_bf16 = why_not_timed("bf16") is None
    assert first["peer bf16 /s"] > 0 if in_bf16 else first["peer bf16 /s"] == "—"
    assert "ceiling" in first["goals"]
    assert "onnx" in first["goals"]
    assert (first["onnx /s"] == "—") == ("onnx not timed" in first["goals"])
    # Each precision says how near it is, and the real model what STSb thinks of it.
    notes = "\n".join(found["notes"])
    assert re.search(
        r"all-MiniLM-L6-v2, ours int8: cosine with our fp32 at least [01]\.|int8 not", notes
    )
    assert re.search(r"Spearman on STSb × 100: ours fp32 -?\d", notes)
    for part in ("products", "attention", "LayerNorm"):
        assert re.search(rf"ours fp32: .*\b{part} \d+%", notes)
    assert torch.cuda.is_available() or re.search(r"fp32: .*tokenising and Python \d+%", notes)
    assert "peer fp32: batches of" in notes
    # Every figure can be read where there is no terminal.
    printed = capsys.readouterr().out.splitlines()
    for row in found["rows"]:
        shown = [line for line in printed if row["model"] in line and f" {row['texts']} " in line]
        assert any(f"{row['of the ceiling']:.2f}" in line for line in shown)
        assert any(
            line.endswith(f"{row['model']}, {row['texts']}: {row['goals']}") for line in printed
        )
    assert all(note in printed for note in found["notes"])


def test_a_gpu_gets_a_hundred_thousand_distinct_texts(monkeypatch, tmp_path):
    """On a stand-in for one: the encoders are never reached."""
    given = {}

    def stop(name, config, texts):
        raise StopIteration(name)

    def keep(config, count):
        given["count"] = count
        given["texts"], given["said"] = texts_of(config, min(count, 3000))
        return given["texts"], given["said"]

    texts_of = encode._texts
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(encode, "_texts", keep)
    monkeypatch.setattr(encode, "model_to_time", stop)
    config = compose(["what=encode", "profile=demo", f"paths.cache={tmp_path}"], "benchmark")
    prepare(config)
    with pytest.raises(StopIteration):
        build(config.what).run(config)
    assert given["count"] >= 100_000
    texts = given["texts"]
    # Our encoders embed equal sentences once, so repeats would count for nothing.
    assert all(len(set(some)) == len(some) for some in texts.values())
    assert [len(texts[kind]) for kind in ("STSb", "long", "mixed")] == [3000, 375, 3000]
    assert "distinct texts: STSb 3,000" in given["said"]
    few, _ = texts_of(config, 8)
    assert texts["STSb"][:8] == few["STSb"], "STSb's own come first"
