"""The ledger: written once, never half, shared by processes that wait for each other."""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from sbert_repro.errors import UserError
from sbert_repro.ledger import SCHEMA, Ledger
from sbert_repro.provenance import git_state, provenance

KEY = "0123456789abcdef"


def record(**changes):
    return {
        "kind": "train",
        "settings": {"loss": "classification"},
        "scores": {"stsb_dev": 80.5},
        "seed": 0,
        **changes,
    }


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "runs")


def test_a_record_comes_back_with_where_it_came_from(ledger):
    assert ledger.get(KEY) is None
    stored = ledger.put(KEY, record())
    assert ledger.get(KEY) == stored
    assert stored["schema"] == SCHEMA
    assert stored["key"] == KEY
    assert stored["scores"] == {"stsb_dev": 80.5}
    assert {"git", "lock_sha256", "hardware", "versions"} <= stored.keys()
    assert ledger.keys() == [KEY]


def test_the_same_again_is_fine_and_other_content_is_refused(ledger):
    first = ledger.put(KEY, record())
    assert ledger.put(KEY, record()) == first
    with pytest.raises(UserError, match=r"already there with other scores"):
        ledger.put(KEY, record(scores={"stsb_dev": 99.0}))
    assert ledger.get(KEY) == first


def test_numbers_json_cannot_hold_are_stored_plainly(ledger):
    scores = {"a": np.float32(1.5), "b": float("nan"), "c": np.arange(2), "d": (1, 2)}
    stored = ledger.put(KEY, record(scores=scores, path=Path("x")))
    assert stored["scores"] == {"a": 1.5, "b": None, "c": [0, 1], "d": [1, 2]}
    assert ledger.get(KEY) == stored
    assert ledger.put(KEY, record(scores=scores, path=Path("x"))) == stored


def test_nothing_but_the_record_is_left_in_the_folder(ledger):
    ledger.put(KEY, record())
    assert [path.name for path in ledger.folder(KEY).iterdir()] == ["record.json"]


@pytest.mark.parametrize("text", ["", '{"schema": 1, "ke', "[]", '{"schema": 1}', "\xff\x00"])
def test_a_record_cut_short_is_set_aside_and_redone(ledger, text, caplog):
    path = ledger.folder(KEY) / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="latin-1")
    with caplog.at_level(logging.WARNING):
        assert ledger.get(KEY) is None
    assert "record.json.broken" in caplog.text
    assert path.with_name("record.json.broken").read_text(encoding="latin-1") == text
    assert ledger.put(KEY, record())["scores"] == {"stsb_dev": 80.5}


def test_every_cut_of_a_good_record_counts_as_missing(ledger):
    ledger.put(KEY, record())
    path = ledger.folder(KEY) / "record.json"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 37):
        path.write_bytes(whole[:length])
        assert ledger.get(KEY) is None


def test_a_record_copied_to_another_key_is_not_believed(ledger):
    ledger.put(KEY, record())
    shutil.copytree(ledger.folder(KEY), ledger.folder("fedcba9876543210"))
    assert ledger.get("fedcba9876543210") is None
    assert ledger.get(KEY) is not None


def test_a_later_schema_is_refused_and_left_alone(ledger):
    ledger.put(KEY, record(schema=SCHEMA + 1))
    with pytest.raises(UserError, match="update the program"):
        ledger.get(KEY)
    assert (ledger.folder(KEY) / "record.json").is_file()


def test_a_record_of_the_first_schema_still_loads(ledger):
    stored = Path(__file__).parent / "records" / "schema_1.json"
    key = json.loads(stored.read_text())["key"]
    ledger.folder(key).mkdir(parents=True)
    shutil.copy(stored, ledger.folder(key) / "record.json")
    loaded = ledger.get(key)
    assert loaded is not None
    assert loaded["scores"]["spearman"] == 84.25
    assert loaded["notes"] == ["NLI: 20,000 of 942,069 pairs"]


@pytest.mark.parametrize("key", ["", "../../etc", "a/b", "..", "short key"])
def test_a_key_is_no_path(ledger, key):
    with pytest.raises(UserError, match="no run key"):
        ledger.get(key)


def test_an_incomplete_record_is_a_bug_of_the_caller(ledger):
    with pytest.raises(ValueError, match="no settings, scores"):
        ledger.put(KEY, {"kind": "train", "seed": 0})
    assert ledger.keys() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot write"):
        Ledger(tmp_path / "runs").put(KEY, record())
    tmp_path.chmod(0o700)


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="cannot"):
        Ledger(tmp_path / "runs").put(KEY, record())
    with pytest.raises(UserError, match="cannot write"), Ledger(tmp_path / "runs").lock(KEY):
        pass


def test_without_hard_links_it_is_still_written_once(ledger, monkeypatch):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    first = ledger.put(KEY, record())
    assert ledger.get(KEY) == first
    with pytest.raises(UserError, match="already there"):
        ledger.put(KEY, record(seed=1))


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


def test_provenance_names_code_machine_and_versions():
    found = provenance()
    assert found["hardware"]["cores"] >= 1
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["torch"]


def test_results_do_not_make_the_code_dirty(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True)

    assert git_state(tmp_path)["commit"] is None
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "code.py").write_text("1")
    git("init", "-q")
    git("add", "src")
    git("commit", "-qm", "x")
    (tmp_path / "results.csv").write_text("1")
    assert git_state(tmp_path) == {"commit": git_state(tmp_path)["commit"], "dirty": False}
    (tmp_path / "src" / "new.py").write_text("2")
    assert git_state(tmp_path)["dirty"] is True


def test_the_ledger_needs_no_torch():
    program = "import sys, sbert_repro.ledger as l; l.provenance(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"
