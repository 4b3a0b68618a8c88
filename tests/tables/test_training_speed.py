"""Hours from a measured speed: what was measured is reckoned with, the rest is counted apart."""

import json

import pytest

from sbert_repro.tables import training_speed
from sbert_repro.tables.plan import Stage, compose

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
WHERE = "Some CPU, 2 cores, 4 GiB, 1 × Some GPU, 2 threads"


def measure(results, profile="lite", **changes):
    """Write figures as scripts/benchmark.py does."""
    path = results / profile / "benchmark_train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = {"title": "Training", "rows": ROWS, "notes": [], "measured": MEASURED}
    path.write_text(json.dumps({**figures, **changes}))
    return path


def stage(*words):
    words = ["profile=paper", "encoder=bert_base", *words]
    return Stage(tuple(words), compose(words))


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
    ],
)
def test_pairs_are_those_of_the_complete_set_as_often_as_they_are_seen(words, pairs):
    assert training_speed.examples(stage(*words).config) == pairs


def test_the_hours_are_pairs_over_the_speed_of_their_precision(tmp_path):
    path = measure(tmp_path)
    stages = [stage("experiment=nli"), stage("experiment=nli", "encoder=roberta_base")]
    (line,) = training_speed.lines(stages, tmp_path, "paper")
    assert line == (
        f"2 of 2 trainings: about {2 * 942_069 / 100 / 3600:.1f} h one after the other on {WHERE} "
        f"(100.0 pairs/s in fp32: bert-base-uncased on NLI, {path}); evaluation is left out, looks "
        "at dev too."
    )
    (line,) = training_speed.lines([stage("trainer.precision=bf16")], tmp_path, "paper")
    assert f"about {942_069 / 400 / 3600:.1f} h" in line and "400.0 pairs/s in bf16" in line


def test_what_is_unlike_the_measured_is_counted_apart(tmp_path):
    measure(tmp_path, rows=ROWS[:2])
    unlike = {
        "of bert-large-uncased": stage("encoder=bert_large"),
        "cross-encoders": stage("experiment=cross_encoder_stsb"),
        "on triplets": stage("experiment=wikisections"),
        "in batches of 32": stage("trainer.batch_size=32"),
        "over 2 processes": stage("trainer.devices=2"),
        "compiled": stage("trainer.compile=true"),
        "in bf16": stage("trainer.precision=bf16"),
        "other networks": stage("encoder=bilstm", "experiment=infersent"),
    }
    stages = [stage("experiment=stsb"), *unlike.values(), stage("encoder=bert_large", "seed=2")]
    (line,) = training_speed.lines(stages, tmp_path, "paper")
    assert line.startswith("1 of 10 trainings: about 0.1 h")
    counts = [f"{2 if 'large' in why else 1} {why}" for why in unlike]
    assert f"not estimated: {', '.join(counts)}; " in line
    (line,) = training_speed.lines(stages[1:2], tmp_path, "paper")
    assert line.startswith("No estimate from ") and " h " not in line


def test_without_figures_a_line_says_which_command_makes_them(tmp_path):
    (line,) = training_speed.lines([stage()], tmp_path, "paper")
    path = tmp_path / "paper" / "benchmark_train.json"
    command = f"python scripts/benchmark.py what=train profile=paper output={path}"
    assert line == f"No estimate from a speed: `{command}` measures the speed of training."
    assert training_speed.lines([], tmp_path, "paper") == []


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
    (line,) = training_speed.lines([stage()], tmp_path, "paper")
    assert line.startswith("No estimate from a speed")
    assert f"{path}: no figures of what=train" in caplog.text
    path.write_text("{")
    assert training_speed.measured(tmp_path) == []


def test_each_machine_has_its_own_line_and_none_stands_for_another(tmp_path):
    measure(tmp_path)
    gpu = {**MEASURED["hardware"], "cpu": "Other CPU", "gpus": ["Big GPU"]}
    faster = [{**row, "pairs/s": 10 * row["pairs/s"]} for row in ROWS]
    measure(tmp_path, "paper", rows=faster, measured={**MEASURED, "hardware": gpu})
    first, second = training_speed.lines([stage()], tmp_path, "paper")
    assert f"{942_069 / 100 / 3600:.1f} h" in first and WHERE in first
    assert f"{942_069 / 1000 / 3600:.1f} h" in second and "Other CPU" in second
