"""Table 7: whose time is found again, and what stands in its files."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch

from sbert_repro.errors import UserError
from sbert_repro.evaluation.speed import record
from sbert_repro.tables import render, spec, timed

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("repeats=0", "repeats=0: expected 1"),
        ("sentences=1", "expected at least 2"),
        ("encoder=roberta_base", "encoder=roberta_base: each row .* change nothing"),
        ("encoder.engine=reference", "encoder.engine=reference: each row"),
        ("pooling=max", "pooling=max: each row"),
    ],
)
def test_what_measures_nothing_or_is_not_read_is_refused(word, says):
    with pytest.raises(UserError, match=says):
        record.composed("demo", [word])


def test_a_speed_is_kept_by_machine_and_measured_again_when_asked(tmp_path, monkeypatch):
    def at(*words):
        return record.composed("demo", [f"paths.results={tmp_path}", *words])

    counted = iter(range(9))

    def figures():
        return {"notes": [], "rows": {}, "number": next(counted)}

    first = record.kept({"what": 1}, at(), figures)
    assert record.kept({"what": 1}, at(), figures) == first
    assert {"cpu", "cores"} <= set(first["settings"]["hardware"]) and first["kind"] == "speed"
    again = record.kept({"what": 1}, at("again=true"), figures)
    assert again["scores"]["number"] == 1 and again["key"] != first["key"]
    assert record.kept({"what": 1}, at(), figures) == again
    monkeypatch.setattr(record, "hardware", lambda: {"cpu": "another", "cores": 1})
    assert record.kept({"what": 1}, at(), figures)["scores"]["number"] == 2
    monkeypatch.setattr(record, "code_sha256", lambda: "a faster engine")
    assert record.kept({"what": 1}, at(), figures)["scores"]["number"] == 3


@pytest.mark.parametrize("name", record.TIMED_CODE)
def test_a_time_is_that_of_the_code_that_was_timed(tmp_path, name):
    source = Path(record.__file__).parents[2]
    package = shutil.copytree(source, tmp_path / "p", ignore=shutil.ignore_patterns("__pycache__"))
    assert record.code_sha256(package) == record.code_sha256()
    place = package / name
    file = place if place.is_file() else max(place.rglob("*.py"))
    with file.open("a", encoding="utf-8") as stream:
        stream.write("# faster\n")
    assert record.code_sha256(package) != record.code_sha256()


def test_code_that_is_not_timed_may_change(tmp_path):
    source = Path(record.__file__).parents[2]
    package = shutil.copytree(source, tmp_path / "p", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "tables" / "timed.py").write_text("")
    assert record.code_sha256(package) == record.code_sha256()


def test_the_banner_of_a_speed_says_what_was_timed_and_where():
    """The lite profile's says MiniLM, which no row of Table 7 is."""
    here = {"hardware": {"cpu": "Some CPU", "cores": 2, "ram_gib": 4.0}}
    line = render.timed_banner("", here, ["GloVe", "random weights, shape of bert", "GloVe"])
    assert line == (
        "SPEED ONLY: no number here is a score. Measured on Some CPU, 2 cores, 4 GiB, not on "
        "the paper's hardware. What was timed: GloVe; random weights, shape of bert."
    )
    assert record.composed("lite", []).profile.timed_banner == ""
    assert "DEMO. SPEED ONLY" in render.timed_banner(" DEMO.\n", here, [])


def made(table):
    """A record of a table that nobody measured."""
    figures = {"sentences_per_second": 2.0, "lowest": 1.0, "highest": 3.0, "gflops": None}
    rows = {row.name: {**figures, "label": f"E{n}"} for n, row in enumerate(table.rows)}
    scores = {"rows": rows, "ceiling_gflops": {"fp32": 1.0, "bf16": 2.0}, "notes": ["few"]}
    scores |= {"device": "CPU", "repeats": 5, "threads": 1}
    versions = dict.fromkeys(("python", "torch", "transformers", "numpy"), "1")
    return {"scores": scores, "key": "0123456789abcdef", "versions": versions, "hardware": {}}


def test_no_secret_is_in_any_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "planted-in-a-test")
    table = spec.load("7")
    record = made(table) | {"wandb_id": "planted-in-a-test"}
    sheet = timed.TimedSheet(table, "lite", "", record, ("output=planted-in-a-test",))
    assert "planted" in timed.as_markdown(sheet), "or nothing is shown here"
    files = timed.write(sheet, tmp_path)
    assert len(files) == 3
    for path in files:
        assert "planted" not in (text := path.read_text()) and "<hidden>" in text, path


def test_what_was_measured_and_what_was_read_again_give_the_same_bytes():
    """In a record read from the disk the keys are sorted."""
    table = spec.load("7")
    fresh = made(table)
    again = json.loads(json.dumps(fresh, sort_keys=True))
    text, same = (
        timed.as_markdown(timed.TimedSheet(table, "lite", "", each, ())) for each in (fresh, again)
    )
    assert text == same and "1 in fp32, 2 in bf16" in text and "timed: E0; E1; E2" in text


def test_table_7_from_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["table=7", "profile=demo", "repeats=2", "sentences=6"]
    monkeypatch.setattr(sys, "argv", ["table.py", *words])
    runpy.run_path(str(ROOT / "scripts" / "table.py"), run_name="__main__")
    assert "written: results/demo/table_7.md" in capsys.readouterr().out
    lines = list(csv.DictReader(Path("results/demo/table_7.csv").open(encoding="utf-8")))
    table = spec.load("7")
    assert [(c["row"], c["column"]) for c in lines] == [
        (row.name, column.name) for row in table.rows for column in table.columns
    ]
    by_row = {c["row"]: c for c in lines if c["column"] == ("GPU" if torch.cuda.is_available() else "CPU")}  # fmt: skip  # noqa: E501
    done = by_row["SBERT-base - smart batching"]
    low, ours, high = (float(done[name]) for name in ("ci_low", "ours", "ci_high"))
    assert low <= ours <= high and done["n"] == "2" and done["verdict"] == "other machine"
    assert float(done["paper"]) in (83, 2042)
    absent = by_row["ONNX Runtime, as sentence-transformers batches"]
    assert absent["ours"] or "EXTRAS=peers" in absent["note"]
    text = Path("results/demo/table_7.md").read_text(encoding="utf-8")
    assert "DEMO" in text and "threads" in text and "product ceiling in bf16" in text
    stored = json.loads((Path("results/runs") / done["run_keys"] / "record.json").read_text())
    assert len(stored["scores"]["rows"]["SBERT-base"]["seconds"]) == 2
    beside = json.loads(Path("results/demo/records/table_7.json").read_text(encoding="utf-8"))
    assert beside["records"] == {done["run_keys"]: stored}
    first = Path("results/demo/table_7.csv").read_bytes()
    runpy.run_path(str(ROOT / "scripts" / "table.py"), run_name="__main__")
    assert Path("results/demo/table_7.csv").read_bytes() == first
