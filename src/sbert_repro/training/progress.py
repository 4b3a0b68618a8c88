"""A bar on the terminal, and quiet around it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Callback, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sbert_repro.training.watch import Watch


class Bar(Callback):
    """Steps done and left, with the last score on dev; only where there is a terminal."""

    def __init__(self, watch: Watch, steps: int) -> None:
        """Make the bar.

        Args:
            watch: Knows the scores.
            steps: Of the run.
        """
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("dev {task.fields[dev]:.2f}"),
        )
        self._watch = watch
        self._bar = Progress(
            *columns,
            console=console,
            transient=True,
            refresh_per_second=2,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=steps, dev=float("nan"))

    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        """Show it.

        Args:
            trainer: Lightning's trainer.
            module: The module.
        """
        self._bar.start()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Move it on.

        Args:
            trainer: Lightning's trainer.
        """
        step, dev = trainer.global_step, self._watch.last_score
        self._bar.update(self._task, completed=step, dev=dev)

    def on_train_end(self, trainer: Trainer, module: Any) -> None:
        """Take it away.

        Args:
            trainer: Lightning's trainer.
            module: The module.
        """
        self._bar.stop()

    def on_exception(self, trainer: Trainer, module: Any, exception: BaseException) -> None:
        """Take it away.

        Args:
            trainer: Lightning's trainer.
            module: The module.
            exception: What ended the run.
        """
        self._bar.stop()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advice off the screen; what is wrong with a run is raised, not advised."""
    loggers = [logging.getLogger(n) for n in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\b")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
