"""The benchmark commands, typed in an empty folder; no test says how fast anything is."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from sbert_repro.benchmarks import peers

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(autouse=True)
def few_to_calibrate_on(monkeypatch):
    """OpenVINO quantises by few sentences: here its speed and its scores mean nothing."""
    monkeypatch.setattr(peers, "_CALIBRATION", 3)


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Runs `python scripts/<name>.py <words>` in this process."""
    monkeypatch.chdir(tmp_path)

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")

    return run


@pytest.fixture
def figures(typed):
    """Runs `benchmark.py` on the demo and returns the figures it wrote."""

    def run(*words):
        typed("benchmark", "profile=demo", "progress=false", "output=f.json", *words)
        return json.loads(Path("f.json").read_text(encoding="utf-8"))

    return run
