"""``--help`` of scripts without options of Hydra: in words, with a command that works."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "name", ["download", "verify_data", "verify_released", "gpu_check", "report"]
)
def test_help_says_what_a_script_does_and_how_it_is_called(name, monkeypatch, capsys):
    path = ROOT / "scripts" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    runpy.run_path(str(path), run_name="__main__")
    said = capsys.readouterr()
    assert f"python scripts/{name}.py" in said.out and said.err == ""
