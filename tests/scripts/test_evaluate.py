"""scripts/evaluate.py as it is typed: one table, one file, one line for each mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.timeout(900)  # each command imports torch
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
def evaluate(tmp_path, root, tiny_bert):
    def typed(*words, path=tiny_bert):
        command = [sys.executable, str(SCRIPT), "encoder=transformer", f"encoder.path={path}"]
        environment = {**os.environ, "SBERT_DATA": str(root), "COLUMNS": "80"}
        return subprocess.run(
            [*command, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return typed


def test_a_table_and_a_file(evaluate, tmp_path):
    words = ("pooling=mean", "task=stsb,sts12", "data.allow_partial=true", "output=out/e.json")
    done = evaluate(*words)
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "out" / "e.json").read_text())
    assert set(scores) == {"stsb", "sts12", "_meta"}
    assert f"{scores['stsb']['spearman']:.2f}" in done.stdout
    assert set(scores["sts12"]["subsets"]) == {"MSRpar", "MSRvid"}
    assert "STSb: 24 of 1,379 pairs" in done.stdout and scores["stsb"]["notes"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["e.json"]
    assert list((tmp_path / ".cache" / "vectors").rglob("*.npy"))


def test_mistakes_are_one_line_and_leave_nothing_behind(evaluate, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "file").write_text("")
    mistakes = {
        "not a model folder": evaluate("task=stsb", "output=e.json", path=empty),
        "sts13/test.parquet": evaluate("task=sts", "data.allow_partial=true", "output=e.json"),
        "cannot be written": evaluate("task=stsb", "output=file/e.json"),
    }
    for says, done in mistakes.items():
        assert done.returncode == 2 and done.stdout == "", says
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        assert says in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
