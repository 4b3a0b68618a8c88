"""Trainings played through on n devices with measured times, and the lines of the dry run."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.compose import compose
from sbert_repro.tables.forecast import Task, hours, play
from sbert_repro.tables.plan import AllTables, Stage

GPU = {"cpu": "Some CPU", "cores": 2, "ram_gib": 4.0, "gpus": ["Some GPU"]}
WHERE = "Some CPU, 2 cores, 4 GiB, 1 × Some GPU"
MODEL = "google-bert/bert-base-uncased"
NLI = 942_069


def test_devices_take_what_waits_for_nothing_in_order():
    first, second = Task("nli", 4.0), Task("stsb", 1.0, after="nli")
    others = [Task(name, 2.0) for name in "abc"]
    one, two, many = (play([first, second, *others], n) for n in (1, 2, 64))
    assert (one.seconds, one.chain, one.idle) == (11.0, 5.0, 0.0)
    # a, b and c on the second device while the first one trains; then stsb beside c.
    assert (two.seconds, two.chain, two.idle) == (6.0, 5.0, pytest.approx(1 / 12))
    assert (many.seconds, many.chain) == (5.0, 5.0)
    assert play([], 8).seconds == 0


@given(st.lists(st.tuples(st.floats(0.1, 9), st.integers(-1, 20)), max_size=30), st.integers(1, 9))
def test_no_schedule_beats_its_chain_or_its_devices(drawn, devices):
    tasks = [
        Task(f"{n}", seconds, f"{after}" if after < n else "")
        for n, (seconds, after) in enumerate(drawn)
    ]
    found, work = play(tasks, devices), sum(task.seconds for task in tasks)
    assert found.seconds >= max(found.chain, work / devices) - 1e-6
    # Graham's bound for any schedule that leaves no device idle while something could begin.
    assert found.seconds <= work / devices + found.chain + 1e-6
    assert 0 <= found.idle + 1e-9 <= 1


def measure(results, profile="lite", hardware=GPU, rate=100.0):
    """Write figures as scripts/benchmark.py does."""
    path = results / profile / "benchmark_train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"training": "ours", "precision": precision, "pairs/s": rate * times}
        for precision, times in (("fp32", 1), ("bf16", 4))
    ]
    measured = {"model": MODEL, "batch_size": 16, "hardware": hardware, "threads": 2}
    path.write_text(json.dumps({"rows": rows, "measured": measured}))
    return path


def options(*words):
    return compose(["profile=paper", "encoder=bert_base", *words])


def left(*configs, parents=()):
    """What is left of all tables: a stage for each of some options, named by its place."""
    stages = {str(n): Stage((), config) for n, config in enumerate(configs)}
    return AllTables(stages=stages, parents=dict(parents))


def test_the_hours_are_pairs_over_the_speed_of_their_precision(tmp_path):
    path = measure(tmp_path)
    seeds = [options("experiment=nli", f"seed={seed}") for seed in range(8)]
    (line,) = hours(left(*seeds), [], tmp_path, "paper")
    each = NLI / 100 / 3600
    assert line == (
        f"8 of 8 trainings, as measured on {WHERE}: {8 * each:.1f} h on 1 (0% idle), "
        f"{each:.1f} h on 8 (0% idle), {each:.1f} h on 64 (88% idle) such GPUs; the longest chain "
        f"takes {each:.1f} h (100.0 pairs/s in fp32: bert-base-uncased on NLI, {path}); evaluation "
        "is left out."
    )
    (line,) = hours(left(options("trainer.precision=bf16")), [], tmp_path, "paper")
    assert f": {NLI / 400 / 3600:.1f} h on 1 " in line and "400.0 pairs/s in bf16" in line


def test_a_second_stage_waits_for_the_first(tmp_path):
    measure(tmp_path)
    stages = [options("experiment=nli"), options("experiment=stsb")]
    (line,) = hours(left(*stages, parents=[("1", "0")]), [], tmp_path, "paper")
    both = (NLI + 4 * 5_749) / 100 / 3600
    assert line.count(f"{both:.1f} h on ") == 3 and f"longest chain takes {both:.1f} h" in line


def test_what_is_unlike_the_measured_is_counted_apart(tmp_path):
    measure(tmp_path)
    unlike = {
        "cross-encoders": options("experiment=cross_encoder_stsb"),
        "in batches of 32": options("trainer.batch_size=32"),
        "of bert-large-uncased": options("encoder=bert_large"),
        "on triplets": options("experiment=wikisections"),
        "other networks": options("encoder=bilstm", "experiment=infersent"),
        "over 2 processes": options("trainer.devices=2"),
    }
    (line,) = hours(left(options("experiment=stsb"), *unlike.values()), [], tmp_path, "paper")
    assert line.startswith("1 of 7 trainings, as measured on ")
    assert f"; not estimated: {', '.join(f'1 {why}' for why in unlike)}; " in line
    line, none = hours(left(unlike["on triplets"]), [], tmp_path, "paper")
    assert line.startswith("No estimate from ") and " h " not in line
    assert none.startswith("No estimate for GPUs")


def test_without_a_measurement_on_a_gpu_there_is_no_estimate_for_gpus(tmp_path):
    path = tmp_path / "paper" / "benchmark_train.json"
    command = f"`python scripts/benchmark.py what=train profile=paper output={path}`"
    expected = f"No estimate for GPUs: nothing like it was measured on one; {command} measures"
    (line,) = hours(left(options()), [], tmp_path, "paper")
    assert line.startswith(expected)
    measure(tmp_path, hardware={**GPU, "gpus": []})
    of_cpu, line = hours(left(options()), [], tmp_path, "paper")
    assert "Some CPU, 2 cores, 4 GiB: " in of_cpu and " such machines; " in of_cpu
    assert line.startswith(expected)
    assert hours(left(), [], tmp_path, "paper") == []


def test_each_machine_has_its_own_line_and_none_stands_for_another(tmp_path):
    measure(tmp_path)
    measure(tmp_path, "paper", {**GPU, "cpu": "Other CPU", "gpus": ["Big GPU"]}, rate=1000.0)
    first, second = hours(left(options()), [], tmp_path, "paper")
    assert f": {NLI / 100 / 3600:.1f} h on 1 " in first and WHERE in first
    assert f": {NLI / 1000 / 3600:.1f} h on 1 " in second and "Other CPU" in second


def test_what_the_ledger_has_measured_comes_before_a_speed(tmp_path, planned, work):
    path = measure(tmp_path, hardware={**GPU, "cores": 3})
    first, others = planned().jobs[1], planned().jobs[2:4]
    work.train(first.config, first.overrides)
    total = AllTables(stages={job.stages[0].identity: job.stages[0] for job in others})
    of_ledger, of_speed = hours(total, work.records(), tmp_path, "paper")
    assert "2 of 2 trainings" in of_ledger and "(2 by their like in the ledger)" in of_ledger
    assert f"{WHERE}: 0.1 h on 1 " in of_ledger, "two times two minutes"
    assert str(path) in of_speed and "2 of 2 trainings" in of_speed
