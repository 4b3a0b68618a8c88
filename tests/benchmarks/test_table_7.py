"""Table 7: whose time is found again, and what stands in its files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import torch

from sbert_repro.compose import compose_speed
from sbert_repro.facts import fact, sentence
from sbert_repro.ledger import machine
from sbert_repro.tables import render, spec

ROOT = Path(__file__).resolve().parents[2]


def test_the_banner_of_a_speed_says_what_was_timed_and_where():
    """The lite profile's says MiniLM, which no row of Table 7 is."""
    here = {"hardware": {"cpu": "Some CPU", "cores": 2, "ram_gib": 4.0}}
    timed = ["GloVe", "random weights, shape of bert", "GloVe"]
    assert sentence(fact("speed_only", machine=machine(here), timed=timed)) == (
        "SPEED ONLY: no number here is a score. Measured on Some CPU, 2 cores, 4 GiB, not on the "
        "paper's hardware. What was timed: GloVe; random weights, shape of bert"
    )
    assert compose_speed("lite", []).profile.timed_banner == ""


def record_of(table):
    """A record of a table that nobody measured."""
    figures = {"sentences_per_second": 2.0, "lowest": 1.0, "highest": 3.0, "gflops": None}
    rows = {
        row.name: {**figures, "label": f"E{n}", "facts": []} for n, row in enumerate(table.rows)
    }
    rows["SBERT-base"] |= {"gflops": 101.2, "share": 0.476}
    scores = {"rows": rows, "ceiling_gflops": {"fp32": 1.0, "bf16": 2.0}, "facts": []}
    scores |= {"device": "CPU", "repeats": 5, "threads": 1}
    versions = dict.fromkeys(("python", "torch", "transformers", "numpy"), "1")
    record = {"key": "0123456789abcdef", "versions": versions, "hardware": {}, "facts": []}
    return {**record, "scores": scores}


def sheet_of(record, *changes):
    return render.timed_sheet(spec.load("7"), "lite", "", record, changes)


def test_no_secret_is_in_any_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "planted-in-a-test")
    record = record_of(spec.load("7")) | {"wandb_id": "planted-in-a-test"}
    sheet = sheet_of(record, "output=planted-in-a-test")
    assert "planted" in render.as_markdown(sheet), "or nothing is shown here"
    files = render.write(sheet, tmp_path)
    assert len(files) == 3
    for path in files:
        assert "planted" not in (text := path.read_text()) and "<hidden>" in text, path


def test_what_was_measured_and_what_was_read_again_give_the_same_bytes():
    """In a record read from the disk the keys are sorted."""
    record = record_of(spec.load("7"))
    again = json.loads(json.dumps(record, sort_keys=True))
    text, same = (render.as_markdown(sheet_of(each)) for each in (record, again))
    assert text == same and "1 in fp32, 2 in bf16" in text and "timed: E0; E1; E2" in text


def test_a_row_shows_its_share_of_the_ceiling_and_why_a_cell_is_empty():
    sheet = sheet_of(record_of(spec.load("7")))
    (line,) = [one for one in render.as_markdown(sheet).splitlines() if "| SBERT-base ᵈ" in one]
    assert line.endswith("| 2 [1, 3] (44) | — (1,378) | 101 | 48 % |")
    first, second = (cell for cell in sheet.cells if cell.row == "SBERT-base")
    assert (first.verdict, second.verdict) == ("other machine", "not run")
    assert [reason.code for reason in second.reasons] == ["device"]


def test_the_committed_record_renders_the_committed_files_without_a_measurement():
    folder = ROOT / "results" / "lite"
    content = json.loads((folder / "records" / "table_7.json").read_text(encoding="utf-8"))
    (record,) = content["records"].values()
    sheet = sheet_of(record, "sentences=512", "repeats=5")
    rendered = {
        "table_7.csv": render.as_csv(sheet),
        "table_7.md": render.as_markdown(sheet),
        "records/table_7.json": render.as_json(sheet),
    }
    for name, text in rendered.items():
        assert text == (folder / name).read_text(encoding="utf-8"), name


def test_table_7_from_end_to_end(typed, capsys):
    words = ["table=7", "profile=demo", "repeats=2", "sentences=6"]
    typed("table", *words)
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
    assert "DEMO" in text and "threads" in text and "of the ceiling" in text
    stored = json.loads((Path("results/runs") / done["run_keys"] / "record.json").read_text())
    assert len(stored["scores"]["rows"]["SBERT-base"]["seconds"]) == 2
    beside = json.loads(Path("results/demo/records/table_7.json").read_text(encoding="utf-8"))
    assert beside["records"] == {done["run_keys"]: stored}
    first = Path("results/demo/table_7.csv").read_bytes()
    typed("table", *words)
    assert Path("results/demo/table_7.csv").read_bytes() == first
