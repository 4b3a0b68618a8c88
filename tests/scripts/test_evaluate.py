"""scripts/evaluate.py as it is typed: one table, one file, one line for each mistake."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "evaluate.py"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """24 pairs of STSb and of two parts of STS12, complete only to a lenient reader."""
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(2)
    words = "a the man dog plays sleeps park guitar".split()
    frame = pd.DataFrame(
        {
            "sentence1": [" ".join(generator.choice(words, 1 + i % 6)) for i in range(24)],
            "sentence2": [" ".join(generator.choice(words, 1 + i % 5)) for i in range(24)],
            "score": generator.uniform(0, 5, 24),
        }
    )
    for name in ("stsb", "sts12"):
        (root / name).mkdir()
    frame.to_parquet(root / "stsb" / "test.parquet")
    frame["subset"] = ["MSRpar", "MSRvid"] * 12
    frame.to_parquet(root / "sts12" / "test.parquet")
    return root


@pytest.fixture
def evaluate(tmp_path, root, tiny_bert, monkeypatch, capsys):
    """Runs the command; returns its exit status and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SBERT_DATA", str(root))
    monkeypatch.setenv("COLUMNS", "80")

    def typed(*words, path=tiny_bert):
        encoder = ["encoder=transformer", f"encoder.path={path}", "progress=false"]
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *encoder, *words])
        status = 0
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return typed


def test_a_table_and_a_file(evaluate, tmp_path):
    words = ("pooling=mean", "task=stsb,sts12", "data.allow_partial=true", "output=out/e.json")
    status, out, _ = evaluate(*words)
    assert status == 0
    scores = json.loads((tmp_path / "out" / "e.json").read_text())
    assert set(scores) == {"stsb", "sts12", "_meta"}
    assert f"{scores['stsb']['spearman']:.2f}" in out
    assert set(scores["sts12"]["subsets"]) == {"MSRpar", "MSRvid"}
    assert "STSb: 24 of 1,379 test pairs" in out.splitlines(), "a line from its beginning"
    assert scores["stsb"]["notes"] == ["STSb: 24 of 1,379 test pairs"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["e.json"]
    assert list((tmp_path / ".cache" / "vectors").rglob("*.safetensors"))


def test_mistakes_are_one_line_and_leave_nothing_behind(evaluate, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "file").write_text("")
    mistakes = {
        "not a model folder": evaluate("task=stsb", "output=e.json", path=empty),
        "sts13/test.parquet": evaluate("task=sts", "data.allow_partial=true", "output=e.json"),
        "cannot be written": evaluate("task=stsb", "output=file/e.json"),
    }
    for says, (status, out, err) in mistakes.items():
        assert status == 2 and out == "", says
        assert err.startswith("error: ") and err.count("\n") == 1, err
        assert says in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
