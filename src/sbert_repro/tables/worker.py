"""A process of its own that trains and scores the models it is given, one after the other."""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

from omegaconf import DictConfig, open_dict

from sbert_repro.errors import UserError
from sbert_repro.provenance import provenance
from sbert_repro.redaction import log_masked
from sbert_repro.tables import one_by_one
from sbert_repro.tables.assemble import Outcome
from sbert_repro.tables.one_by_one import Does
from sbert_repro.tables.subject import Record

PATIENCE = 120.0
"""Seconds that a training has for its checkpoint after SIGTERM, before it is killed."""
_THREADS = "OMP_NUM_THREADS"
_MEMORY = ("out of memory", "can't allocate memory", "cublas_status_alloc_failed")
_log = logging.getLogger(__name__)
T = TypeVar("T")


def start(work: Does, jobs: int) -> tuple[BaseProcess, Connection]:
    """Start a process.

    Args:
        work: Training and evaluation; it is sent to the process.
        jobs: How many models there are at a time.

    Returns:
        The process; the line to `serve` in it.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, work, jobs))
    with _share_of_threads(jobs), _without_interrupts():
        process.start()
    there.close()
    return process, here


@contextlib.contextmanager
def _share_of_threads(jobs: int) -> Iterator[None]:
    """Start processes with their share of the cores, unless the user chose a number of threads."""
    if os.environ.get(_THREADS):
        yield
        return
    os.environ[_THREADS] = str(max(1, (provenance()["hardware"]["cores"] or 1) // jobs))
    try:
        yield
    finally:
        del os.environ[_THREADS]


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: this one ends them so that they can save."""
    resource_tracker.ensure_running()  # starting that would let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(link: Connection, work: Does, jobs: int) -> None:
    """Do what comes in until the other end is closed.

    Args:
        link: Gives a subject at a time; gets its outcome, and the keys of runs that failed.
        work: Training and evaluation.
        jobs: How many models there are at a time.
    """
    _follow_parent()
    # Bars and steps of several models would write over each other; problems are said.
    log_masked(logging.WARNING)
    beside = Beside(work, jobs)
    while True:
        try:
            subject = link.recv()
        except EOFError:
            return
        broken: dict[str, Outcome] = {}
        link.send((one_by_one.outcome(subject, beside, broken), broken))
        _give_memory_back()


def _follow_parent() -> None:
    """End soon after the parent, however it ended: training writes its checkpoint first."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is started by a launcher"

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()


def _give_memory_back() -> None:
    """What this process keeps of the GPU's memory for later is missing beside it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class Beside:
    """Training and evaluation without bars, which names JOBS= when memory runs out.

    Args:
        work: What does it.
        jobs: How many models there are at a time.
    """

    def __init__(self, work: Does, jobs: int) -> None:
        self._work, self._jobs = work, jobs

    def train(self, config: DictConfig, overrides: Sequence[str]) -> Record:
        """Train, or find in the ledger."""
        return self._done(lambda: self._work.train(without_bars(config), overrides))

    def score(self, config: DictConfig, run: str | None, tasks: Sequence[str]) -> dict[str, Record]:
        """Score a model: that of a run, or the encoder that the options name."""
        return self._done(lambda: self._work.score(without_bars(config), run, tasks))

    def _done(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            short = isinstance(error, MemoryError) or any(m in said.lower() for m in _MEMORY)
            if isinstance(error, UserError) or not short:
                raise
            _log.warning("%s", " ".join(said.split()))
            raise UserError(
                f"out of memory with {self._jobs} models side by side, take JOBS={self._jobs - 1} "
                "or fewer"
            ) from error


def without_bars(config: DictConfig) -> DictConfig:
    """Give a copy of some options that shows no progress.

    Args:
        config: Of a training or an evaluation; left as it is.

    Returns:
        DictConfig: The copy.
    """
    copy = config.copy()
    with open_dict(copy):
        if "trainer" in copy:
            copy.trainer.progress = False
        else:
            copy.progress = False
    return copy
