"""How far long work is: a bar on a terminal, elsewhere a line in the log from time to time.

In the log of a batch job (SLURM, nohup) a bar would be thousands of lines, and nothing at all would
leave it open whether the job still works.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from sbert_repro.facts import duration

EVERY = 60.0
"""Seconds between two lines."""
LONG_WORK = 4000
"""Sentences from which on a progress bar is worth a line."""
Advance = Callable[[int], None]
"""Told how much more is done."""
_log = logging.getLogger(__name__)


class Progress:
    """Work of known length, shown from `start` to `stop`.

    Args:
        what: What is done, for the bar and the lines: "training".
        total: How much there is.
        unit: What is counted: "steps".
        done: How much was done before, by a process that was stopped.
    """

    def __init__(self, what: str, total: int, unit: str, done: int = 0) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self._bar: Bar | None = None
        self._begun = self._said = time.monotonic()
        self._before = done

    def start(self) -> None:
        """Show the bar, or say what begins."""
        self._begun = self._said = time.monotonic()
        self._before = self.done
        console = Console(stderr=True)  # because stdout carries results
        if not console.is_terminal:
            since = f", {self.done:,} done before" if self.done else ""
            _log.info("%s: %s %s%s", self.what, f"{self.total:,}", self.unit, since)
            return
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[more]}"),
            console=console,
            transient=True,
            refresh_per_second=2,
        )
        self._task = self._bar.add_task(self.what, total=self.total, completed=self.done, more="")
        self._bar.start()

    def to(self, done: int, more: str = "") -> None:
        """Show how much is done.

        Args:
            done: In all, what was done before included.
            more: What else there is to say: "dev 71.02".
        """
        self.done = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, more=more)
        elif (now := time.monotonic()) - self._said >= EVERY:
            self._said = now
            _log.info("%s", self.line(now - self._begun, more))

    def line(self, seconds: float, more: str = "") -> str:
        """Say in a line how far the work is.

        Args:
            seconds: Since the start.
            more: What else there is to say.

        Returns:
            str: "training: 1,200 of 7,200 steps (17 %), 8 min left, dev 71.02".
        """
        share = f" ({self.done / self.total:.0%})".replace("%", " %") if self.total else ""
        said = [f"{self.what}: {self.done:,} of {self.total:,} {self.unit}{share}"]
        if now := self.done - self._before:
            said.append(f"{duration(seconds / now * (self.total - self.done))} left")
        return ", ".join([*said, *filter(None, [more])])

    def stop(self, *, finished: bool = True) -> None:
        """Remove the bar, or say that the work is done.

        Args:
            finished: Whether it is; nothing is said of work that was broken off.
        """
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif finished:
            took = duration(time.monotonic() - self._begun)
            _log.info("%s: %s %s done in %s", self.what, f"{self.done:,}", self.unit, took)


@contextmanager
def showing(
    what: str, total: int, *, unit: str = "sentences", shown: bool = True
) -> Iterator[Advance]:
    """Show how far the block is, if its work is long.

    Args:
        what: What is done: "encoding".
        total: How much there is.
        unit: What is counted.
        shown: False: show nothing.

    Yields:
        To be told how much more is done.
    """
    if not shown or total < LONG_WORK:
        yield lambda more: None
        return
    shows = Progress(what, total, unit)
    shows.start()
    finished = False
    try:
        yield lambda more: shows.to(shows.done + more)
        finished = True
    finally:
        shows.stop(finished=finished)
