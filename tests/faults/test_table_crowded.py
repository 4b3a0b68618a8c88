"""Eight processes on one table, one of them killed, a record cut short: nothing twice or lost."""

import json
import os
import signal
import time
from collections import Counter

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
PROCESSES = 8


def once(folder):
    """How often each training and evaluation was begun."""
    return Counter((kind, key) for kind, key, _ in folder.begun())


def test_eight_at_once_do_each_thing_once(undisturbed, folder):
    processes = [folder.start() for _ in range(PROCESSES)]
    assert [process.wait() for process in processes] == [0] * PROCESSES, folder.said()
    assert once(folder) == once(undisturbed)
    assert set(once(folder).values()) == {1}
    for record in folder.root.glob("results/runs/*/record.json"):
        assert json.loads(record.read_text())["key"] == record.parent.name
    assert folder.outcome() == undisturbed.outcome()


def test_the_work_of_one_that_dies_is_taken_over(undisturbed, folder):
    processes = [folder.start() for _ in range(PROCESSES)]
    while not (begun := folder.begun()):
        assert any(process.poll() is None for process in processes), folder.said()
        time.sleep(0.05)
    kind, key, owner = begun[0]
    os.kill(owner, signal.SIGKILL)
    status = sorted(process.wait() for process in processes)
    assert status == [-signal.SIGKILL] + [0] * (PROCESSES - 1), folder.said()
    assert once(folder) == once(undisturbed) + Counter({(kind, key): 1})
    assert folder.outcome() == undisturbed.outcome()


def test_a_record_cut_short_is_set_aside_named_and_made_again(undisturbed, folder):
    assert folder.start().wait() == 0, folder.said()
    expected, before = folder.outcome(), once(folder)
    record = sorted(folder.root.glob("results/runs/*/record.json"))[0]
    record.write_bytes(record.read_bytes()[:200])
    assert folder.start().wait() == 0, folder.said()
    assert f"{record}: no whole record, damaged (no JSON: " in folder.said()
    assert f"set aside as {record}.broken; it is made again" in folder.said()
    (again,) = (once(folder) - before).items()
    assert again[0][1] == record.parent.name and again[1] == 1
    assert folder.outcome() == expected
