"""Hidden folders: whole in the end, and those of the dead are removed."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from sbert_repro.fresh import filled, forget_dead, forget_temporaries

FILLER = """
    import os, signal, sys, time
    from pathlib import Path
    from sbert_repro.fresh import filled
    with filled(Path(sys.argv[1])) as own:
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
    with filled(tmp_path / "key") as own:
        (own / "a").write_text("whole")
        assert not (tmp_path / "key").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["key", "a"]


def test_a_failure_leaves_nothing(tmp_path):
    def fail():
        with filled(tmp_path / "key") as own:
            (own / "a").write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_slower_of_two_throws_its_own_away(tmp_path):
    with filled(tmp_path / "key") as slow:
        (slow / "a").write_text("slow")
        with filled(tmp_path / "key") as quick:
            (quick / "a").write_text("quick")
    assert (tmp_path / "key" / "a").read_text() == "quick"
    assert hidden(tmp_path) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_fills_is_not(tmp_path):
    dead, living = filler(tmp_path / "first"), filler(tmp_path / "second")
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait(10)
    assert len(hidden(tmp_path)) == 2
    with filled(tmp_path / "third") as own:
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
    forget_temporaries(tmp_path, ".model.*", ".record.*", "checkpoints/.*")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"checkpoints", "checkpoints/last.ckpt", "record.json"}
