"""`python scripts/table.py`: mistakes in one line, a dry run on real files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def table(*words, **variables):
    command = [sys.executable, str(ROOT / "scripts" / "table.py"), *words]
    environment = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["table=99"], "error: table=99: there is no such table; there are: 1, 2, "),
        ([], "error: table=: there is no such table; there are: 1, 2, "),
        (["table=1", "launcher=ray"], "error: launcher=ray: there is no such launcher"),
        (["table=1", "--dry"], "error: --dry: no such option; there are name=value and --dry-run"),
        (["table=1", "fast"], "error: fast: no such option"),
        (["table=1", "profile=huge"], "error: profile=huge: there is no such option"),
        (["table=1", "seed=3"], "error: seed=3: a table has its own seeds"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, said):
    done = table(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_dry_run_without_weights_writes_nothing(tmp_path):
    words = [f"paths.{name}={tmp_path / name}" for name in ("data", "models", "results", "cache")]
    done = table("table=6", "profile=paper", "--dry-run", *words, HF_HOME=str(tmp_path / "hub"))
    assert done.returncode == 0, done.stderr
    assert "needs (1)" in done.stdout
    assert "model google-bert/bert-base-uncased: no such folder" in done.stdout
    assert "Cells, seed by seed: 130 cannot be run" in done.stdout
    assert "Left to do: 120 trainings, 130 scores" in done.stdout
    assert "there is no estimate" in done.stdout
    assert list((tmp_path).glob("[!h]*")) == []
