"""Locks: processes take turns, say so when they wait, and never wait for the dead."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from sbert_repro.ledger import Ledger

KEY = "0123456789abcdef"


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "runs")


def _add_one(root, key, rounds):
    ledger = Ledger(root)
    counter = root / "counter"
    for _ in range(rounds):
        with ledger.lock(key):
            counter.write_text(str(int(counter.read_text()) + 1))


def test_processes_take_turns(ledger):
    ledger.root.mkdir()
    (ledger.root / "counter").write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_one, args=(ledger.root, KEY, 50)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (ledger.root / "counter").read_text() == "150"


HOLDER = """
    import sys, time
    from pathlib import Path
    from sbert_repro.ledger import Ledger
    with Ledger(Path(sys.argv[1])).lock(sys.argv[2]):
        print("held", flush=True)
        time.sleep(60)
"""


def _holder(ledger):
    program = [sys.executable, "-c", textwrap.dedent(HOLDER), str(ledger.root), KEY]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_waiting_process_says_so_once_and_a_dead_owner_blocks_nobody(ledger, caplog):
    owner = _holder(ledger)
    context = multiprocessing.get_context("fork")
    killer = context.Process(target=_kill_soon, args=(owner.pid,))
    killer.start()
    with caplog.at_level(logging.WARNING), ledger.lock(KEY):
        waited = [line for line in caplog.messages if "waiting for it" in line]
    assert len(waited) == 1
    assert f"process {owner.pid}" in waited[0]
    assert owner.wait(10) == -signal.SIGKILL
    owner.stdout.close()
    killer.join(10)
    with ledger.lock(KEY):
        assert len([line for line in caplog.messages if "waiting for it" in line]) == 1


def _kill_soon(process_id):
    time.sleep(0.3)
    os.kill(process_id, signal.SIGKILL)


def test_a_forked_worker_does_not_keep_its_parents_lock(ledger):
    context = multiprocessing.get_context("fork")
    with ledger.lock(KEY):
        worker = context.Process(target=time.sleep, args=(30,))
        worker.start()
    began = time.monotonic()
    with ledger.lock(KEY):
        pass
    assert time.monotonic() - began < 5
    worker.kill()
    worker.join(10)
