"""what=train trains both sides on the same pairs; its speed gives the hours of other trainings."""

import json
import os
from pathlib import Path

import pytest

from sbert_repro.benchmarks import train, training_speed
from sbert_repro.benchmarks.timing import why_not_timed
from sbert_repro.compose import compose

MEASURED = {
    "model": "google-bert/bert-base-uncased",
    "batch_size": 16,
    "hardware": {"cpu": "Some CPU", "cores": 2, "ram_gib": 4.0, "gpus": ["Some GPU"]},
    "threads": 2,
}
ROWS = [
    {"training": "sentence-transformers", "precision": "fp32", "pairs/s": 1.0},
    {"training": "ours", "precision": "fp32", "pairs/s": 100.0},
    {"training": "ours", "precision": "bf16", "pairs/s": 400.0},
]
WHERE = "Some CPU, 2 cores, 4 GiB, 1 × Some GPU"


def measure(results, profile="lite", **changes):
    """Write figures as scripts/benchmark.py does."""
    path = results / profile / "benchmark_train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = {"title": "Training", "rows": ROWS, "notes": [], "measured": MEASURED}
    path.write_text(json.dumps({**figures, **changes}))
    return path


def options(*words):
    return compose(["profile=paper", "encoder=bert_base", *words])


@pytest.mark.parametrize(
    ("words", "pairs"),
    [
        (["experiment=nli"], 942_069),
        (["experiment=nli", "trainer.epochs=2"], 1_884_138),
        (["experiment=nli", "data.limit=5000"], 5_000),
        (["experiment=nli", "trainer.max_steps=10"], 160),
        (["experiment=nli", "data.limit=100", "trainer.max_steps=10"], 100),
        (["experiment=nli", "trainer.batch_size=32", "trainer.max_steps=10"], 320),
        (["experiment=stsb"], 4 * 5_749),
        (["experiment=afs", "data.split=train_fold_3"], 3 * 5_400),
        (["experiment=afs", "data.split=train_topic_gm"], 3 * 4_000),
        (["experiment=afs", "data.split=train_within_gm_fold_3"], 3 * 1_800),
        (["experiment=cross_encoder_afs", "data.split=train_within_gm_fold_3"], 6 * 1_800),
    ],
)
def test_pairs_are_those_of_the_complete_set_as_often_as_they_are_seen(words, pairs):
    assert training_speed.examples(options(*words)) == pairs


def test_the_hours_are_pairs_over_the_speed_of_their_precision(tmp_path):
    path = measure(tmp_path)
    stages = [options("experiment=nli"), options("experiment=nli", "encoder=roberta_base")]
    (line,) = training_speed.hours(stages, tmp_path, "paper")
    assert line == (
        f"2 of 2 trainings: about {2 * 942_069 / 100 / 3600:.1f} h one after the other on {WHERE} "
        f"(100.0 pairs/s in fp32: bert-base-uncased on NLI, {path}); evaluation is left out, looks "
        "at dev too."
    )
    (line,) = training_speed.hours([options("trainer.precision=bf16")], tmp_path, "paper")
    assert f"about {942_069 / 400 / 3600:.1f} h" in line and "400.0 pairs/s in bf16" in line


def test_what_is_unlike_the_measured_is_counted_apart(tmp_path):
    measure(tmp_path, rows=ROWS[:2])
    unlike = {
        "of bert-large-uncased": options("encoder=bert_large"),
        "cross-encoders": options("experiment=cross_encoder_stsb"),
        "on triplets": options("experiment=wikisections"),
        "in batches of 32": options("trainer.batch_size=32"),
        "over 2 processes": options("trainer.devices=2"),
        "in bf16": options("trainer.precision=bf16"),
        "other networks": options("encoder=bilstm", "experiment=infersent"),
    }
    stages = [options("experiment=stsb"), *unlike.values(), options("encoder=bert_large", "seed=2")]
    (line,) = training_speed.hours(stages, tmp_path, "paper")
    assert line.startswith("1 of 9 trainings: about 0.1 h")
    counts = [f"{2 if 'large' in why else 1} {why}" for why in unlike]
    assert f"not estimated: {', '.join(counts)}; " in line
    (line,) = training_speed.hours(stages[1:2], tmp_path, "paper")
    assert line.startswith("No estimate from ") and " h " not in line


