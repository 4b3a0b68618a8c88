"""`python scripts/table.py`: mistakes in one line, a dry run on real files, whole tables."""

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sbert_repro.tables import printed, spec
from sbert_repro.tables.plan import Reason, Result

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "scripts" / "table.py")


@pytest.fixture
def table(monkeypatch, capsys):
    """Runs the command in this process; returns status, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", [SCRIPT, *words])
        monkeypatch.setenv("HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "1"))
        status = 0
        try:
            runpy.run_path(SCRIPT, run_name="__main__")
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


def start(folder, *words):
    command = [sys.executable, SCRIPT, "profile=demo", *words]
    command += [f"paths.results={folder / 'results'}", f"paths.cache={folder / 'cache'}"]
    environment = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["table=99"], "error: table=99: there is no such table; there are: 1, 2, "),
        ([], "error: table=: there is no such table; there are: 1, 2, "),
        (["table=1", "launcher=slurm"], "error: launcher=slurm: there is no such launcher"),
        (["table=1", "--dry"], "error: --dry: no such option; there are name=value, --dry-run"),
        (["table=1", "fast"], "error: fast: no such option"),
        (["table=1", "profile=huge"], "error: profile=huge: there is no such option"),
        (["table=1", "jobs=0"], "error: jobs=0: expected a whole number of models at a time"),
        (["table=1", "jobs=two"], "error: jobs=two: expected a whole number"),
        (["table=1", "jobs=-1"], "error: jobs=-1: expected a whole number"),
        (["table=7", "jobs=2"], "error: jobs=2: table 7 is timed"),
        (["table=all"], "error: table=all: for --dry-run only; `make reproduce-all`"),
        (["table=all", "--dry-run", "jobs=0"], "error: jobs=0: expected"),
        (["--help", "profile=huge"], "error: profile=huge: there is no such option"),
        (["table=1", "seed=3"], "error: seed=3: a table has its own seeds"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(table, words, said):
    status, out, err = table(*words)
    assert (status, out) == (2, "")
    assert err.startswith(said)
    assert len(err.splitlines()) == 1


def test_a_dry_run_without_weights_writes_nothing(table, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    words = [f"paths.{name}={tmp_path / name}" for name in ("data", "models", "results", "cache")]
    status, out, err = table("table=6", "profile=paper", "--dry-run", *words)
    assert status == 0, err
    assert "needs (1)" in out and "google-bert/bert-base-uncased" in out
    assert "Cells, seed by seed: 130 cannot be run" in out
    assert "Left to do: 120 trainings, 130 scores" in out
    assert "there is no estimate" in out
    assert list((tmp_path).glob("[!h]*")) == []


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_shows_words_options_and_an_example(table, word):
    status, out, err = table("table=6", "profile=demo", "profile.max_seeds=2", word)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("One table of the paper: python scripts/table.py table=1")
    assert [line.split()[0] for line in lines[3:9]] == [
        "table=N",
        "profile=paper",
        "jobs=1",
        "launcher=local",
        "again=false",
        "--dry-run",
    ]
    assert {"  profile.max_seeds=2", "  trainer.max_steps=null", "  wandb.mode=auto"} <= set(lines)
    assert not [line for line in lines if line.startswith(("  encoder", "  seed", "  prepare"))]
    assert lines[-1] == "Example: python scripts/table.py table=6 profile=demo jobs=2"


def test_help_for_a_timed_table_shows_how_it_is_timed(table):
    status, out, err = table("table=7", "--help")
    assert (status, err) == (0, "")
    assert "  repeats=7" in out.splitlines()
    assert "trainer." not in out


GOOD = "table,row,column,ours\n" + "".join(f"6,row {n},STSb,8{n}.0\n" for n in range(9))


@pytest.fixture
def good_table(tmp_path):
    """A file of table 6 with nine numbers, and the words that choose its folder."""
    path = tmp_path / "results" / "demo" / "table_6.csv"
    path.parent.mkdir(parents=True)
    path.write_text(GOOD)
    places = [f"paths.{name}={tmp_path / name}" for name in ("results", "cache")]
    return path, ["table=6", "profile=demo", "wandb.mode=disabled", *places]


@pytest.mark.parametrize(
    "word",
    [
        "trainer.batch_size=0",
        "trainer.batch_size=-4",
        "trainer.max_steps=-1",
        "trainer.warmup=9",
        "trainer.warmup=nan",
        "trainer.max_grad_norm=nan",
        "optimizer.lr=nan",
        "optimizer.lr=inf",
        "trainer.accelerator=quantum",
        "trainer.devices=0",
        "again=perhaps",
    ],
)
def test_a_bad_option_is_refused_before_the_first_job(table, good_table, word):
    path, words = good_table
    status, out, err = table(*words, word)
    assert (status, out) == (2, "") and err.startswith(f"error: {word}")
    assert len(err.splitlines()) == 1 and ": expected " in err
    assert [p for p in path.parents[2].rglob("*") if p.is_file()] == [path]
    assert path.read_text() == GOOD


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("loss.num_labels=2", "error: table=6: every row is refused: loss.num_labels"),
        ("trainer.devices=4096", "error: trainer.devices=4096: this machine has "),
    ],
)
def test_options_that_allow_no_row_are_refused_and_no_table_is_written(
    table, good_table, word, said
):
    path, words = good_table
    path.unlink()
    status, _, err = table(*words, word)
    assert status == 2 and err.splitlines()[-1].startswith(said), err
    assert not list(path.parents[1].rglob("*.*")), "nothing below the results"


@pytest.mark.parametrize("code", ["failed", "diverged"])
def test_a_good_table_is_kept_when_every_job_failed_or_diverged(
    table, good_table, monkeypatch, code
):
    path, words = good_table
    reason = Reason(code, "no number", failed=code == "failed")

    def carry_out(plan, _launcher, show):
        results = plan.known
        show(results)
        results |= {job.number: Result(reason=reason) for job in plan.left}
        show(results)
        return results

    monkeypatch.setattr("sbert_repro.tables.launch.carry_out", carry_out)
    status, _, err = table(*words)
    assert status == 2 and path.read_text() == GOOD
    assert "not written: this table has 0 numbers, and the file has 9: add again=true" in err
    status, out, _ = table(*words, "again=true")
    assert status == 1 and "written: " in out
    assert not any(line["ours"] for line in csv.DictReader(path.open(encoding="utf-8")))


def test_a_table_says_what_would_fill_it_before_it_offers_to_replace_a_good_one(
    table, good_table, monkeypatch
):
    path, words = good_table
    missing = Reason("missing", "no data", advice="no data: get it", mend="get it with `make data`")
    other = Reason("missing", "no model", mend="make setup EXTRAS=lite")

    def carry_out(plan, _launcher, show):
        reasons = dict.fromkeys(range(len(plan.jobs)), Result(reason=missing))
        return reasons | {0: Result(reason=other)}

    monkeypatch.setattr("sbert_repro.tables.launch.carry_out", carry_out)
    status, _, err = table(*words)
    assert status == 2 and path.read_text() == GOOD and len(err.splitlines()) == 1
    assert err.endswith(
        "make setup EXTRAS=lite; or get it with `make data`; or add again=true to replace it\n"
    )
    path.unlink()
    status, out, _ = table(*words)
    assert status == 0
    assert out.splitlines()[-3:-1] == [
        "to fill cells: make setup EXTRAS=lite",
        "to fill cells: get it with `make data`",
    ]


def test_a_changed_table_has_a_file_of_its_own_that_nobody_else_reads(
    table, good_table, monkeypatch
):
    path, words = good_table

    def carry_out(plan, _launcher, show):
        show(plan.known)
        return plan.known

    monkeypatch.setattr("sbert_repro.tables.launch.carry_out", carry_out)
    for _ in range(2):  # an earlier changed table is replaced, whatever it has
        status, out, err = table(*words, "trainer.max_steps=20")
        assert status == 0, err
        assert out.splitlines()[-2:] == [
            "changed by trainer.max_steps=20, so it has a file of its own: the table of profile "
            "demo stays as it is",
            f"written: {path.parent / 'changed' / 'table_6.md'}",
        ]
        (path.parent / "changed" / "table_6.csv").write_text(GOOD)
    assert path.read_text() == GOOD
    assert not (path.parent / "records").exists()
    assert "`trainer.max_steps=20`" in (path.parent / "changed" / "table_6.md").read_text()
    assert printed.read(spec.load("6"), path.parent).records == {}


@pytest.mark.timeout(900)
def test_two_at_a_time_make_the_table_that_one_makes(tmp_path):
    found = {}
    for jobs in ("1", "2"):
        process = start(tmp_path / jobs, "table=4", f"jobs={jobs}", "trainer.max_steps=6")
        _, said = process.communicate()
        assert process.returncode == 0, said
        results = tmp_path / jobs / "results"
        records = [json.loads(path.read_text()) for path in results.glob("runs/*/record.json")]
        weights = results.glob("runs/*/model/*.safetensors")
        found[jobs] = (
            (results / "demo" / "changed" / "table_4.csv").read_text(),
            {record["key"]: record["scores"] for record in records},
            {path.parents[1].name: path.read_bytes() for path in weights},
        )
        # A line as each model begins, and one as it ends.
        lines = [line for line in said.splitlines() if line.startswith("table 4 [")]
        assert len([line for line in lines if ": done; " in line]) == len(lines) // 2 == 5
    assert found["1"][2] and found["1"] == found["2"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_table_goes_on_after_an_interruption_and_is_done_once(tmp_path):
    words = ("table=2", "trainer.max_steps=10", "trainer.save_every=2", "trainer.progress=false")
    process = start(tmp_path, *words)
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("results/runs/*/checkpoints/last.ckpt")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("interrupted: the same command goes on")
    assert "Traceback" not in said
    path = tmp_path / "results" / "demo" / "changed" / "table_2.csv"
    early = list(csv.DictReader(path.open(encoding="utf-8")))

    process = start(tmp_path, *words)
    out, said = process.communicate()
    assert process.returncode == 0, said
    found = list(csv.DictReader(path.open(encoding="utf-8")))
    assert len(found) == len(early) == 18
    ran = {line["row"]: line for line in found}
    for row in ("SBERT-NLI-base", "SBERT-STSb-base", "SBERT-NLI-STSb-base"):
        assert float(ran[row]["ours"]) <= 100
        assert ran[row]["verdict"] == "stand-in"
    nli, both = (ran[row]["run_keys"].split() for row in ("SBERT-NLI-base", "SBERT-NLI-STSb-base"))
    assert both[0] == nli[0], "the first stage is the other row's run"
    kept = json.loads((path.parent / "records" / "table_2.json").read_text(encoding="utf-8"))
    assert {key for line in found for key in line["run_keys"].split()} == kept["records"].keys()

    before = {p: p.read_bytes() for p in path.parent.rglob("table_2.*")}
    process = start(tmp_path, *words)
    again, said = process.communicate()
    assert process.returncode == 0
    assert again == out
    assert not [line for line in said.splitlines() if line.startswith("table 2 [")]
    assert {p: p.read_bytes() for p in path.parent.rglob("table_2.*")} == before
