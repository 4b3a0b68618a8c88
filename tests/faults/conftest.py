"""Whole tables of the demo in processes of their own: the long form of the fault tests."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).parent / "program.py"
SMALL = (
    "profile=demo trainer.max_steps=6 trainer.save_every=2 trainer.evaluate_every=3 "
    "trainer.progress=false"
).split()
TABLE = ("scripts/table.py", "table=4", "profile.max_seeds=2", *SMALL)
STAGES = ("train.py", "experiment=nli_then_stsb", *SMALL)


class Folder:
    """Where one history of a command lies: its results, its caches, notes of what was begun."""

    def __init__(self, root: Path, words: tuple[str, ...]) -> None:
        self.root, self.words = root, words
        self.within: tuple[str, ...] = ()
        self.notes = root / "notes"
        root.mkdir()

    def start(self, kill_after: int = 0, **variables: str) -> subprocess.Popen:
        """The command, killed before its n-th change of the disk."""
        command = [*self.within, sys.executable, str(PROGRAM), str(self.notes), str(kill_after)]
        command += self.words
        command += [f"paths.results={self.root / 'results'}", f"paths.cache={self.root / 'cache'}"]
        environment = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1", **variables}
        return subprocess.Popen(
            command,
            cwd=ROOT,  # the scripts are named from here
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=(self.root / "said").open("a"),
        )

    def begun(self) -> list[tuple[str, str, int]]:
        """What was begun: train or evaluate, its key, by which process."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        found = [line.split() for line in lines if not line.startswith("changes")]
        return [(kind, key, int(process)) for kind, key, process in found]

    def said(self) -> str:
        """All that its processes wrote to stderr."""
        return (self.root / "said").read_text()

    def outcome(self) -> dict[str, object]:
        """Weights, scores and the table, which must not depend on what happened on the way."""
        results = self.root / "results"
        paths = [p for p in results.glob("runs/*/model/**/*") if p.is_file()]
        paths += results.glob("runs/*/metrics.json")
        found = {str(path.relative_to(results)): path.read_bytes() for path in paths}
        for path in results.glob("demo/**/table_*.csv"):
            lines = csv.DictReader(path.open(encoding="utf-8"))
            # Why a row cannot be run names the folder, which differs.
            found[path.name] = [line for line in lines if line["run_keys"]]
        return found


def made(tmp_path_factory, words):
    folder = Folder(tmp_path_factory.mktemp("faults") / "undisturbed", words)
    assert folder.start().wait() == 0, folder.said()
    return folder


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """A table of two seeds as one process makes it that nothing happens to."""
    return made(tmp_path_factory, TABLE)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "disturbed", TABLE)


@pytest.fixture(scope="session")
def undisturbed_stages(tmp_path_factory):
    """A run of two stages that nothing happens to."""
    return made(tmp_path_factory, STAGES)


@pytest.fixture
def stages(tmp_path):
    return Folder(tmp_path / "disturbed", STAGES)
