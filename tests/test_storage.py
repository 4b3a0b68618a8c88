"""Files and folders are whole or not there; a lock dies with its owner."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from sbert_repro.errors import UserError
from sbert_repro.ledger import Ledger
from sbert_repro.storage import (
    filling,
    folder_sha256,
    forget_dead,
    remove_leftovers,
    replacing,
    sha256_of,
    write_file,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    write_file(path, "old")

    def fail_midway():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail_midway()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


KILLED = """
import os, signal, sys
from pathlib import Path
from sbert_repro.storage import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_with_the_next_write_and_a_living_ones_stays(tmp_path):
    path = tmp_path / "table.csv"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    (left,) = tmp_path.iterdir()
    assert left.read_text() == "half"
    with replacing(path) as living:
        living.write_text("mine")
        assert not left.exists()
        write_file(path, "other")
        assert living.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_text() == "mine"


def test_a_full_device_is_one_line_and_nothing_half_written(tmp_path):
    """A real full file system: 64 KiB of tmpfs, in a mount namespace of its own."""
    script = (
        "from pathlib import Path\nfrom sbert_repro.storage import write_file\n"
        f"root = Path({str(tmp_path)!r})\nwrite_file(root / 'a', 'whole')\n"
        "try:\n    write_file(root / 'a', 'x' * 1_000_000)\n"
        "except Exception as e:\n    print(type(e).__name__, e)\n"
        "print((root / 'a').read_text(), [p.name for p in root.iterdir()])\n"
    )
    mount = f'mount -t tmpfs -o size=64k tmpfs {tmp_path} && exec {sys.executable} -c "$SCRIPT"'
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", mount],
        env={**os.environ, "SCRIPT": script},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    first, second = done.stdout.splitlines()
    assert first.startswith("UserError cannot write")
    assert "no space left on the device" in first
    assert second == "whole ['a']"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="permission denied"):
        write_file(tmp_path / "a", "x")


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_file(tmp_path / "results" / "a", "x")


def test_the_sha256_of_a_folder_is_its_content_not_its_place(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "README.md").write_text(name)
    first = folder_sha256(tmp_path / "a", (".safetensors",))
    assert first == folder_sha256(tmp_path / "b", (".safetensors",))
    (tmp_path / "b" / "model.safetensors").write_bytes(b"Weights")
    assert first != folder_sha256(tmp_path / "b", (".safetensors",))


def test_a_changed_file_has_another_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    before = sha256_of(path)
    path.write_bytes(b"22")
    assert sha256_of(path) != before


FILLER = """
    import os, signal, sys, time
    from pathlib import Path
    from sbert_repro.storage import filling
    with filling(Path(sys.argv[1])) as own:
        (own / "a").write_text("half")
        print("filling", flush=True)
        time.sleep(60)
"""


def filler(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FILLER), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "filling\n"
    return process


def hidden(folder):
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def test_what_is_filled_is_put_in_place_and_nothing_else_stays(tmp_path):
    with filling(tmp_path / "key") as own:
        (own / "a").write_text("whole")
        assert not (tmp_path / "key").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["key", "a"]


def test_a_failure_leaves_nothing(tmp_path):
    def fail():
        with filling(tmp_path / "key") as own:
            (own / "a").write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_slower_of_two_throws_its_own_away(tmp_path):
    with filling(tmp_path / "key") as slow:
        (slow / "a").write_text("slow")
        with filling(tmp_path / "key") as quick:
            (quick / "a").write_text("quick")
    assert (tmp_path / "key" / "a").read_text() == "quick"
    assert hidden(tmp_path) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_fills_is_not(tmp_path):
    dead, living = filler(tmp_path / "first"), filler(tmp_path / "second")
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait(10)
    assert len(hidden(tmp_path)) == 2
    with filling(tmp_path / "third") as own:
        (own / "a").write_text("whole")
    (left,) = hidden(tmp_path)
    assert left.name.startswith(".second.")
    living.kill()
    living.wait(10)
    forget_dead(tmp_path)
    assert hidden(tmp_path) == []
    for process in (dead, living):
        process.stdout.close()


def test_only_temporary_names_are_removed(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / ".model.x" / "model").mkdir(parents=True)
    for name in ("checkpoints/.last.ckpt.abc", "checkpoints/last.ckpt", "record.json", ".record.y"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path, ".model.*", ".record.*", "checkpoints/.*")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"checkpoints", "checkpoints/last.ckpt", "record.json"}


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
