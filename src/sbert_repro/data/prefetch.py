"""The next item is made in a thread while this one is used."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Prefetched(Generic[_T]):
    """Gives the same items in the same order, each made while the one before it is in use.

    What ``items`` raises comes out where its item would have. It is only ever asked in the thread,
    so it must draw no random numbers that others draw too, and count nothing that others read.

    Thrown away without `close` it may be collected in any thread, at any moment, even while one is
    being started; to wait for a thread there would wait for ever. So nothing here happens on
    collection: the pool's own thread ends when the pool is gone.
    """

    def __init__(self, items: Iterator[_T]) -> None:
        """Begin to make the first item.

        Args:
            items: Makes the items.
        """
        self._items = items
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="next-batch")
        self._coming = self._thread.submit(_next, items)

    def __iter__(self) -> Prefetched[_T]:
        """Give itself."""
        return self

    def __next__(self) -> _T:
        """Give the item that was made, and begin to make the next one; at the end, end."""
        try:
            found = self._coming.result()
        except BaseException:
            self.close()
            raise
        if found is None:
            self.close()
            raise StopIteration
        self._coming = self._thread.submit(_next, self._items)
        return found[0]

    def close(self) -> None:
        """End the thread, after the item that it is making, and wait for it."""
        self._thread.shutdown(wait=True)


def _next(items: Iterator[_T]) -> tuple[_T] | None:
    """The next item in a tuple, or ``None`` at the end: a future takes StopIteration badly."""
    for item in items:
        return (item,)
    return None
