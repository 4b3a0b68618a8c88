"""No secret of the user's in a file, a log or what is sent to W&B."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sbert_repro.redaction import HIDDEN, is_secret, masked, without_secrets

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def no_other_secrets(monkeypatch):
    for name in [name for name in os.environ if is_secret(name)]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "name", ["WANDB_API_KEY", "HF_TOKEN", "hf_token", "Api_Key", "password", "a.secret", "auth"]
)
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["tokenisation", "tokens", "author", "key", "authors_v023", "TOKENS"]
)
def test_names_that_only_look_like_it(name):
    assert not is_secret(name)


def test_entries_are_taken_out_and_values_hidden_at_any_depth(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    found = without_secrets(
        {"lr": 1, "hf_token": "x", "a": [{"Api_Key": "x", "b": 2}], "c": {"path": "/hf_abcdefgh/m"}}
    )
    assert found == {"lr": 1, "a": [{"b": 2}], "c": {"path": f"/{HIDDEN}/m"}}


def test_values_of_the_environment_and_passwords_in_urls_are_hidden(monkeypatch):
    monkeypatch.setenv("SOME_SECRET", "0123456789")
    monkeypatch.setenv("LONGER_TOKEN", "01234567890123")
    monkeypatch.setenv("SHORT_TOKEN", "1")
    assert masked("1 0123456789 01234567890123") == f"1 {HIDDEN} {HIDDEN}"
    assert masked("https://me:word@host/x") == f"https://{HIDDEN}@host/x"
    assert masked("https://host:80/x") == "https://host:80/x"


PLANTED = {
    "WANDB_API_KEY": "5ec4e7" * 6 + "aaaa",
    "HF_TOKEN": "hf_" + "PLANTEDtoken" * 3,
    "CLUSTER_PASSWORD": "a planted password",
}


def command(folder, script, *words):
    environment = {**os.environ, **PLANTED, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [
            *(sys.executable, str(ROOT / script), "profile=demo", "trainer.max_steps=2"),
            *(f"paths.results={folder / 'results'}", f"paths.cache={folder / 'cache'}", *words),
        ],
        cwd=folder,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        check=False,
    )


def holders(folder, *more):
    """Files, and what was printed, that hold one of the planted secrets."""
    places = {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    places |= {f"printed {number}": text for number, text in enumerate(more)}
    typed = "typed-secret"
    secrets = [*PLANTED.values(), typed]
    return [name for name, text in places.items() if any(s.encode() in text for s in secrets)]


def test_a_run_of_the_demo_writes_no_planted_secret(tmp_path):
    words = [
        f"encoder.label=a model of {PLANTED['HF_TOKEN']}",
        "+profile.stand_ins.api_key=typed-secret",
        "loss=regression",
    ]
    done = command(tmp_path, "train.py", *words)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("results/wandb/offline-run-*/*.wandb")), "W&B was on"
    assert list(tmp_path.glob("results/runs/*/config.yaml"))
    assert holders(tmp_path, done.stdout, done.stderr) == []
    refused = command(tmp_path, "train.py", "loss=regression", f"data={PLANTED['HF_TOKEN']}")
    assert refused.returncode == 2
    assert holders(tmp_path, refused.stdout, refused.stderr) == []


@pytest.mark.slow
def test_a_table_and_a_sweep_write_no_planted_secret(tmp_path):
    label = f"encoder.label=a model of {PLANTED['HF_TOKEN']}"
    table = command(tmp_path, "scripts/table.py", "table=4", "profile.max_seeds=1", label)
    assert table.returncode == 0, table.stderr
    sweep = command(tmp_path, "train.py", "loss=regression", "seed=1,2", label, "-m")
    assert sweep.returncode == 0, sweep.stderr
    printed = (table.stdout, table.stderr, sweep.stdout, sweep.stderr)
    assert holders(tmp_path, *printed) == []
