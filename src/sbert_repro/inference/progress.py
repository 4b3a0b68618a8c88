"""The bar of a long encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sbert_repro.inference.plan import Rows

LONG_WORK = 4000
"""Sentences from which on a progress bar is worth a line."""
Advance = Callable[[int], None]
"""Told of each batch how many sentences it had."""


@contextmanager
def bar(total: int, *, progress: bool) -> Iterator[Advance]:
    """Draw a bar while the block runs; it is gone when done.

    Args:
        total: Sentences to come.
        progress: Show the bar when the work is long.

    Yields:
        Advance: To be told how many sentences are done.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    disable = not progress or total < LONG_WORK
    # On stderr, because stdout carries results; gone when done.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=disable) as drawn:
        task = drawn.add_task("sentences", total=total)
        yield lambda done: drawn.advance(task, done)


def shown(batches: list[Rows], *, total: int, progress: bool) -> Iterator[Rows]:
    """Give batches one after the other, and move a bar as each of them is done.

    Args:
        batches: Row numbers of each batch.
        total: Sentences in all of them.
        progress: Show the bar when the work is long.

    Yields:
        Rows: The batches.
    """
    with bar(total, progress=progress) as advance:
        for rows in batches:
            yield rows
            advance(len(rows))
