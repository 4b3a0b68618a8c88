"""Four commands, each killed before its n-th change of the disk, then typed again: the same bits.

The commands run in forks of this process, which has imported everything already: a kill costs a
second. The kills are spread over a command's whole life, and each starts from a folder of its own.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import sys
import traceback
from pathlib import Path

import pytest

import sbert_repro.evaluation.run
import sbert_repro.inference.stream
import sbert_repro.tables.launch
import sbert_repro.training.run  # noqa: F401 - imported here, once, and not in each fork
from sbert_repro.data.schema import dataset

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = runpy.run_path(str(Path(__file__).parent / "program.py"))
STEPS = "profile=demo trainer.max_steps=4 trainer.save_every=1 trainer.evaluate_every=2".split()
PLACES = ["paths.results=results", "paths.cache=cache", "wandb.mode=disabled"]
COMMANDS = {
    "demo": ["train.py", "loss=regression", "evaluate=[]", *STEPS, *PLACES],
    "train": ["train.py", "experiment=nli_then_stsb", *STEPS, *PLACES],
    "table": ["scripts/table.py", "table=4", "profile.max_seeds=2", *STEPS, *PLACES],
    "encode": [
        *("scripts/encode.py", "profile=demo", "encoder=demo_bert", "input=s.txt"),
        *("output=out/e.parquet", "block=3", "paths.cache=cache"),
    ],
    "data": ["scripts/download.py", "sets=[afs]", "paths.data=data", "allow_partial=true"],
}
KILLS = {"demo": 8, "train": 18, "table": 18, "encode": 14, "data": 8}
AFS = "".join(
    f"{number},{','.join('x' * 8)},a man says {number},a woman says {number}\n"
    for number in ("score", *range(6))
)
"""Eleven columns, of which the first and the last two matter."""
_whole: dict[str, tuple[Path, int]] = {}


def prepared(command: str, folder: Path, demo: Path | None) -> Path:
    """What lies there before the command is typed for the first time."""
    folder.mkdir()
    if command == "encode":
        (folder / "s.txt").write_text("".join(f"a dog eats {n} birds\n" for n in range(20)))
    if command == "data":
        (folder / "data" / "afs").mkdir(parents=True)
        for source in dataset("afs").sources:
            (folder / "data" / "afs" / source.part).write_text(AFS)
    if demo is not None and command not in ("demo", "data"):
        shutil.copytree(demo / "cache" / "demo", folder / "cache" / "demo")
    return folder


def run(command: str, folder: Path, kill_after: int) -> tuple[int, int]:
    """Type a command in a fork; returns its status and how often it changed the disk."""
    words = COMMANDS[command]
    if (child := os.fork()) == 0:
        status = 1
        try:
            os.chdir(folder)
            said = os.open(folder.parent / f"{folder.name}.said", os.O_WRONLY | os.O_CREAT)
            os.lseek(said, 0, os.SEEK_END)
            os.dup2(said, 1), os.dup2(said, 2)
            # What pytest has in their place would keep what is said to itself.
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            count = PROGRAM["watch"](str(folder), kill_after)
            sys.argv = list(words)
            try:
                runpy.run_path(str(ROOT / words[0]), run_name="__main__")
                status = 0
            except SystemExit as end:
                status = int(end.code or 0)
            (folder.parent / f"{folder.name}.count").write_text(str(count[0]))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    counted = folder.parent / f"{folder.name}.count"
    return status, int(counted.read_text()) if counted.exists() else 0


def said(folder: Path) -> str:
    return (folder.parent / f"{folder.name}.said").read_text()


def outcome(folder: Path) -> dict[str, object]:
    """Weights, scores, tables, vectors and data; not the times in records and below tables."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.name == "record.json":
            found[name] = json.loads(path.read_text())["scores"]
        elif path.parent.name == "records":
            records = json.loads(path.read_text())["records"]
            found[name] = {key: record["scores"] for key, record in records.items()}
        elif path.name.startswith("table_") and path.suffix == ".md":
            lines = path.read_text().splitlines()
            found[name] = [line for line in lines if not line.startswith("- Time: ")]
        elif path.is_file() and not name.startswith("cache/") and ".locks" not in name:
            # The command in a table names no folder, and neither does anything else.
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """A function: the folder of a command that nobody disturbs, and how often it changes it."""

    def of(command: str) -> tuple[Path, int]:
        if command not in _whole:
            demo = None if command in ("demo", "data") else of("demo")[0]
            root = tmp_path_factory.mktemp("kills")
            folder = prepared(command, root / command, demo)
            status, changes = run(command, folder, 0)
            assert status == 0, said(folder)
            _whole[command] = folder, changes
        return _whole[command]

    return of


CASES = [(command, number) for command, kills in KILLS.items() for number in range(kills)]


@pytest.mark.parametrize(("command", "number"), CASES)
def test_killed_there_it_ends_as_if_nothing_had_happened(undisturbed, tmp_path, command, number):
    whole, changes = undisturbed(command)
    demo = None if command in ("demo", "data") else undisturbed("demo")[0]
    folder = prepared(command, tmp_path / command, demo)
    at = 1 + number * (changes - 1) // (KILLS[command] - 1)
    assert run(command, folder, at)[0] == -signal.SIGKILL, said(folder)
    assert run(command, folder, 0)[0] == 0, said(folder)
    assert outcome(folder) == outcome(whole)
    assert "Traceback" not in said(folder) and ".broken" not in said(folder)
    left = [p.name for p in folder.rglob(".*") if p.name.endswith(".unfinished")]
    assert left == [], "nothing half-written stays"


def test_there_are_enough_of_them():
    assert len(CASES) >= 50
