"""The ledger: records written once, never half, and never believed when damaged."""

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sbert_repro.aliases import former, renamed
from sbert_repro.config import run_key
from sbert_repro.errors import UserError
from sbert_repro.ledger import (
    SCHEMA,
    Ledger,
    Published,
    _cpu,
    git_state,
    machine,
    provenance,
    upgraded,
)

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
    stored = ledger.put(KEY, record(kind="speed", scores=scores, path=Path("x")))
    assert stored["scores"] == {"a": 1.5, "b": None, "c": [0, 1], "d": [1, 2]}
    assert ledger.get(KEY) == stored
    assert ledger.put(KEY, record(kind="speed", scores=scores, path=Path("x"))) == stored


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
    assert round(loaded["scores"]["spearman"], 2) == 81.80
    assert loaded["facts"] == [{"code": "facts_of_before"}], "sentences are not read back"


@pytest.mark.parametrize("key", ["", "../../etc", "a/b", "..", "short key"])
def test_a_key_is_no_path(ledger, key):
    with pytest.raises(UserError, match="not a run key"):
        ledger.get(key)


def test_an_incomplete_record_is_a_bug_of_the_caller(ledger):
    with pytest.raises(ValueError, match="no settings, scores"):
        ledger.put(KEY, {"kind": "train", "seed": 0})
    assert ledger.keys() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run as another user")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        Ledger(tmp_path / "runs").put(KEY, record())
    tmp_path.chmod(0o700)


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="cannot"):
        Ledger(tmp_path / "runs").put(KEY, record())
    with pytest.raises(UserError, match="cannot be written"), Ledger(tmp_path / "runs").lock(KEY):
        pass


def test_without_hard_links_it_is_still_written_once(ledger, monkeypatch):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    first = ledger.put(KEY, record())
    assert ledger.get(KEY) == first
    with pytest.raises(UserError, match="already there"):
        ledger.put(KEY, record(seed=1))


def test_the_ledger_needs_no_torch():
    program = "import sys, sbert_repro.ledger as l; l.provenance(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"


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


RUNS = json.loads((Path(__file__).parent / "records" / "schema_1_runs.json").read_text())


@pytest.mark.parametrize("which", ["train", "parent"])
def test_a_record_made_when_keys_held_import_paths_is_found(which, tmp_path):
    """Today's settings name words; put back into import paths they give the key of that time."""
    record = RUNS[which]
    today = renamed(record["settings"])
    assert "_target_" not in json.dumps(today)
    assert run_key("train", former(today)) == record["key"]
    folder = tmp_path / record["key"]
    folder.mkdir()
    (folder / "record.json").write_text(json.dumps(record))
    found = Ledger(tmp_path).get(run_key("train", today), record["key"])
    assert found["settings"] == today
    assert found["schema"] == SCHEMA
    assert found["facts"] == [{"code": "facts_of_before"}]
    assert found["scores"] == record["scores"]


def test_published_records_stand_in_for_an_empty_ledger(tmp_path):
    score = {**upgraded(RUNS["evaluate"]), "run": RUNS["train"]["key"]}
    records = {record["key"]: record for record in (RUNS["train"], score)}
    (tmp_path / "table_2.json").write_text(json.dumps({"records": records}))
    (tmp_path / "table_3.json").write_text("cut off {")
    published = Published(tmp_path)
    assert published.get("0000000000000000", RUNS["train"]["key"])["schema"] == SCHEMA
    assert published.get("0000000000000000") is None
    assert published.score(RUNS["train"]["key"], score["settings"]) == score
    assert published.score(RUNS["train"]["key"], {**score["settings"], "data": "other"}) is None
    assert published.used == {RUNS["train"]["key"], score["key"]}
    assert Published(tmp_path / "not there").get(RUNS["train"]["key"]) is None


