"""`python scripts/table.py`: mistakes in one line, a dry run on real files."""

import json
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
        (["table=1", "--dry"], "error: --dry: no such option; there are name=value, --dry-run"),
        (["table=1", "fast"], "error: fast: no such option"),
        (["table=1", "profile=huge"], "error: profile=huge: there is no such option"),
        (["table=1", "jobs=0"], "error: jobs=0: expected a whole number of models at a time"),
        (["table=1", "jobs=two"], "error: jobs=two: expected a whole number"),
        (["table=1", "jobs=-1"], "error: jobs=-1: expected a whole number"),
        (["table=7", "jobs=2"], "error: jobs=2: table 7 is timed"),
        (["table=all"], "error: table=all: for --dry-run only; `make reproduce-all`"),
        (["table=all", "--dry-run", "jobs=0"], "error: jobs=0: expected"),
        (["--help", "profile=huge"], "error: profile=huge: there is no such option"),
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


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_shows_words_options_and_an_example(word):
    done = table("table=6", "profile=demo", "profile.max_seeds=2", word)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("One table of the paper: python scripts/table.py table=1")
    assert [line.split()[0] for line in lines[3:8]] == [
        "table=N",
        "profile=paper",
        "jobs=1",
        "launcher=local",
        "--dry-run",
    ]
    assert {"  profile.max_seeds=2", "  trainer.max_steps=null", "  wandb.mode=auto"} <= set(lines)
    assert not [line for line in lines if line.startswith(("  encoder", "  seed", "  prepare"))]
    assert lines[-1] == "Example: python scripts/table.py table=6 profile=demo jobs=2"


def test_help_for_a_timed_table_shows_how_it_is_timed():
    done = table("table=7", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  repeats=7" in done.stdout.splitlines()
    assert "trainer." not in done.stdout


@pytest.mark.timeout(900)
def test_two_at_a_time_make_the_table_that_one_makes(tmp_path):
    found = {}
    for jobs in ("1", "2"):
        results = tmp_path / jobs / "results"
        words = [f"paths.results={results}", f"paths.cache={tmp_path / jobs / 'cache'}"]
        words += ["profile=demo", "trainer.max_steps=6"]
        done = table("table=4", f"jobs={jobs}", *words)
        assert done.returncode == 0, done.stderr
        records = [json.loads(path.read_text()) for path in results.glob("runs/*/record.json")]
        weights = results.glob("runs/*/model/*.safetensors")
        found[jobs] = (
            (results / "demo" / "table_4.csv").read_text().replace(f"/{jobs}/", "/"),
            {record["key"]: record["scores"] for record in records},
            {path.parents[1].name: path.read_bytes() for path in weights},
        )
        # One line as each model begins, and with two at a time one as it ends.
        begun = [line for line in done.stderr.splitlines() if line.startswith("table 4 [")]
        assert len([line for line in begun if " at work" in line]) == (
            len(begun) // 2 if jobs == "2" else 0
        )
    assert found["1"][2] and found["1"] == found["2"]
