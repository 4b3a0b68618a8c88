"""Whole tables of the demo in processes of their own: the long form of the fault tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).parent / "program.py"
TABLE = (
    "table=2 profile=demo profile.max_seeds=2 trainer.max_steps=6 trainer.save_every=2 "
    "trainer.evaluate_every=3 trainer.progress=false"
).split()


class Folder:
    """Where one history of a table lies: its results, its caches, and notes of what was begun."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes = root / "notes"
        root.mkdir()

    def start(self, kill_after: int = 0, **variables: str) -> subprocess.Popen:
        """`scripts/table.py` of the small table, killed before its n-th change of the disk."""
        command = [sys.executable, str(PROGRAM), str(self.notes), str(kill_after)]
        command += [str(ROOT / "scripts" / "table.py"), *TABLE]
        command += [f"paths.results={self.root / 'results'}", f"paths.cache={self.root / 'cache'}"]
        environment = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1", **variables}
        return subprocess.Popen(
            command,
            cwd=ROOT,
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

    def outcome(self) -> dict[str, bytes]:
        """Weights, scores and the table, which must not depend on what happened on the way."""
        results = self.root / "results"
        paths = [*results.glob("runs/*/model/*"), *results.glob("runs/*/metrics.json")]
        paths.append(results / "demo" / "table_2.csv")
        return {str(path.relative_to(results)): path.read_bytes() for path in paths}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The table as one process makes it that nothing happens to."""
    folder = Folder(tmp_path_factory.mktemp("faults") / "undisturbed")
    assert folder.start().wait() == 0, folder.said()
    return folder


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "disturbed")
