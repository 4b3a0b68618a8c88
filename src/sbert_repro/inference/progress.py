"""The bar of a long encoding."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sbert_repro.inference.plan import Rows

LONG_WORK = 4000
"""Sentences from which on a progress bar is worth a line."""


def shown(batches: list[Rows], *, total: int, progress: bool) -> Iterator[Rows]:
    """Give batches one after the other, and move a bar as each of them is done.

    Args:
        batches: Row numbers of each batch.
        total: Sentences in all of them.
        progress: Show the bar when the work is long.

    Yields:
        Rows: The batches.
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
    with Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("sentences", total=total)
        for rows in batches:
            yield rows
            bar.advance(task, len(rows))
