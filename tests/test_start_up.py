"""Commands that look a result up import no torch, which alone takes seconds."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from sbert_repro.compose import compose, prepare

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "pytorch_lightning", "sklearn", "scipy", "matplotlib", "wandb")
LOOKED_UP = f"""
import runpy, sys
script, *words = sys.argv[1:]
sys.argv[:] = [script, *words]
try:
    runpy.run_path(script, run_name="__main__")
finally:
    print("imported:", *sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Options that keep everything of a command in one folder, which has the demo's models."""
    folder = tmp_path_factory.mktemp("start-up")
    words = [f"paths.{name}={folder / name}" for name in ("results", "cache")]
    prepare(compose(["profile=demo", *words]))
    return words


def looked_up(script, *words):
    """Runs a script; returns what it printed and what of `HEAVY` it imported."""
    done = subprocess.run(
        [sys.executable, "-c", LOOKED_UP, str(ROOT / script), *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"WANDB_MODE": "disabled"},
    )
    said, _, imported = done.stderr.rpartition("imported:")
    return done.stdout, said, imported


def test_a_finished_run_is_said_to_be_found_without_torch(folders, monkeypatch, capsys):
    words = ["pooling=max", "loss=regression", "profile=demo", "trainer.max_steps=4", *folders]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    first = capsys.readouterr().out
    again, said, imported = looked_up("train.py", *words)
    assert again == first and again.splitlines()[-1].startswith("run ")
    assert "not run again" in said
    assert imported.split() == []


def test_a_dry_run_imports_no_torch(folders):
    words = ["table=6", "profile=demo", *folders, "--dry-run"]
    out, _, imported = looked_up("scripts/table.py", *words)
    assert "Left to do: " in out
    assert imported.split() == []
