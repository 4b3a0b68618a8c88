"""The next item is made in a thread while this one is used."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_NAME = "next-batch"


def prefetched(items: Iterator[_T]) -> Generator[_T]:
    """Give the same items in the same order, each made while the one before it is in use.

    What ``items`` raises comes out where its item would have. It is only ever asked in the thread,
    so it must draw no random numbers that others draw too, and count nothing that others read.

    Args:
        items: Makes the items.

    Yields:
        The items. When this generator is closed or thrown away the thread ends; it is waited for.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix=_NAME)
    try:
        coming = thread.submit(_next, items)
        while found := coming.result():
            coming = thread.submit(_next, items)
            yield found[0]
    finally:
        # Thrown away, this may be collected in the thread itself, which cannot wait for its end.
        thread.shutdown(wait=not threading.current_thread().name.startswith(_NAME))


def _next(items: Iterator[_T]) -> tuple[_T] | None:
    """The next item in a tuple, or ``None`` at the end: a future takes StopIteration badly."""
    for item in items:
        return (item,)
    return None
