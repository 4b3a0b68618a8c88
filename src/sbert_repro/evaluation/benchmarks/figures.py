"""What a benchmark gives: figures with units, and under which conditions they were measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from omegaconf import DictConfig

from sbert_repro.ledger import hardware

T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """A benchmark's outcome.

    Attributes:
        title: What is compared.
        rows: One dict a line, all with the same keys, which name what they hold with its unit.
        notes: What a reader must know: conditions, and what was scaled.
        measured: What programs read of it: model, hardware, batch size; empty where none does.
    """

    title: str
    rows: list[dict[str, Any]]
    notes: list[str]
    measured: dict[str, Any] = field(default_factory=dict)


class Benchmark(Protocol):
    """One file of this folder and one of ``configs/what``."""

    def run(self, config: DictConfig) -> Figures:
        """Measure.

        Args:
            config: Composed options of ``scripts/benchmark.py``.

        Returns:
            Figures: Ours beside its peer.
        """


@dataclass(frozen=True)
class Seconds:
    """How long something took.

    Attributes:
        wall: By the clock.
        cpu: Of all cores together; what is left of a measurement while other programs run.
    """

    wall: float
    cpu: float


def timed(work: Callable[[], T]) -> tuple[T, Seconds]:
    """Do something and take the time.

    Args:
        work: What to do.

    Returns:
        tuple[T, Seconds]: What it gave, and how long it took.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    given = work()
    return given, Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def conditions() -> str:
    """Say on what a measurement was made.

    Returns:
        str: Processor or GPU, threads, library, and how busy the machine was.
    """
    machine = hardware()
    device = f"{machine['cpu']}, {machine['cores']} cores, {machine['ram_gib'] or 0:.0f} GiB"
    if torch.cuda.is_available():
        device = f"{torch.cuda.get_device_name()} beside {device}"
    busy = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{device}; {torch.get_num_threads()} threads, PyTorch {torch.__version__}, "
        f"load {busy} while measuring"
    )
