"""What the Makefile and the README promise can be typed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*%?):(?!=)", MAKEFILE, re.MULTILINE))
# In two pieces, so that this file does not name them either.
REGISTRIES = ["pypi" + ".org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian.org"]


OF_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
OF_MAKE |= {"ARGS", "PROFILE", "JOBS", "LAUNCHER", "EXTRAS", "PYTHON"}  # such as make test ARGS=-q


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs make in a folder, without the settings of a make that may have started this test."""
    clean = {k: v for k, v in os.environ.items() if k not in OF_MAKE}
    command = ["make", *words]
    return subprocess.run(
        command, cwd=folder, env=clean, capture_output=True, text=True, check=False
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The three files that set-up reads, in a folder of their own."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def interpreter(folder: Path, body: str) -> str:
    """A stand-in for python3 that runs `body`."""
    path = folder / "stand-in"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return f"PYTHON={path}"


def refusal(folder: Path, python: str) -> str:
    """The one line that a refused set-up prints, make's own closing line aside."""
    done = make(folder, "setup", python)
    assert done.returncode == 2
    assert not (folder / ".venv").exists()
    lines = [
        line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("make")
    ]
    assert len(lines) == 1
    return lines[0]


def test_setup_refuses_a_machine_without_python(checkout):
    assert refusal(checkout, "PYTHON=no-such-python").startswith("error: no no-such-python")


def test_setup_refuses_an_old_python(checkout):
    pretend = "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[1])"
    old = f'exec {sys.executable} -c "{pretend}" "$2"'
    assert "is 3.9, 3.11 or newer is needed" in refusal(checkout, interpreter(checkout, old))


def test_setup_refuses_a_python_without_venv(checkout):
    bare = f'case "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"'
    assert "no venv module" in refusal(checkout, interpreter(checkout, bare))


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_setup_runs_again_when_its_input_changes(checkout, changed):
    built = checkout / ".venv" / ".built"
    built.parent.mkdir()
    built.touch()
    assert make(checkout, "-q", "setup").returncode == 0
    later = built.stat().st_mtime + 10
    os.utime(checkout / changed, (later, later))
    assert make(checkout, "-q", "setup").returncode == 1


def test_an_extra_is_installed_once_and_again_when_its_lock_changes(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".built").touch()
    shutil.copy(ROOT / "requirements-use.lock", checkout)
    later = (checkout / ".venv" / ".built").stat().st_mtime + 10
    os.utime(checkout / "requirements-use.lock", (later - 20, later - 20))
    assert make(checkout, "-q", "setup").returncode == 0
    assert make(checkout, "-q", "setup", "EXTRAS=use").returncode == 1
    (checkout / ".venv" / ".built-use").touch()
    assert make(checkout, "-q", "setup", "EXTRAS=use").returncode == 0
    os.utime(checkout / "requirements-use.lock", (later, later))
    # Also without being asked for again: what is installed stays as its lock says.
    assert make(checkout, "-q", "setup").returncode == 1


def test_an_unknown_extra_is_refused(checkout):
    shutil.copy(ROOT / "requirements-use.lock", checkout)
    done = make(checkout, "setup", "EXTRAS=use,usee")
    assert done.returncode == 2 and done.stdout == "" and not (checkout / ".venv").exists()
    assert "there is no extra usee; there are: use" in done.stderr
    assert done.stderr.count("\n") == 1


def test_every_table_with_a_file_is_reproduced_in_order():
    numbers = sorted(
        p.stem.removeprefix("table_") for p in (ROOT / "configs/tables").glob("table_*.yaml")
    )
    start, end = "scripts/table.py table=", " profile=lite launcher=local jobs="
    said = [f"{start}{n}{end}3 wandb.mode=disabled" for n in numbers]
    # What runs beside would be in Table 7's times, and it trains nothing.
    said[-1] = f"{start}7{end}1 repeats=2"
    said.append(f"{start}recipes{end}3 wandb.mode=disabled")
    assert numbers[-1] == "7"
    assert runs_of("reproduce-all", "JOBS=3", "ARGS=wandb.mode=disabled repeats=2") == said
    assert runs_of("table-6", "JOBS=3") == [f"{start}6{end}3"]
    assert runs_of("table-7", "JOBS=3") == [f"{start}7{end}3"], "which the script refuses"
    assert runs_of("recipes") == [f"{start}recipes{end}1"]
    assert runs_of("table-1") == [f"{start}1{end}1"]
    assert runs_of("reproduce-all", "ARGS=--dry-run") == [f"{start}all{end}1 --dry-run"]
    demo = [line.replace("profile=lite", "profile=demo") for line in said[:-1]]
    asked = ("reproduce-all", "JOBS=3", "ARGS=wandb.mode=disabled repeats=2", "PROFILE=demo")
    assert runs_of(*asked) == demo, "recipes say nothing on made-up sentences"


def runs_of(*words: str) -> list[str]:
    """What make would run of the script of tables."""
    done = make(ROOT, "-n", "-o", "setup", "PROFILE=lite", *words)
    lines = [line.partition(" ")[2].strip() for line in done.stdout.splitlines()]
    return [line for line in lines if line.startswith("scripts/table.py")]


TABLE = """
import os, sys
from sbert_repro.cli import one_line_errors
from sbert_repro.errors import UserError

def table():
    print("begun", sys.argv[2], flush=True)
    if "table=1" in sys.argv and {number}:
        os.kill(os.getpid(), {number})
    elif "table=1" in sys.argv:
        raise UserError("failed")

one_line_errors(table)
"""


@pytest.mark.parametrize(
    ("number", "begun", "says"),
    [
        (signal.SIGINT, "1", "interrupted: "),
        (signal.SIGTERM, "1", "ended by SIGTERM: "),
        (0, "12", "error: failed"),
    ],
)
def test_a_table_that_is_stopped_stops_all_and_one_that_fails_does_not(
    checkout, number, begun, says
):
    folders = checkout / "configs" / "tables", checkout / ".venv" / "bin"
    for folder in folders:
        folder.mkdir(parents=True)
    for table in "12":
        (folders[0] / f"table_{table}.yaml").touch()
    program = checkout / "program.py"
    program.write_text(TABLE.format(number=int(number)), encoding="utf-8")
    shutil.move(
        interpreter(checkout, f'exec {sys.executable} {program} "$@"').partition("=")[2],
        folders[1] / "python",
    )
    (checkout / ".venv" / ".built").touch()
    done = make(checkout, "demo")
    assert re.findall(r"^begun table=(.)$", done.stdout, re.MULTILINE) == list(begun)
    assert says in done.stderr and done.returncode == 2


def test_scripts_of_the_makefile_exist():
    scripts = set(re.findall(r"scripts/\w+\.py", MAKEFILE))
    assert scripts and all((ROOT / name).is_file() for name in scripts)


def test_readme_names_only_what_exists():
    named = set(re.findall(r"\bmake ([a-z][a-z0-9-]*)", README))
    assert {"demo", "test"} <= named
    assert {re.sub(r"^table-[0-9]$", "table-%", name) for name in named} <= TARGETS
    for path in re.findall(r"\b(?:scripts|notebooks|configs|tests|src)/[\w./-]+", README):
        assert (ROOT / path).exists(), path


def test_readme_names_every_table():
    files = {
        path.stem.removeprefix("table_") for path in (ROOT / "configs/tables").glob("table_*.yaml")
    }
    assert set(re.findall(r"\bmake table-(\d)", README)) == files


def test_ci_refuses_to_pass_without_real_data(tmp_path):
    (tmp_path / "checkout" / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", tmp_path / "checkout" / ".ci")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SBERT_")} | {"CI": "true"}
    command = ["bash", ".ci/run"]
    done = subprocess.run(
        command, cwd=tmp_path / "checkout", env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no ../shared/data" in done.stderr


def test_hooks_run_tools_of_the_lock():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][
        0
    ]["hooks"]
    folder = Path(sys.executable).parent
    for hook in hooks:
        assert (folder / Path(hook["entry"].split()[0]).name).is_file(), hook["id"]


def test_no_registry_host_is_named():
    words = [word for host in REGISTRIES for word in ("-e", host)]
    command = ["git", "grep", "--untracked", "-lIiF", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    # 1 is git grep's "found nothing"; 0 is "found", and more is "could not look".
    assert done.returncode == 1, done.stdout + done.stderr
