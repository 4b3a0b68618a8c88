"""A bar on a terminal; elsewhere a line from time to time, with the time left."""

from __future__ import annotations

import logging

import pytest

from sbert_repro import progress
from sbert_repro.progress import Progress, showing


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_long_work_shows_a_bar_on_stderr_and_nothing_on_stdout(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LONG_WORK", 3)
    monkeypatch.setenv("FORCE_COLOR", "1")
    for total in (5, 2):
        with showing("encoding", total) as advance:
            advance(total)
        seen = capsys.readouterr()
        assert ("encoding" in seen.err) == (total > 2) and seen.out == ""


def test_without_a_terminal_a_line_comes_by_time(caplog, clock):
    caplog.set_level(logging.INFO)
    work = Progress("training", 7200, "steps", done=1200)
    work.start()
    for step in range(1201, 1300):
        work.to(step)
    clock[0] += 60
    work.to(1500, "dev 71.02")
    work.to(1501, "dev 71.02")
    clock[0] += 1140
    work.done = 7200
    work.stop()
    assert caplog.messages == [
        "training: 7,200 steps, 1,200 done before",
        "training: 1,500 of 7,200 steps (21 %), 19 min left, dev 71.02",
        "training: 7,200 steps done in 20 min",
    ]


def test_work_that_is_broken_off_is_not_said_to_be_done(caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match="enough"), showing("encoding", 5000) as advance:
        advance(1)
        raise ValueError("enough")
    assert caplog.messages == ["encoding: 5,000 sentences"]


def test_short_work_and_work_that_is_not_to_be_shown_say_nothing(caplog):
    caplog.set_level(logging.INFO)
    for total, wanted in ((10, True), (10_000, False)):
        with showing("encoding", total, shown=wanted) as advance:
            advance(total)
    assert caplog.messages == []
