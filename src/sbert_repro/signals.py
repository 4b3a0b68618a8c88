"""SIGTERM, by which a cluster asks a process to end; and Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

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
