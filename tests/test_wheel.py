"""An installed copy works outside the checkout, with the commands and options that it brings."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sbert_repro.cli import READER_GONE

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's contents in a folder of their own, and an empty folder to work in."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    build = ["--no-index", "--disable-pip-version-check", "-w", str(folder)]
    # setuptools writes beside what it builds, so it builds a copy.
    copy = folder / "copy"
    git = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        ours = name.startswith(("src/", "scripts/", "configs/")) or "/" not in name
        if ours and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*pip, *build, str(copy)], check=True, capture_output=True, timeout=200)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder


def sbert_repro(installed, *words):
    work = installed / "work"
    work.mkdir(exist_ok=True)
    start = "from sbert_repro.cli import console; console()"
    return subprocess.run(
        [sys.executable, "-c", start, *words],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(installed / "site"), "WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=250,
    )


def test_lists_its_commands(installed):
    done = sbert_repro(installed, "--help")
    words = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    wanted = {"train", "evaluate", "encode", "search", "export", "table", "report"}
    assert done.returncode == 0 and wanted <= set(words) and "lock" not in words


def test_a_reader_may_have_seen_enough_of_its_commands(installed):
    reader, output = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", "from sbert_repro.cli import console; console()", "--help"],
        env={**os.environ, "PYTHONPATH": str(installed / "site")},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=250,
    )
    os.close(output)
    assert (done.returncode, done.stderr) == (READER_GONE, "")


@pytest.mark.parametrize("word", ["train", "evaluate", "table", "verify_data"])
def test_help_names_a_command_as_it_was_typed(installed, word):
    done = sbert_repro(installed, word, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert f"sbert-repro {word}" in done.stdout and ".py" not in done.stdout


def test_an_unknown_command_is_one_line(installed):
    done = sbert_repro(installed, "trian")
    assert done.returncode == 2
    assert done.stderr.startswith("error: trian: there is no such command; there are train,")


def test_trains_in_an_empty_folder(installed):
    done = sbert_repro(
        installed, "train", "profile=demo", "pooling=max", "loss=regression", "trainer.max_steps=3"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("run ")
    records = list((installed / "work" / "results" / "runs").glob("*/record.json"))
    assert records and all('"commit": null' in r.read_text(encoding="utf-8") for r in records)


def test_says_that_it_has_types(installed):
    assert (installed / "site" / "sbert_repro" / "py.typed").is_file()
