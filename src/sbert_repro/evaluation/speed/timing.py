"""Times of several things, taken in turns."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Work = Callable[[], object]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """How long something took.

    Attributes:
        seconds: Of each repeat, by the clock.
    """

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The repeat in the middle: one disturbed by another program does not move it."""
        return statistics.median(self.seconds)

    @property
    def ends(self) -> tuple[float, float]:
        """The fastest and the slowest repeat."""
        return min(self.seconds), max(self.seconds)


def interleaved(
    works: Mapping[str, Work], repeats: int, warm_up: int = 1, *, title: str = ""
) -> dict[str, Timing]:
    """Time things in turns, so that whatever slows the machine for a while slows all of them.

    Args:
        works: Name → what to do; all is finished when it returns.
        repeats: How often each is timed.
        warm_up: How often each is done before.
        title: Of the bar on a terminal and of the line in the log elsewhere; "": neither.

    Returns:
        dict[str, Timing]: By name.
    """
    found = {name: Timing() for name in works}
    with _announced(title, works, warm_up + repeats) as announce:
        for name, work in works.items():
            for _ in range(warm_up):
                announce(f"{name}, warm-up")
                work()
        for repeat in range(1, repeats + 1):
            for name, work in works.items():
                announce(f"{name}, {repeat} of {repeats}")
                start = time.perf_counter()
                work()
                found[name].seconds.append(time.perf_counter() - start)
    return found


@contextmanager
def _announced(
    title: str, works: Mapping[str, Work], times: int
) -> Iterator[Callable[[str], None]]:
    """Say what is being timed: a bar where somebody looks, else one line."""
    console = Console(stderr=True)
    if not title or not console.is_terminal:
        if title:
            _log.info("%s: timing, %s times each, in turns: %s", title, times, ", ".join(works))
        yield lambda what: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # Drawn between the turns alone: a thread that draws would be timed along with the work.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as drawn:
        task, begun = drawn.add_task(title, total=len(works) * times), -1

        def announce(what: str) -> None:
            nonlocal begun
            begun += 1
            drawn.update(task, completed=begun, description=f"{title}: {what}", refresh=True)

        yield announce
