"""What each process of a run is and does, and the group that they are together."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import distributed

from sbert_repro.errors import UserError
from sbert_repro.redaction import log_masked
from sbert_repro.training.distributed import PATIENCE

_INTERFACE = "GLOO_SOCKET_IFNAME"
_LOOPBACK = "lo"

Begin = Callable[[], Callable[[], None]]
"""Reads and builds a run, and gives what drives it; made of a module's function, so that it can
travel to another process."""
Said = tuple[type[Exception] | None, str]
"""What a process that failed says: the kind of its error and the text."""


@dataclass(frozen=True)
class Processes:
    """What all processes of a run know before it begins.

    Attributes:
        count: How many they are.
        gpus: Whether each has a GPU of its own.
        threads: Of each on the CPU.
        meeting: A folder of this run, where they find each other.
    """

    count: int
    gpus: bool
    threads: int
    meeting: Path


@contextlib.contextmanager
def joined(processes: Processes, number: int) -> Iterator[None]:
    """Be in the group while the block runs.

    Args:
        processes: All of them.
        number: Of this one, from 0.

    Yields:
        Nothing.
    """
    if processes.gpus:
        torch.cuda.set_device(number)
    place = str(processes.meeting / "store")
    store = distributed.FileStore(place, processes.count)  # type: ignore[attr-defined]
    with _on_this_machine():
        distributed.init_process_group(
            # What is told beside the gradients stays on the CPU, so that no GPU waits for it.
            "cpu:gloo,cuda:nccl" if processes.gpus else "gloo",
            store=store,
            rank=number,
            world_size=processes.count,
            timeout=PATIENCE,
        )
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def _on_this_machine() -> Iterator[None]:
    """Nobody outside can reach what the processes listen on."""
    chosen = _INTERFACE in os.environ
    if chosen or all(name != _LOOPBACK for _, name in socket.if_nameindex()):
        yield
        return
    os.environ[_INTERFACE] = _LOOPBACK
    try:
        yield
    finally:
        del os.environ[_INTERFACE]


def follow(number: int, processes: Processes, pipe: Connection, begin: Begin) -> None:
    """Be one of the processes beside the first one.

    Args:
        number: Which, from 1.
        processes: All of them.
        pipe: Gets ``None`` when the run is read and built, and what is said when it fails.
        begin: Reads and builds the run.
    """
    # The first one is told, saves together with the others, and ends them.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(processes.meeting,), daemon=True).start()
    log_masked(logging.WARNING)
    torch.set_num_threads(processes.threads)
    try:
        run = begin()
        pipe.send(None)
        with joined(processes, number):
            run()
    except SystemExit:
        return
    except Exception as problem:
        kind = next(k for k in (UserError, RuntimeError, Exception) if isinstance(problem, k))
        with contextlib.suppress(OSError):
            pipe.send((kind, str(problem) if kind is UserError else traceback.format_exc()))
        # Not sys.exit, which would wait for what a GPU has been told to do with the others.
        os._exit(1)


def _end_with_parent(meeting: Path) -> None:
    """Leave nothing behind when the first process is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    shutil.rmtree(meeting, ignore_errors=True)
    os._exit(1)
