"""No secret of the user's in a file, a log or what is sent to W&B."""

import os
import runpy
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
    "name",
    "WANDB_API_KEY HF_TOKEN hf_token Api_Key password a.secret auth "
    "OPENAI_KEY PAT GITHUB_PAT PASSPHRASE GPG_PASSPHRASE DB_PWD".split(),
)
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["tokenisation", "tokens", "author", "key", "authors_v023", "TOKENS", "PWD", "PATH", "PATTERN"],
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
    assert masked("a hf_abcdefghijklmnopqrst b") == f"a {HIDDEN} b", "of nobody's environment"
    assert masked("hf_token sk-learn ghp_x") == "hf_token sk-learn ghp_x"


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
    done = command(tmp_path, "train.py", "loss=regression")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("results/wandb/offline-run-*/*.wandb")), "W&B was on"
    assert list(tmp_path.glob("results/runs/*/config.yaml"))
    assert holders(tmp_path, done.stdout, done.stderr) == []


TYPED = [
    ("train.py", f"encoder.label=a model of {PLANTED['HF_TOKEN']}"),
    ("train.py", f"wandb.project={PLANTED['WANDB_API_KEY']}"),
    ("train.py", f"data={PLANTED['HF_TOKEN']}"),
    ("train.py", "+profile.stand_ins.api_key=typed-secret"),
    ("train.py", "encoder.password='typed-secret"),
    ("train.py", f"paths.results=out/{PLANTED['HF_TOKEN']}", "--cfg=job"),
    ("train.py", f"paths.results=out/{PLANTED['HF_TOKEN']}", "-m"),
    ("train.py", f"hydra.run.dir={PLANTED['HF_TOKEN']}", "hydra.output_subdir=x"),
    ("train.py", "encoder.path=https://me:typed-secret@host/x"),
    ("scripts/table.py", "table=4", f"wandb.project={PLANTED['WANDB_API_KEY']}"),
    ("scripts/table.py", "table=4", f"hf_token={PLANTED['HF_TOKEN']}", "--help"),
    ("scripts/headline.py", f"output={PLANTED['CLUSTER_PASSWORD']}"),
    ("scripts/evaluate.py", "task=stsb", f"encoder.label={PLANTED['HF_TOKEN']}", "output=f.json"),
    ("scripts/export.py", f"run={PLANTED['HF_TOKEN']}", "output=o"),
]


@pytest.mark.parametrize("words", TYPED, ids=lambda words: f"{words[0]}-{words[-1]}"[:40])
def test_a_secret_that_is_typed_is_refused_by_every_command_before_it_is_written(
    words, tmp_path, monkeypatch, capfd
):
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(words))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    said = capfd.readouterr()
    assert stop.value.code == 2 and said.err.startswith("error: ")
    assert "leave it in the environment" in said.err and said.err.count("\n") == 1
    assert holders(tmp_path, said.out.encode(), said.err.encode()) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_table_and_a_sweep_write_no_planted_secret(tmp_path):
    table = command(tmp_path, "scripts/table.py", "table=4", "profile.max_seeds=1")
    assert table.returncode == 0, table.stderr
    sweep = command(tmp_path, "train.py", "loss=regression", "seed=1,2", "-m")
    assert sweep.returncode == 0, sweep.stderr
    printed = (table.stdout, table.stderr, sweep.stdout, sweep.stderr)
    assert holders(tmp_path, *printed) == []
