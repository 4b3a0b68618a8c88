"""A table from end to end on the demo's made-up data: interrupted, resumed, done once."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def start(folder, *words):
    command = [
        *(sys.executable, str(ROOT / "scripts" / "table.py"), "table=2", "profile=demo"),
        *(f"paths.results={folder / 'results'}", f"paths.cache={folder / 'cache'}"),
        *("trainer.max_steps=10", "trainer.save_every=2", "trainer.progress=false", *words),
    ]
    environment = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def interrupted(folder):
    """Start, and press Ctrl-C once the first training has kept something to go on from."""
    process = start(folder)
    deadline = time.monotonic() + 600
    while not list(folder.glob("results/runs/*/checkpoints/last.ckpt")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    return process, *process.communicate()


def test_a_table_goes_on_after_an_interruption_and_is_done_once(tmp_path):
    process, _, said = interrupted(tmp_path)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted: the same command goes on")
    assert "Traceback" not in said
    path = tmp_path / "results" / "demo" / "table_2.csv"
    early = list(csv.DictReader(path.open(encoding="utf-8")))

    process = start(tmp_path)
    out, said = process.communicate()
    assert process.returncode == 0, said
    found = list(csv.DictReader(path.open(encoding="utf-8")))
    assert len(found) == len(early) == 18
    ran = {line["row"]: line for line in found}
    for row in ("SBERT-NLI-base", "SBERT-STSb-base", "SBERT-NLI-STSb-base"):
        assert float(ran[row]["ours"]) <= 100
        assert ran[row]["verdict"] == "stand-in"
    nli, both = (ran[row]["run_keys"].split() for row in ("SBERT-NLI-base", "SBERT-NLI-STSb-base"))
    assert both[0] == nli[0], "the first stage is the other row's run"
    kept = json.loads((path.parent / "records" / "table_2.json").read_text(encoding="utf-8"))
    assert {key for line in found for key in line["run_keys"].split()} == kept["records"].keys()

    before = {p: p.read_bytes() for p in path.parent.rglob("table_2.*")}
    process = start(tmp_path)
    again, said = process.communicate()
    assert process.returncode == 0
    assert again == out
    assert not [line for line in said.splitlines() if line.startswith("table 2 [")]
    assert {p: p.read_bytes() for p in path.parent.rglob("table_2.*")} == before
