"""What `make verify-data` says of good, partial, missing and broken files."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sbert_repro.data.download import State, states

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "verify_data.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with a complete STS16, a part of STSb's dev pairs and nothing else."""
    pair = {"sentence1": "a", "sentence2": "b", "score": 2.0}
    for name, split, row, rows in (
        ("sts16", "test", pair | {"subset": "x"}, 1_186),
        ("stsb", "dev", pair, 7),
    ):
        (tmp_path / name).mkdir()
        pq.write_table(pa.Table.from_pylist([row] * rows), tmp_path / name / f"{split}.parquet")
    return tmp_path


def found(root: Path) -> dict[str, State]:
    return {f"{state.data_set} {state.split}": state for state in states(root)}


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    monkeypatch.setenv("COLUMNS", "100")
    try:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_complete_partial_missing(root: Path) -> None:
    state = found(root)
    assert state["sts16 test"].status == "complete"
    assert (state["stsb dev"].status, state["stsb dev"].found) == ("partial", 7)
    assert (state["nli train"].status, state["nli train"].found) == ("missing", None)
    assert len(state["sts16 test"].sha256) == 64


def test_broken_files_say_why(root: Path) -> None:
    path = root / "stsb" / "dev.parquet"
    path.write_bytes(path.read_bytes()[:100])
    state = found(root)["stsb dev"]
    assert state.status == "unreadable"
    assert f"{path} is no readable parquet file" in state.problem


def test_a_file_that_is_not_the_one_downloaded(root: Path) -> None:
    written = {"splits": {"test": {"sha256": "0" * 64}}}
    (root / "sts16" / "SOURCE.json").write_text(json.dumps(written), encoding="utf-8")
    state = found(root)["sts16 test"]
    assert state.status == "changed"
    assert "delete it and run `make data`" in state.problem


def test_the_command_shows_each_split(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, f"paths.data={root}") == 0
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if "sts16" in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")][:4] == [
        "sts16",
        "test",
        "1,186",
        "1,186",
    ]
    assert "complete" in row
    assert "942,069" in shown


def test_the_command_reads_the_environment(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SBERT_DATA", str(root))
    assert command(monkeypatch) == 0
    assert "partial" in capsys.readouterr().out


def test_the_command_fails_on_a_broken_file(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "stsb" / "dev.parquet").write_bytes(b"")
    assert command(monkeypatch, f"paths.data={root}") == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert "unreadable" in shown.out


@pytest.mark.parametrize(
    ("word", "said"),
    [("paths.data=nowhere", "there is no data root nowhere"), ("root=x", "expected nothing but")],
)
def test_mistakes_on_the_command_line(
    word: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, word) == 2
    assert said in capsys.readouterr().err


def test_the_real_root_has_no_broken_file(data_root: Path) -> None:
    assert [state.problem for state in states(data_root) if state.problem] == []
