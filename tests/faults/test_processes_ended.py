"""Two models at a time, ended in every way: no process is left, with the results of one."""

import contextlib
import itertools
import signal
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]


def test_ended_again_and_again_it_makes_what_one_process_makes(undisturbed, folder):
    folder.words = (*folder.words, "jobs=2")
    ways = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}
    ended = 0
    for number, expected in itertools.islice(itertools.cycle(ways.items()), 6):
        before, process = saved(folder), folder.start()
        while process.poll() is None and saved(folder) == before:
            time.sleep(0.05)
        if process.poll() is not None:
            break
        workers = children(process.pid)
        process.send_signal(number)
        assert process.wait() == expected, folder.said()
        ended += 1
        end = time.monotonic() + 150
        while left := [pid for pid in workers if alive(pid)]:
            assert time.monotonic() < end, f"orphans: {left}"
            time.sleep(0.1)
    assert ended >= 3
    assert folder.start().wait() == 0, folder.said()
    assert folder.outcome() == undisturbed.outcome()
    assert "Traceback" not in folder.said()


def saved(folder) -> set[tuple[str, int]]:
    """Checkpoints and records there are, each as it was written last."""
    paths = [*folder.root.glob("results/runs/*/checkpoints/last.ckpt")]
    paths += folder.root.glob("results/runs/*/record.json")
    found = set()
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # a run that ended needs no checkpoint
            found.add((str(path), path.stat().st_mtime_ns))
    return found


def children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def alive(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
