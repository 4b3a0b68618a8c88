"""Times of several things, taken in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Work = Callable[[], object]


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


def interleaved(works: Mapping[str, Work], repeats: int, warm_up: int = 1) -> dict[str, Timing]:
    """Time things in turns, so that whatever slows the machine for a while slows all of them.

    Args:
        works: Name → what to do; all is finished when it returns.
        repeats: How often each is timed.
        warm_up: How often each is done before.

    Returns:
        dict[str, Timing]: By name.
    """
    for work in works.values():
        for _ in range(warm_up):
            work()
    found = {name: Timing() for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            found[name].seconds.append(time.perf_counter() - start)
    return found
