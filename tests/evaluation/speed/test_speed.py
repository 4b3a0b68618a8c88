"""What is timed, how often, and what stands in the files; never how fast it was."""

from __future__ import annotations

import csv
import json
import runpy
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from sbert_repro.backbone.random_bert import Size
from sbert_repro.encoders.padded import PaddedEncoder
from sbert_repro.encoders.peer import PeerEncoder
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.speed import ceiling, record, shapes
from sbert_repro.evaluation.speed.timing import interleaved
from sbert_repro.tables import remarks, spec, timed

ROOT = Path(__file__).resolve().parents[3]
TEXTS = ["the man plays guitar", "a dog", "two birds eats and sings in the park", "a dog", "one"]


def test_repeats_are_taken_in_turns_after_the_warm_up():
    done = []
    found = interleaved({n: lambda n=n: done.append(n) for n in "ab"}, repeats=3, warm_up=2)
    assert "".join(done) == "aabb" + "ababab"
    assert {len(timing.seconds) for timing in found.values()} == {3}
    low, high = found["a"].ends
    assert 0 <= low <= found["a"].median <= high


def test_what_is_timed_is_said_once_where_there_is_no_terminal(caplog, capsys):
    caplog.set_level("INFO")
    interleaved({"a": int, "b": int}, repeats=3, title="BERT, STSb")
    interleaved({"a": int}, repeats=1)
    assert caplog.messages == ["BERT, STSb: timing, 4 times each, in turns: a, b"]
    assert not "".join(capsys.readouterr())


def test_a_terminal_shows_what_is_timed_and_draws_in_between_only(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    threads = []
    interleaved({"a": lambda: threads.append(threading.active_count())}, repeats=2, title="BERT")
    shown = capsys.readouterr()
    assert not shown.out and "BERT: a, warm-up" in shown.err and "BERT: a, 2 of 2" in shown.err
    assert set(threads) == {threading.active_count()}


@pytest.mark.parametrize("order", ["given", "characters"])
def test_the_authors_way_gives_our_vectors(tiny_bert, order):
    ours = TransformerEncoder(str(tiny_bert), engine="reference").encode(TEXTS)
    theirs = PaddedEncoder(str(tiny_bert), order=order, batch_size=2).encode(TEXTS)
    assert theirs == pytest.approx(ours, abs=1e-5)


def test_smart_batching_sorts_by_characters(tiny_bert, monkeypatch):
    encoder, seen = PaddedEncoder(str(tiny_bert), order="characters", batch_size=2), []
    embed = encoder._embed
    monkeypatch.setattr(encoder, "_embed", lambda texts: (seen.append(texts), embed(texts))[1])
    encoder.encode(TEXTS)
    assert seen == [["one", "a dog"], ["a dog", TEXTS[0]], [TEXTS[2]]]


def test_the_peer_gives_our_vectors(tiny_bert):
    pytest.importorskip("sentence_transformers")
    ours = TransformerEncoder(str(tiny_bert), engine="reference").encode(TEXTS)
    assert PeerEncoder(str(tiny_bert)).encode(TEXTS) == pytest.approx(ours, abs=1e-5)


def test_a_peers_library_greets_nobody(monkeypatch):
    """Its imports print on stdout, where results stand, and log what else is installed."""
    pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("WANDB_MODE", "offline")
    code = (
        "import logging; logging.basicConfig(level=logging.INFO); from sbert_repro.encoders import "
        "peer; print(peer.library('sentence_transformers', '').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "sentence_transformers\n" and "available" not in done.stderr


def test_the_peer_runs_no_code_of_a_folder(tiny_bert, tmp_path):
    pytest.importorskip("sentence_transformers")
    folder = shutil.copytree(tiny_bert, tmp_path / "model")
    (folder / "modules.json").write_text('[{"idx": 0, "path": "", "type": "own.Transformer"}]')
    (folder / "own.py").write_text("raise SystemExit('code of the folder ran')\n")
    with pytest.raises(UserError, match=r"module own\.Transformer is code that lies in the folder"):
        PeerEncoder(str(folder)).encode(TEXTS)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: PaddedEncoder(path, order="words"), "expected an order of given, characters"),
        (lambda path: PaddedEncoder(path, batch_size=0), "batch_size=0"),
    ],
)
def test_wrong_options_are_one_line(tiny_bert, make, says):
    with pytest.raises(UserError, match=says):
        make(str(tiny_bert))


