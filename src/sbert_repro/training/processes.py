"""The processes of one run: begun beside this one, and ended with it, however it ends.

The process that was called is the first of them and keeps the lock, the record, the tracking and
all that is written. The others begin the same run from its options and follow it step by step.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from sbert_repro.errors import UserError
from sbert_repro.redaction import masked
from sbert_repro.training.distributed import TERMINATED
from sbert_repro.training.process_group import Begin, Processes, Said, follow, joined

_GRACE = 60.0
"""Seconds that the first process has to notice by itself that another one is dead."""
_NOTICE = 5.0
"""Seconds until the end of a process is seen by the others."""
_LEAVE = 20.0
"""Seconds that the others have to end after a run that ended well."""
_USER_MISTAKE = 2
_NOTHING: Said = (None, "")


def check_devices(count: int, accelerator: str) -> None:
    """Refuse more processes than the machine has GPUs.

    Args:
        count: ``trainer.devices``.
        accelerator: ``trainer.accelerator``.

    Raises:
        UserError: If there are not so many GPUs.
    """
    if count > 1 and _on_gpus(accelerator) and count > (there := torch.cuda.device_count()):
        raise UserError(
            f"trainer.devices={count}: this machine has {there} GPU{'s' if there > 1 else ''}; use "
            f"trainer.devices={there}, or trainer.accelerator=cpu"
        )


def _on_gpus(accelerator: str) -> bool:
    return accelerator != "cpu" and torch.cuda.is_available()


@contextlib.contextmanager
def together(count: int, accelerator: str, begin: Begin) -> Iterator[None]:
    """Run a block as the first of several processes that run it.

    Args:
        count: How many; with one nothing is begun.
        accelerator: ``trainer.accelerator``.
        begin: What each of the others calls to read and build the same run.

    Yields:
        Nothing.

    Raises:
        UserError: If one of the others died, or could not begin.
    """
    if count == 1:
        yield
        return
    with (
        _share_of_threads(count) as threads,
        _told_to_end(),
        tempfile.TemporaryDirectory(prefix="sbert-ranks-") as meeting,
    ):
        processes = Processes(count, _on_gpus(accelerator), threads, Path(meeting))
        others = _Others(processes)
        with others.begun(begin), others.guarded(), joined(processes, 0), others.heard():
            yield


@contextlib.contextmanager
def _share_of_threads(count: int) -> Iterator[int]:
    """All processes together use as many threads as one would."""
    before = torch.get_num_threads()
    own = max(1, before // count)
    torch.set_num_threads(own)
    try:
        yield own
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """Note a SIGTERM for the next step, after which all processes save and end."""
    TERMINATED.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: TERMINATED.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Others:
    """The processes beside the first one."""

    def __init__(self, processes: Processes) -> None:
        self._all, self._ended = processes, threading.Event()
        self._processes: list[SpawnProcess] = []
        self._pipes: list[Connection] = []

    @contextlib.contextmanager
    def begun(self, begin: Begin) -> Iterator[None]:
        """Begin them, and wait until all have read and built the run; leave none behind."""
        try:
            for number in range(1, self._all.count):
                self._start(number, begin)
            for number, pipe in enumerate(self._pipes, 1):
                if (said := _received(pipe)) is not None:
                    raise self._why(number, *said)
            yield
            self._leave(_LEAVE)
        finally:
            self._leave(0)

    def _start(self, number: int, begin: Begin) -> None:
        spawn = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        pipe, theirs = spawn.Pipe(duplex=False)
        words = (number, self._all, theirs, begin)
        process = spawn.Process(target=follow, args=words, name=f"rank {number}")
        process.start()
        theirs.close()  # so that its end is read as an end
        self._processes.append(process)
        self._pipes.append(pipe)

    def _leave(self, seconds: float) -> None:
        """Wait so long for each process to end, then end it."""
        for process in self._processes:
            process.join(seconds)
            if process.is_alive():
                process.kill()
                process.join()

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """A GPU waits for a dead process for ever: end this one then, in one line."""
        threading.Thread(target=self._guard, daemon=True).start()
        try:
            yield
        finally:
            self._ended.set()

    def _guard(self) -> None:
        alive = dict(enumerate(self._processes, 1))
        while alive and not self._ended.is_set():
            ended = wait_for([process.sentinel for process in alive.values()], timeout=1.0)
            for number in [n for n, process in alive.items() if process.sentinel in ended]:
                if not self._ended.wait(_GRACE) and alive.pop(number).exitcode != 0:
                    why = self._why(number, *(_received(self._pipes[number - 1]) or _NOTHING))
                    shutil.rmtree(self._all.meeting, ignore_errors=True)
                    sys.stderr.write(masked(f"error: {why}\n"))
                    sys.stderr.flush()
                    os._exit(_USER_MISTAKE)

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Say why a step failed when it did because another process has ended."""
        try:
            yield
        except SystemExit:
            raise  # all of them were asked to end
        except RuntimeError as problem:  # the other end of a connection is gone, among others
            if (reason := self._reason()) is None:
                raise
            raise reason from problem
        except BaseException:
            self._leave(0)
            raise

    def _reason(self) -> Exception | None:
        wait_for([process.sentinel for process in self._processes], timeout=_NOTICE)
        ended = [n for n, p in enumerate(self._processes, 1) if p.exitcode not in (None, 0)]
        said = {number: _received(self._pipes[number - 1]) or _NOTHING for number in ended}
        # One that met a RuntimeError may have met the end of another, as the first one has.
        first = sorted(ended, key=lambda number: said[number][0] is RuntimeError)
        return self._why(first[0], *said[first[0]]) if first else None

    def _why(self, number: int, kind: type[Exception] | None, text: str) -> Exception:
        if kind is None:
            return UserError(self._died(number))
        if kind is UserError:
            return UserError(text)
        return RuntimeError(f"rank {number} of trainer.devices={self._all.count} ended:\n{text}")

    def _died(self, number: int) -> str:
        process = self._processes[number - 1]
        process.join(_NOTICE)
        code = process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"status {code}"
        return (
            f"rank {number} of trainer.devices={self._all.count} died ({how}; is memory short?): "
            "the same command goes on from the last checkpoint"
        )


def _received(pipe: Connection) -> Said | None:
    try:
        said: Said | None = pipe.recv()
    except EOFError:
        return _NOTHING
    return said