def test_without_figures_a_line_says_which_command_makes_them(tmp_path):
    (line,) = training_speed.hours([options()], tmp_path, "paper")
    path = tmp_path / "paper" / "benchmark_train.json"
    command = f"python scripts/benchmark.py what=train profile=paper output={path}"
    assert line == f"No estimate from a speed: `{command}` measures the speed of training."
    assert training_speed.hours([], tmp_path, "paper") == []


@pytest.mark.parametrize(
    "broken",
    [
        {"measured": {}},
        {"rows": ROWS[:1]},
        {"rows": [{**ROWS[1], "pairs/s": 0}]},
        {"measured": {**MEASURED, "batch_size": None}},
    ],
)
def test_figures_that_do_not_say_what_was_measured_are_named_and_not_used(tmp_path, broken, caplog):
    path = measure(tmp_path, **broken)
    (line,) = training_speed.hours([options()], tmp_path, "paper")
    assert line.startswith("No estimate from a speed")
    assert f"{path}: no figures of what=train" in caplog.text
    path.write_text("{")
    assert training_speed.speeds(tmp_path) == []


def test_each_machine_has_its_own_line_and_none_stands_for_another(tmp_path):
    measure(tmp_path)
    gpu = {**MEASURED["hardware"], "cpu": "Other CPU", "gpus": ["Big GPU"]}
    faster = [{**row, "pairs/s": 10 * row["pairs/s"]} for row in ROWS]
    measure(tmp_path, "paper", rows=faster, measured={**MEASURED, "hardware": gpu})
    first, second = training_speed.hours([options()], tmp_path, "paper")
    assert f"{942_069 / 100 / 3600:.1f} h" in first and WHERE in first
    assert f"{942_069 / 1000 / 3600:.1f} h" in second and "Other CPU" in second


def test_a_speed_of_a_gpu_is_none_of_a_cpu(tmp_path):
    path = measure(tmp_path)
    (line,) = training_speed.hours([options()], tmp_path, "paper", on_cpu=True)
    assert line.startswith("No estimate from a speed")
    measure(tmp_path, measured={**MEASURED, "hardware": {"cpu": "Some CPU", "cores": 2}})
    (line,) = training_speed.hours([options()], tmp_path, "paper", on_cpu=True)
    assert f"{942_069 / 100 / 3600:.1f} h" in line and str(path) in line


def test_each_training_has_a_process_of_its_own():
    assert train._in_new_process(os.getpid) != os.getpid()


def test_both_sides_are_trained_and_judged(figures, monkeypatch):
    monkeypatch.setattr(train, "_in_new_process", lambda work, *given: work(*given))
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("accelerate", reason="what the library's trainer needs")
    found = figures("what=train", "what.steps=3", "what.repeats=1", "what.batch_size=4")
    rows = {(row["training"], row["precision"]): row for row in found["rows"]}
    assert {who for who, _ in rows} == {"ours", "sentence-transformers"}
    in_bf16 = why_not_timed("bf16") is None
    assert len(rows) == (4 if in_bf16 else 2)
    assert in_bf16 or any(note.startswith("bf16 not trained: ") for note in found["notes"])
    base = rows["sentence-transformers", "fp32"]
    for row in rows.values():
        assert row["pairs/s"] == pytest.approx(4 / row["s a step"])
        assert row["× the trainer in fp32"] == pytest.approx(row["pairs/s"] / base["pairs/s"])
        assert 0 < row["of the ceiling"] < 1 and row["peak GB"] > 0
    last = "bf16" if in_bf16 else "fp32"
    judged = rows["ours", last]
    if in_bf16:
        assert judged["goal"].endswith("not met") == (judged["× the trainer in fp32"] < 6)
    profile = next(note for note in found["notes"] if note.startswith(f"our step in {last}"))
    assert "products" in profile and "GELU" in profile
    Path("demo").mkdir()
    Path("f.json").rename(Path("demo") / training_speed.FILE)
    (speed,) = training_speed.speeds(Path())
    assert (speed.model, speed.batch_size) == ("demo-bert", 4)
    assert set(speed.rates) == {"fp32", last}
    assert speed.rates[last] == judged["pairs/s"] and "core" in speed.where


def test_a_training_without_steps_is_one_line(figures, capsys):
    with pytest.raises(SystemExit) as end:
        figures("what=train", "what.steps=1")
    assert end.value.code == 2 and "what.steps: expected at least 2" in capsys.readouterr().err