def test_useful_arithmetic_is_that_of_a_count_by_hand():
    shape = ceiling.Shape(layers=2, width=4, intermediate=6)
    # A word piece: Q, K, V and output are 4 maps of 4 x 4, the FFN two of 4 x 6; a sentence of n
    # adds n x n scores and as many sums of values, 4 wide each.
    linear = 2 * (4 * 16 + 2 * 24)
    by_hand = 2 * ((3 + 5) * linear + 2 * 2 * 4 * (9 + 25))
    assert shape.flops(np.array([3, 5])) == by_hand


def test_the_ceiling_counts_what_it_multiplies(monkeypatch):
    multiplied = []
    real = torch.ops.mkldnn._linear_pointwise

    def counted(given, weight, *rest):
        made = real(given, weight, *rest)
        multiplied.append(2 * given.shape[0] * given.shape[1] * made.shape[1])
        return made

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
    work, flops = ceiling.product_work(ceiling.Shape(1, 32, 64), "fp32")
    work()
    assert sum(multiplied) == flops


def test_a_machine_without_prepacked_products_has_a_ceiling_too(monkeypatch):
    monkeypatch.setattr(ceiling.packed_cpu, "why_not_here", lambda precision: "none here")
    monkeypatch.delattr(torch.ops.mkldnn, "_linear_pointwise")
    shapes_seen, real = [], torch.nn.functional.linear

    def counted(given, weight):
        shapes_seen.append(tuple(weight.shape))
        return real(given, weight)

    monkeypatch.setattr(ceiling.functional, "linear", counted)
    work, _ = ceiling.product_work(ceiling.Shape(1, 32, 64), "fp32")
    work()
    assert set(shapes_seen) == {(96, 32), (32, 32), (64, 32), (32, 64)}


def test_a_stand_in_has_the_published_shape_and_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setitem(shapes.SIZES, shapes.BASE, Size(2, 32, 4, 48, positions=40))
    made = [
        shapes.timed_model(shapes.BASE, tmp_path / "m", tmp_path / "c", TEXTS, download=False)
        for _ in range(2)
    ]
    assert made[0] == made[1]
    folder, notes = made[0]
    config = AutoConfig.from_pretrained(folder)
    assert (config.num_hidden_layers, config.hidden_size, config.intermediate_size) == (2, 32, 48)
    assert "random weights" in notes[0] and "2 layers, 32 wide" in notes[0]
    real = tmp_path / "m" / "bert-base-uncased"
    folder.rename(real) if real.parent.mkdir() is None else None
    found = shapes.timed_model(shapes.BASE, tmp_path / "m", tmp_path / "c", TEXTS, download=False)
    assert found == (real, [])


def test_what_bert_base_stands_for():
    size = shapes.SIZES[shapes.BASE]
    assert (size.layers, size.width, size.heads, size.intermediate) == (12, 768, 12, 3072)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("repeats=0", "repeats=0: expected 1"),
        ("sentences=1", "expected 2 or more"),
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
    line = remarks.timed_banner("", here, ["GloVe", "random weights, shape of bert", "GloVe"])
    assert line == (
        "> **SPEED ONLY: no number here is a score. Measured on Some CPU, 2 cores, 4 GiB, not on "
        "the paper's hardware. What was timed: GloVe; random weights, shape of bert.**"
    )
    assert record.composed("lite", []).profile.timed_banner == ""
    assert "> **DEMO. SPEED ONLY" in remarks.timed_banner(" DEMO.\n", here, [])


def test_what_was_measured_and_what_was_read_again_give_the_same_bytes():
    """In a record read from the disk the keys are sorted."""
    table = spec.load("7")
    figures = {"sentences_per_second": 2.0, "lowest": 1.0, "highest": 3.0, "gflops": None}
    rows = {row.name: {**figures, "label": f"E{n}"} for n, row in enumerate(table.rows)}
    scores = {"rows": rows, "ceiling_gflops": {"fp32": 1.0, "bf16": 2.0}, "notes": ["few"]}
    scores |= {"device": "CPU", "repeats": 5, "threads": 1}
    versions = dict.fromkeys(("python", "torch", "transformers", "numpy"), "1")
    fresh = {"scores": scores, "key": "0123456789abcdef", "versions": versions, "hardware": {}}
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
