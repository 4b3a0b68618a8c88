"""Runs a script of the project, notes what it begins, and kills itself at a chosen moment.

python program.py NOTES KILL_AFTER SCRIPT [WORDS]

KILL_AFTER counts what changes the file system below the folder of NOTES: a file that is opened for
writing, renamed, linked or removed, a folder that is made or removed. Just before that one the
process gets SIGKILL, as from the kernel when memory is short; 0: never. NOTES gets a line for each
training and each evaluation that begins, and in the end one with the number of changes.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def watch(root: str, kill_after: int) -> list[int]:
    count = [0]

    def changed(event: str, arguments: tuple) -> None:
        if event == "open":
            _, mode, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not writes or (mode is not None and "r" in mode and "+" not in mode):
                return
        elif event not in CHANGES:
            return
        if not str(arguments[0]).startswith(root):
            return
        count[0] += 1
        if count[0] == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(changed)
    return count


def note(path: Path, line: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def note_beginnings(path: Path) -> None:
    """So that one can count how often each thing was done, over all processes."""
    from sbert_repro.evaluation import run as evaluation
    from sbert_repro.training import fit as training

    fit, compute = training.fit, evaluation._compute

    def noted_fit(config, folder, *rest):
        note(path, f"train {folder.name} {os.getpid()}")
        return fit(config, folder, *rest)

    def noted_compute(encoder, data, cache):
        for one in data:
            note(path, f"evaluate {evaluation.score_key(encoder, one)} {os.getpid()}")
        return compute(encoder, data, cache)

    training.fit, evaluation._compute = noted_fit, noted_compute


def main() -> None:
    notes, kill_after, script, *words = sys.argv[1:]
    # A thread that waits for the network, or W&B's, changes nothing here.
    count = watch(str(Path(notes).parent), int(kill_after))
    note_beginnings(Path(notes))
    sys.argv = [script, *words]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        note(Path(notes), f"changes {count[0]}")


if __name__ == "__main__":
    main()
