"""Table 7: whose time is found again, and what stands in its files."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path

import pytest
import torch

from sbert_repro.benchmarks.table_7 import _stood_in
from sbert_repro.benchmarks.timing import why_not_timed
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


def test_word_vectors_and_use_are_timed_as_their_stand_ins_and_bert_in_its_own_shape():
    config = compose_speed("lite", [])
    rows = [["encoder=glove"], ["encoder=use"], ["encoder=bert_base", "engine=packed"]]
    assert [_stood_in(words, config) for words in rows] == [
        ["encoder=glove_6b_50d"],
        ["encoder=use_multilingual"],
        ["encoder=bert_base", "engine=packed"],
    ]


def record_of(table):
    """A record of a table that nobody measured."""
    figures = {"sentences_per_second": 2.0, "lowest": 1.0, "highest": 3.0, "gflops": None}
    rows = {
        row.name: {**figures, "label": f"E{n}", "facts": []} for n, row in enumerate(table.rows)
    }
    rows["SBERT-base"] |= {"gflops": 101.2, "share": 0.476}
    scores = {"rows": rows, "ceiling_gflops": {"fp32": 1.0, "bf16": 2.0}, "facts": []}
    scores |= {"device": "CPU", "repeats": 5, "threads": 1, "sentences": 64}
    versions = dict.fromkeys(("python", "torch", "transformers", "numpy"), "1")
    hardware = {"cpu": "Some CPU", "cores": 2, "gpus": []}
    record = {"key": "0123456789abcdef", "versions": versions, "hardware": hardware, "facts": []}
    options = {row.name: list(row.overrides) for row in table.rows}
    settings = {"options": options, "batch_size": 32}
    whole = {**record, "kind": "speed", "schema": 2, "seed": None, "settings": settings}
    return {**whole, "scores": scores}


def on_gpu(record, key="fedcba9876543210", **hardware):
    """The same record as a machine with a GPU would have measured it, three times as fast."""
    found = copy.deepcopy(record) | {"key": key, "started": "2026-01-01T00:00:00+00:00"}
    found["hardware"] |= {"gpus": ["Some GPU"], **hardware}
    found["scores"]["device"] = "GPU"
    found["scores"]["rows"]["SBERT-base"] |= {"sentences_per_second": 6.0, "highest": 9.0}
    return found


def sheet_of(*records):
    return render.timed_sheet(spec.load("7"), "lite", "", records)


def test_no_secret_is_in_any_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "planted-in-a-test")
    record = record_of(spec.load("7")) | {"wandb_id": "planted-in-a-test"}
    record["scores"]["rows"]["SBERT-base"]["label"] = "planted-in-a-test"
    sheet = sheet_of(record)
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
    assert text == same and "1 in fp32, 2 in bf16" in text
    assert "What was timed:\n\n- ᵃ E0\n- ᵇ E1\n- ᶜ E2\n" in text


def test_a_row_shows_its_share_of_the_ceiling_and_why_a_cell_is_empty():
    sheet = sheet_of(record_of(spec.load("7")))
    (line,) = [one for one in render.as_markdown(sheet).splitlines() if "| SBERT-base ᵈ" in one]
    assert "| useful GFLOP/s | of the ceiling |" in render.as_markdown(sheet)
    assert line.endswith("| 2 [1, 3] (44) | — (1,378) | 101 | 48 % |")
    first, second = (cell for cell in sheet.cells if cell.row == "SBERT-base")
    assert (first.verdict, second.verdict) == ("other machine", "not run")
    assert [reason.code for reason in second.reasons] == ["device"]


def test_the_committed_record_renders_the_committed_files_without_a_measurement():
    folder = ROOT / "results" / "lite"
    content = json.loads((folder / "records" / "table_7.json").read_text(encoding="utf-8"))
    newest_first = sorted(content["records"].values(), key=lambda r: r["started"], reverse=True)
    sheet = sheet_of(*newest_first)
    rendered = {
        "table_7.csv": render.as_csv(sheet),
        "table_7.md": render.as_markdown(sheet),
        "records/table_7.json": render.as_json(sheet),
    }
    for name, text in rendered.items():
        assert text == (folder / name).read_text(encoding="utf-8"), name


def test_a_cpu_and_a_gpu_are_two_columns_of_one_table():
    record = record_of(spec.load("7"))
    gpu = on_gpu(record)
    gpu["scores"] |= {"repeats": 7}
    sheet = sheet_of(record, gpu)
    assert {cell.verdict for cell in sheet.cells} == {"other machine"}
    text = render.as_markdown(sheet)
    headings = "CPU: useful GFLOP/s | CPU: of the ceiling | GPU: useful GFLOP/s | GPU: of the"
    assert headings in text
    (line,) = [one for one in text.splitlines() if "| SBERT-base ᵈ" in one]
    assert line.endswith("| 2 [1, 3] (44) | 6 [1, 9] (1,378) | 101 | 48 % | 101 | 48 % |")
    both = "Measured on Some CPU, 2 cores (CPU) and Some CPU, 2 cores, 1 × Some GPU (GPU), not"
    assert both in text
    assert (
        "- All rows, column CPU\n  - `python scripts/table.py table=7 profile=lite sentences=64"
        in text
    )
    assert "- All rows, column GPU\n" in text and "repeats=7 batch_size=32`" in text
    assert text == render.as_markdown(sheet_of(gpu, record)), "whoever was measured last"


@pytest.mark.parametrize("first", ["CPU", "GPU"])
def test_what_one_machine_measured_no_other_one_erases(tmp_path, first):
    """As on a machine that has only the committed files, and no ledger."""
    table = spec.load("7")
    cpu = record_of(table)
    gpu = on_gpu(cpu)
    before, now = (cpu, gpu) if first == "CPU" else (gpu, cpu)
    render.write(sheet_of(*render.kept_beside(before, table, tmp_path)), tmp_path)
    sheet = sheet_of(*render.kept_beside(now, table, tmp_path))
    assert not render.numbers_lost(sheet, tmp_path)
    render.write(sheet, tmp_path)
    lines = list(csv.DictReader((tmp_path / "table_7.csv").open(encoding="utf-8")))
    assert all(line["ours"] for line in lines)
    keys = {line["column"]: line["run_keys"] for line in lines}
    assert keys == {"CPU": cpu["key"], "GPU": gpu["key"]}


def test_of_two_machines_with_a_gpu_the_last_one_is_shown_and_both_are_kept(tmp_path):
    table = spec.load("7")
    old = on_gpu(record_of(table))
    new = on_gpu(old, key="0000000000000000", gpus=["Newer GPU"])
    render.write(sheet_of(old, record_of(table)), tmp_path)
    sheet = sheet_of(*render.kept_beside(new, table, tmp_path))
    assert "Kept in its records and not shown: GPU of Some CPU, 2 cores, 1 × Some GPU" in (
        render.as_markdown(sheet)
    )
    render.write(sheet, tmp_path)
    again = on_gpu(new, key="1111111111111111", gpus=["Newer GPU"])
    keys = [one["key"] for one in render.kept_beside(again, table, tmp_path)]
    assert keys[0] == again["key"] and new["key"] not in keys, "measured again on one machine"
    assert set(keys) == {again["key"], old["key"], record_of(table)["key"]}


def test_a_row_is_known_by_its_options_not_by_its_name():
    """GloVe's row was timed in our own way once, and that is another row now."""
    table = spec.load("7")
    record = record_of(table)
    record["settings"]["options"] = {
        "Avg. GloVe embeddings": ["encoder=glove"],
        "SBERT-base": ["encoder=padded", "encoder.order=given"],
    }
    found = {cell.row: cell for cell in sheet_of(record).cells if cell.column == "CPU"}
    assert found["Avg. GloVe embeddings, many sentences together"].ours == 2.0
    paper = found["Avg. GloVe embeddings"]
    assert paper.ours is None and "not timed with the other rows" in paper.reasons[0].found


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
    imitated = why_not_timed("bf16")
    for name in ("sentence-transformers, bf16", "packed engine, bf16"):
        assert (by_row[name]["ours"] == "") == (imitated is not None)
        assert imitated is None or imitated in by_row[name]["note"]
    text = Path("results/demo/table_7.md").read_text(encoding="utf-8")
    assert "DEMO" in text and "threads" in text and "of the ceiling" in text
    stored = json.loads((Path("results/runs") / done["run_keys"] / "record.json").read_text())
    assert len(stored["scores"]["rows"]["SBERT-base"]["seconds"]) == 2
    beside = json.loads(Path("results/demo/records/table_7.json").read_text(encoding="utf-8"))
    assert beside["records"] == {done["run_keys"]: stored}
    first = Path("results/demo/table_7.csv").read_bytes()
    typed("table", *words)
    assert Path("results/demo/table_7.csv").read_bytes() == first

    # As if a machine of the other kind had measured before, of which only the files are here.
    other = copy.deepcopy(stored) | {"key": "fedcba9876543210"}
    other["hardware"] |= {"cpu": "Some CPU"}
    other["scores"]["device"] = "CPU" if torch.cuda.is_available() else "GPU"
    planted = json.dumps({"records": {other["key"]: other}})
    Path("results/demo/records/table_7.json").write_text(planted, encoding="utf-8")
    typed("table", *words)
    lines = list(csv.DictReader(Path("results/demo/table_7.csv").open(encoding="utf-8")))
    keys = {line["run_keys"] for line in lines if line["ours"]}
    assert keys == {other["key"], stored["key"]}
    assert len({line["column"] for line in lines if line["ours"]}) == 2
