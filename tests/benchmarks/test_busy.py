"""Whether somebody else used the processors while something was timed."""

from __future__ import annotations

from collections import namedtuple

import pytest

from sbert_repro.benchmarks import busy
from sbert_repro.facts import sentence

Times = namedtuple("Times", "user system idle iowait steal guest")


@pytest.fixture
def machine(monkeypatch):
    """Four cores and a clock; returns what a test sets: seconds, of all, and of this process."""
    now = {"seconds": 0.0, "all": 100.0, "own": 10.0, "steal": 0.0, "usable": 4}
    monkeypatch.setattr(busy.time, "monotonic", lambda: now["seconds"])
    monkeypatch.setattr(busy, "_own_seconds", lambda: now["own"])
    monkeypatch.setattr(busy, "cores", lambda: now["usable"])
    monkeypatch.setattr(busy.psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(
        busy.psutil,
        "cpu_times",
        lambda: Times(now["all"], 0.0, 1e6 + now["seconds"], 5e5, now["steal"], now["all"]),
    )
    return now


def test_other_programs_are_a_fact_and_one_line_that_says_what_to_do(machine, caplog):
    with busy.watched() as found:
        machine["seconds"], machine["all"], machine["own"] = 10.0, 135.0, 30.0
    assert found == [{"code": "busy", "taken": 1.5, "cores": 4}]
    assert caplog.messages == [
        "while it was timed, other programs used 1.5 of 4 cores, so that it is faster than this: "
        "end them, or wait for them, and time again (again=true)"
    ]
    assert sentence(found[0]) in caplog.messages[0]


def test_what_a_virtual_machine_is_not_given_counts(machine):
    with busy.watched() as found:
        machine["seconds"], machine["all"], machine["own"], machine["steal"] = 10, 120, 30, 8
    assert found[0]["taken"] == pytest.approx(0.8)


def test_a_quiet_machine_and_cores_that_are_not_ours_say_nothing(machine, caplog):
    with busy.watched() as found:
        machine["seconds"], machine["all"], machine["own"] = 10.0, 141.0, 50.0
    assert found == []
    machine["usable"] = 2
    with busy.watched() as found:
        machine["seconds"], machine["all"], machine["own"] = 20.0, 161.0, 51.0
    assert found == [] and caplog.messages == []


def test_the_real_processors_can_be_asked():
    assert busy._all_seconds() > 0 and busy._own_seconds() > 0
