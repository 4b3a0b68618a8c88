"""The notebooks run from top to bottom on what the tables write, and carry no outputs."""

from __future__ import annotations

import ast
import csv
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
HEADER = (
    "table,row,column,metric,paper,ours,sd,n,ci_low,ci_high,delta,verdict,note,run_keys,command"
)
FILLED = [p for p in ("paper", "lite", "demo") if any((RESULTS / p).glob("table_*.csv"))]


def code_of(notebook: Path) -> list[dict]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def run(notebook: Path) -> tuple[dict, list]:
    """Runs the cells in one name space: (the names, what was displayed)."""
    shown: list = []
    names = {"display": shown.append}
    for cell in code_of(notebook):
        body = ast.parse("".join(cell["source"])).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), notebook.name, "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), notebook.name, "eval"), names))
    return names, shown


@pytest.fixture(autouse=True)
def draw_into_memory(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "Agg")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A results folder: a cell that was run, one that was not, the first one's run again."""
    rows = [
        "6,MEAN,STSb,spearman,87.44,80.10,,1,78.0,82.0,-7.34,off,,abc,python train.py",
        "6,CLS,STSb,spearman,86.62,,,,,,,not run,encoder not available,,python train.py",
        "6,MEAN,STSb,spearman,70.00,80.10,,1,78.0,82.0,10.1,off,,abc,python train.py",
    ]
    folder = tmp_path / "results" / "lite"
    folder.mkdir(parents=True)
    (folder / "table_6.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")


def test_there_is_a_notebook():
    assert NOTEBOOKS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(notebook):
    assert all(cell["outputs"] == [] and not cell["execution_count"] for cell in code_of(notebook))


def test_cells_are_shown_as_ours_and_paper(small):
    names, shown = run(ROOT / "notebooks" / "01_read_results.ipynb")
    table = next(frame for frame in shown if frame.index.name == "Table 6")
    assert list(table.index) == ["MEAN", "CLS", "MEAN"]
    assert list(table["STSb"]) == ["80.10 (87.44)", "— (86.62)", "80.10 (70.00)"]
    assert names["missing"]["note"].tolist() == ["encoder not available"]
    assert len(names["measured"]) == 2


@pytest.mark.parametrize("profile", FILLED)
def test_runs_on_the_results_at_hand(profile, tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / profile).symlink_to(RESULTS / profile)
    monkeypatch.chdir(tmp_path)
    names, _ = run(ROOT / "notebooks" / "01_read_results.ipynb")
    assert names["PROFILE"] == profile
    files = sorted((RESULTS / profile).glob("table_*.csv"))
    assert files and next(csv.reader(files[0].open(encoding="utf-8"))) == HEADER.split(",")
    assert len(names["cells"]) == sum(
        len(list(csv.DictReader(path.open(encoding="utf-8")))) for path in files
    )


SPEEDS = [
    "7,SBERT-base,CPU,sentences_per_second,44,90.5,,5,80,95,46.5,other machine,,abc,python x",
    "7,SBERT-base,GPU,sentences_per_second,1378,,,,,,,not run,no GPU here,,python x",
    "7,packed engine,CPU,sentences_per_second,,230,,5,228,231,,other machine,,abc,python x",
]
POINTS = [
    "1000,encode,4.5,measured,",
    "10000,encode,45,measured,5.0",
    "10000,cross-encoder,990000,extrapolated,234000",
]


@pytest.mark.parametrize("files", [("table_7", "headline"), ("table_7",), ("headline",), ()])
def test_throughput_is_drawn_from_what_was_measured(files, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    folder = tmp_path / "results" / "lite"
    folder.mkdir(parents=True)
    rows = {"table_7": [HEADER, *SPEEDS], "headline": ["n,what,seconds,kind,paper", *POINTS]}
    for name in files:
        (folder / f"{name}.csv").write_text("\n".join(rows[name]) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    plt.close("all")
    names, shown = run(ROOT / "notebooks" / "03_throughput.ipynb")
    titles = [plt.figure(number).axes[0].get_title() for number in plt.get_fignums()]
    plt.close("all")
    wanted = {"table_7": "Table 7, profile lite", "headline": "Closest pair, profile lite"}
    assert titles == [wanted[name] for name in files]
    assert names["PROFILE"] == ("lite" if files else "none")
    assert shown[-1]["note"].tolist() == ["no GPU here"] if "table_7" in files else True
