"""What other programs do on the machine while something is timed."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

import psutil

from sbert_repro.facts import Fact, fact, sentence
from sbert_repro.ledger import cores

DISTURBS = 0.25
"""Cores of other programs from which on a time is doubtful; an idle desktop takes a tenth."""
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def watched() -> Iterator[list[Fact]]:
    """Watch the processors while the block is timed, and warn if others used them too.

    Time that a virtual machine was not given counts as that of others. On a machine with more
    cores than this process may use, others may have the rest of them.

    Yields:
        A list, which in the end holds the fact about it, if there is any.
    """
    found: list[Fact] = []
    start, all_before, own_before = time.monotonic(), _all_seconds(), _own_seconds()
    yield found
    seconds = max(time.monotonic() - start, 1e-9)
    others = (_all_seconds() - all_before - (_own_seconds() - own_before)) / seconds
    usable, there = cores() or 1, psutil.cpu_count() or 1
    taken = others - max(0, there - usable)
    if taken >= DISTURBS:
        found.append(fact("busy", taken=round(taken, 1), cores=usable))
        mend = "end them, or wait for them, and time again (again=true)"
        _log.warning("%s: %s", sentence(found[0]), mend)


def _all_seconds() -> float:
    """Return how long all processors have been busy since the machine was started."""
    spent = psutil.cpu_times()._asdict()
    # A guest's time is part of the user's.
    return sum(
        s for name, s in spent.items() if name not in ("idle", "iowait", "guest", "guest_nice")
    )


def _own_seconds() -> float:
    """Return the time of this process and of those that it began."""
    me = psutil.Process()
    spent = sum(me.cpu_times()[:4])
    for child in me.children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            spent += sum(child.cpu_times()[:2])
    return spent