def test_published_scores_of_one_run_and_task_do_not_hide_each_other(tmp_path):
    settings = {"task": "mr", "data": "d", "encoder": {"model": "m", "precision": "fp32"}}
    various = [
        {**settings, "classifier": {"name": "batched", "kfold": 10}},
        {**settings, "classifier": {"name": "batched", "kfold": 5}},
        {**settings, "classifier": {"name": "sklearn", "kfold": 10}},
        {**settings, "folds_of": "within_topic"},
        {**settings, "encoder": {"model": "m", "precision": "bf16"}},
    ]
    empty = {"kind": "evaluate", "run": "0" * 16, "schema": SCHEMA, "seed": None, "facts": []}
    records = {
        f"{n:016x}": {**empty, "key": f"{n:016x}", "settings": one, "scores": {"accuracy": n}}
        for n, one in enumerate(various)
    }
    (tmp_path / "table_5.json").write_text(json.dumps({"records": records}))
    published = Published(tmp_path)
    for n, one in enumerate(various):
        asked = {**one, "encoder": {"precision": one["encoder"]["precision"]}}
        assert published.score("0" * 16, asked)["scores"] == {"accuracy": n}
    assert published.score("0" * 16, settings) is None and published.score("1", various[0]) is None
    assert published.used == set(records)


def test_published_scores_of_equal_models_are_those_of_every_run_that_has_them(tmp_path):
    last = {**RUNS["train"], "weights_sha256": "w"}
    settings = {**last["settings"], "checkpoint": "best_dev"}
    best = {**last, "key": "b" * 16, "settings": settings}
    other = {**last, "key": "c" * 16, "settings": {**settings, "pooling": {"name": "max"}}}
    score = {**upgraded(RUNS["evaluate"]), "run": last["key"]}
    records = {record["key"]: record for record in (last, best, other, score)}
    (tmp_path / "recipes.json").write_text(json.dumps({"records": records}))
    published = Published(tmp_path)
    assert published.score(last["key"], score["settings"]) == score
    assert published.score(best["key"], score["settings"]) == score
    assert published.score(other["key"], score["settings"]) is None, "another pooling"
    assert published.score("d" * 16, score["settings"]) is None, "a run of which nothing is known"


@pytest.mark.parametrize(
    ("kernel_says", "name", "instructions"),
    [
        ("model name\t: AMD EPYC\nflags\t\t: fpu sse2 avx2\n", "AMD EPYC", "AVX2"),
        (
            "model name\t: AMD EPYC\nflags\t\t: avx2 avx512f avx512_vnni avx512_bf16\n\n"
            "model name\t: other\nflags\t\t: avx2\n",
            "AMD EPYC",
            "AVX-512 VNNI bf16",
        ),
        ("model name\t: i7\nflags\t\t: avx2 avx_vnni\n", "i7", "AVX2 AVX-VNNI"),
        ("processor\t: 0\nFeatures\t: fp asimd i8mm bf16\n", platform.machine(), "bf16 I8MM"),
        ("", platform.machine(), ""),
    ],
)
def test_processors_of_one_name_are_told_apart_by_their_instructions(
    tmp_path, kernel_says, name, instructions
):
    (tmp_path / "cpuinfo").write_text(kernel_says)
    found = _cpu(tmp_path / "cpuinfo")
    assert found == (name, instructions.split())
    assert machine({"hardware": {"cpu": name, "cores": 2}}) == f"{name}, 2 cores"
    several = {"cpu": name, "instructions": instructions.split(), "cores": 2}
    shown = f" ({', '.join(instructions.split())})" if instructions else ""
    assert machine({"hardware": several}) == f"{name}{shown}, 2 cores"


@pytest.mark.parametrize(("threads", "said"), [(2, ""), (1, ", 1 thread"), (4, ", 4 threads")])
def test_threads_are_named_where_they_are_not_the_cores(threads, said):
    record = {"hardware": {"cpu": "Some CPU", "cores": 2}, "threads": threads}
    assert machine(record) == f"Some CPU, 2 cores{said}"
