"""The notebooks run from top to bottom on what the commands write, and carry no outputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager

from sbert_repro.report import results

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OF_RESULTS = [path for path in NOTEBOOKS if not path.name.startswith("04")]
FILLED = [p for p in results.PROFILES if any((RESULTS / p).glob("table_*.csv"))]


def run(name: str, folder: Path) -> str:
    """Execute a notebook in a folder and return all that it printed or showed."""
    (path,) = (ROOT / "notebooks").glob(f"{name}*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    # Files in place of sockets: no test opens a port.
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(folder / "kernel"))
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, km=kernel, timeout=200, resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return "\n".join(
        output.get("text", "") or "\n".join(map(str, output.get("data", {}).values()))
        for output in outputs
    )


def test_the_four_notebooks_are_there():
    names = ["01_read_results", "02_compare_runs", "03_throughput", "04_use_a_model"]
    assert [path.stem for path in NOTEBOOKS] == names


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and not cell["execution_count"] for cell in code)


@pytest.mark.parametrize("profile", FILLED)
@pytest.mark.parametrize("notebook", OF_RESULTS, ids=lambda path: path.stem)
def test_runs_on_the_results_at_hand(notebook, profile, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / profile).symlink_to(RESULTS / profile)
    shown = run(notebook.stem, tmp_path)
    assert f"profile {profile} of" in shown and "<svg" in shown


def test_one_table_is_enough(tmp_path):
    folder = tmp_path / "results" / "lite"
    folder.mkdir(parents=True)
    shutil.copy(RESULTS / "lite" / "table_6.csv", folder)
    assert "MEAN" in run("01", tmp_path) and "MEAN" in run("02", tmp_path)
    assert "not measured yet: make headline PROFILE=lite" in run("03", tmp_path)


def test_a_model_is_used(tmp_path, minilm, monkeypatch):
    monkeypatch.setenv("MODEL", str(minilm))
    shown = run("04", tmp_path)
    assert shown.index("playing a guitar") < shown.index("parliament") and "<svg" in shown
