"""Files and folders are whole or not there; a lock dies with its owner."""

import contextlib
import errno
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from sbert_repro.errors import UserError
from sbert_repro.storage import (
    check_writable,
    filling,
    folder_sha256,
    lock,
    make_folder,
    remove_unfinished,
    replacing,
    sha256_of,
    write_file,
    write_once,
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


def test_a_file_that_is_written_once_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "key" / "record.json"
    assert write_once(path, "first")
    assert not write_once(path, "second")

    def no_hard_links(*_):
        raise OSError(errno.EPERM, "not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_hard_links)
    assert not write_once(path, "third")
    assert path.read_text() == "first"
    assert write_once(tmp_path / "other", "first")
    assert {p.name for p in tmp_path.rglob("*")} == {"key", "record.json", "other"}


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
    assert first.startswith(f"UserError {tmp_path}/a: cannot be written")
    assert "no space left on the device" in first
    assert second == "whole ['a']"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run as another user")
def test_a_folder_without_permission_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="permission denied"):
        write_file(tmp_path / "a", "x")


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
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


WRITER = """
    import sys, time
    from pathlib import Path
    from sbert_repro import storage
    with getattr(storage, sys.argv[1])(Path(sys.argv[2])) as own:
        (own / "a" if own.is_dir() else own).write_text("half")
        print("writing", flush=True)
        time.sleep(60)
"""


@contextlib.contextmanager
def writer(mechanism, path):
    """A process that is busy with a file or a folder."""
    program = [sys.executable, "-c", textwrap.dedent(WRITER), mechanism, str(path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("mechanism", ["replacing", "filling"])
def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path, mechanism):
    with writer(mechanism, tmp_path / "dead") as dead, writer(mechanism, tmp_path / "alive"):
        dead.kill()
        dead.wait(10)
        assert len(hidden(tmp_path)) == 2
        write_file(tmp_path / "other", "whole")
        (left,) = hidden(tmp_path)
        assert left.startswith(".alive.")
    remove_unfinished(tmp_path)
    assert hidden(tmp_path) == []


def test_what_is_filled_is_put_in_place_and_nothing_else_stays(tmp_path):
    with filling(tmp_path / "key") as own:
        (own / "a").write_text("whole")
        assert not (tmp_path / "key").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["key", "a"]


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="stop"), filling(tmp_path / "key") as own:
        (own / "a").write_text("half")
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replace", [False, True])
def test_the_first_of_two_folders_stays_unless_it_is_to_be_replaced(tmp_path, replace):
    with filling(tmp_path / "key", replace=replace) as slow:
        (slow / "a").write_text("slow")
        with filling(tmp_path / "key") as quick:
            (quick / "a").write_text("quick")
    assert (tmp_path / "key" / "a").read_text() == ("slow" if replace else "quick")
    assert hidden(tmp_path) == []


def fill(folder):
    (folder / "a.txt").write_text("a")
    return [{"file": "a.txt", "sha256": sha256_of(folder / "a.txt")}]


def test_a_made_folder_is_made_again_only_when_it_is_another_or_incomplete(tmp_path):
    folder = tmp_path / "demo"
    assert make_folder(folder, {"seed": 1}, fill)
    assert not make_folder(folder, {"seed": 1}, fill)
    assert make_folder(folder, {"seed": 2}, fill)
    (folder / "a.txt").unlink()
    assert make_folder(folder, {"seed": 2}, fill)
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    digest = sha256_of(folder / "a.txt")
    files = [{"file": "a.txt", "sha256": digest}]
    assert manifest == {"synthetic": True, "seed": 2, "files": files}


def test_somebody_elses_folder_is_not_replaced(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "precious").write_text("")
    with pytest.raises(UserError, match="did not make"):
        make_folder(tmp_path / "demo", {}, fill)
    assert (tmp_path / "demo" / "precious").exists()


@pytest.mark.parametrize("name", ["thesis.txt", "deep/down/thesis.txt", "a.txt", "link"])
@pytest.mark.parametrize("manifest", ["made", {"synthetic": True}, {"synthetic": True, "files": 3}])
def test_what_a_manifest_does_not_list_as_it_is_is_never_removed(tmp_path, name, manifest):
    """A word in a manifest is no proof; a listed file that somebody changed is theirs too."""
    folder = tmp_path / "demo"
    make_folder(folder, {"seed": 1}, fill)
    if manifest != "made":
        (folder / "MANIFEST.json").write_text(json.dumps(manifest))
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if name == "link":
        (folder / name).symlink_to(tmp_path)
    else:
        (folder / name).write_text("years of work")
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(UserError, match="did not make, such as"):
        make_folder(folder, {"seed": 2}, fill)
    assert sorted(path.name for path in folder.rglob("*")) == before
    assert name == "link" or (folder / name).read_text() == "years of work"


def _add_one(folder, rounds):
    counter = folder / "counter"
    for _ in range(rounds):
        with lock(folder / "lock", "the counter"):
            counter.write_text(str(int(counter.read_text()) + 1))


def test_processes_take_turns(tmp_path):
    (tmp_path / "counter").write_text("0")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_one, args=(tmp_path, 30)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "counter").read_text() == "90"


HOLDER = """
    import sys, time
    from pathlib import Path
    from sbert_repro.storage import lock
    with lock(Path(sys.argv[1]), "it"):
        print("held", flush=True)
        time.sleep(60)
"""


def test_a_waiting_process_says_once_for_whom_and_a_dead_owner_blocks_nobody(tmp_path, caplog):
    program = [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path / "lock")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "held\n"
        threading.Timer(0.3, owner.kill).start()
        for _ in range(2):
            with caplog.at_level(logging.WARNING), lock(tmp_path / "lock", "the run"):
                pass
    assert owner.returncode == -signal.SIGKILL
    (said,) = [line for line in caplog.messages if "waiting for it" in line]
    assert said.startswith(f"the run is held by process {owner.pid} on ")


def test_a_forked_worker_does_not_keep_its_parents_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    with lock(tmp_path / "lock", "it"):
        worker = context.Process(target=time.sleep, args=(30,))
        worker.start()
    began = time.monotonic()
    with lock(tmp_path / "lock", "it"):
        pass
    assert time.monotonic() - began < 5
    worker.kill()
    worker.join(10)


OUTLIVED = """
    import os, sys, time
    from pathlib import Path
    from sbert_repro.storage import lock
    with lock(Path(sys.argv[1]), "it"):
        if child := os.fork():
            print(child, flush=True)
        time.sleep(60)
"""


def test_a_child_that_outlives_its_killed_parent_does_not_keep_the_lock(tmp_path):
    program = [sys.executable, "-c", textwrap.dedent(OUTLIVED), str(tmp_path / "lock")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as owner:
        child = int(owner.stdout.readline())
        owner.kill()
        owner.wait(10)
        began = time.monotonic()
        with lock(tmp_path / "lock", "it"):
            assert time.monotonic() - began < 5
            os.kill(child, signal.SIGKILL)


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a folder, expected a file"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(tmp_path / "file" / "e.json")
    check_writable(tmp_path / "new" / "e.json")
    assert list((tmp_path / "new").iterdir()) == []
