"""SIGTERM, by which a cluster asks a process to end; and Ctrl-C."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn

TERMINATED = 143
"""The exit status of a process that SIGTERM ended."""


class Terminated(SystemExit):
    """SIGTERM was received."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C was pressed in a training that the same command continues.

    Args:
        step: The step that is saved, 0 if none is; also an attribute.
        steps: Steps of the whole training; also an attribute.
    """

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(step, steps)
        self.step, self.steps = step, steps


def _end(_number: int, _frame: object) -> NoReturn:
    raise Terminated(TERMINATED)


@contextlib.contextmanager
def on_sigterm(handler: Any = _end) -> Iterator[None]:
    """Say what SIGTERM does while the block runs.

    Args:
        handler: As in `signal.signal`; without one the process ends in order: what is unfinished is
            removed, locks are freed.

    Yields:
        Nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Stack(ctypes.Structure):
    """``stack_t`` of Linux: where a thread's signal handlers run."""

    _fields_: ClassVar = [
        ("start", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    ]


@contextlib.contextmanager
def same_signal_stack() -> Iterator[None]:
    """Let this thread's signal handlers run after the block on the stack they had before it.

    Each ``openvino.Core`` installs a stack of its own and, once freed, installs again the one that
    it found. If two are freed in the order in which they were made, the second one installs memory
    that is gone, and the next SIGTERM or Ctrl-C ends the process in a segmentation fault.

    Yields:
        Nothing.
    """
    if sys.platform != "linux":
        yield
        return
    sigaltstack, before = ctypes.CDLL(None).sigaltstack, _Stack()
    sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(before), None)
