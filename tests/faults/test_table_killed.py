"""A table of two seeds, killed at random 20 times and more, ends with the bits of a quiet one."""

import random
import signal
import time

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]
KILLS = 20
AT_RANDOM_TIMES = 6


def test_kill_before_random_changes_of_the_disk(undisturbed, folder):
    """Before and while a checkpoint is written, between stages and seeds, while tables are made."""
    killed_and_equal(undisturbed, folder, random.Random(7))


def test_kill_between_and_within_two_stages(undisturbed_stages, stages):
    killed_and_equal(undisturbed_stages, stages, random.Random(9))


def killed_and_equal(undisturbed, folder, chosen):
    kills = whole = 0
    while kills < KILLS or not whole:
        status = folder.start(chosen.randint(10, 110)).wait()
        assert status in (0, -signal.SIGKILL), folder.said()
        kills += status != 0
        whole += status == 0
        assert kills < 10 * KILLS, "it does not come forward"
        if status == 0:
            assert folder.outcome() == undisturbed.outcome()
            # Begun anew from the runs that are there, and from half of them.
            for number, run in enumerate(sorted(folder.root.glob("results/runs/*/record.json"))):
                if number % 2:
                    run.unlink()
    assert folder.start().wait() == 0, folder.said()
    assert folder.outcome() == undisturbed.outcome()


def test_kill_at_random_times(undisturbed, folder):
    chosen, kills = random.Random(8), 0
    process = folder.start()
    while process.poll() is None and kills < AT_RANDOM_TIMES:
        began = len(folder.begun())
        while process.poll() is None and len(folder.begun()) == began:
            time.sleep(0.05)
        time.sleep(chosen.uniform(0, 1.5))
        if process.poll() is None:
            process.kill()
            process.wait()
            kills += 1
            process = folder.start()
    assert process.wait() == 0, folder.said()
    assert kills, "a table that is done before anything happens to it"
    assert folder.outcome() == undisturbed.outcome()
