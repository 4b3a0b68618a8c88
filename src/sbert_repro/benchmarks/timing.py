"""How a time is taken: in turns, beside the machine's own ceiling, kept with the machine's name."""

from __future__ import annotations

import logging
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional

from sbert_repro.backbone.packed import why_not_prepacked
from sbert_repro.backbone.transformer import load_config, load_tokenizer
from sbert_repro.config import run_key
from sbert_repro.inference.engine import DTYPES, Engine
from sbert_repro.ledger import Ledger, hardware, versions

VERSION = 2
"""Raised when the same settings would be timed in another way."""
KIND = "speed"
_ROWS = 1024
"""Word pieces that are multiplied at once, as in the packed engine."""
_PASSES = 4
"""Passes through the four products of a layer in one timing of the ceiling."""
_log = logging.getLogger(__name__)
Record = dict[str, Any]
Work = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """How long each repeat took.

    Attributes:
        seconds: Wall-clock time of each repeat.
    """

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median; a repeat that another program disturbed does not move it."""
        return statistics.median(self.seconds)


def interleaved(
    works: Mapping[str, Work], repeats: int, warm_up: int = 1, *, title: str = ""
) -> dict[str, Timing]:
    """Time several things in turns, so that a slow spell of the machine slows all of them.

    Args:
        works: Name → what to do; it has finished when it returns.
        repeats: How often each is timed.
        warm_up: How often each is run before.
        title: Heading of the progress bar on a terminal, or of one line in the log; "": neither.

    Returns:
        By name.
    """
    timings = {name: Timing() for name in works}
    with _progress(title, works, warm_up + repeats) as show:
        for name, work in works.items():
            for _ in range(warm_up):
                show(f"{name}, warm-up")
                work()
        for repeat in range(1, repeats + 1):
            for name, work in works.items():
                show(f"{name}, {repeat} of {repeats}")
                start = time.perf_counter()
                work()
                timings[name].seconds.append(time.perf_counter() - start)
    return timings


@contextmanager
def _progress(title: str, works: Mapping[str, Work], times: int) -> Iterator[Callable[[str], None]]:
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
    # Drawn only between the turns: a thread that draws would be timed along with the work.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task, done = bar.add_task(title, total=len(works) * times), -1

        def show(what: str) -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done, description=f"{title}: {what}", refresh=True)

        yield show


@dataclass(frozen=True)
class Shape:
    """What decides how long a BERT takes.

    Attributes:
        layers: Number of layers.
        width: ``D``.
        intermediate: Width of the feed-forward network.
    """

    layers: int
    width: int
    intermediate: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Read the shape from a transformers configuration of BERT or RoBERTa."""
        return cls(config.num_hidden_layers, config.hidden_size, config.intermediate_size)

    @property
    def products(self) -> list[tuple[int, int]]:
        """Inputs and outputs of a layer's linear maps: Q, K and V together, output, both of FFN."""
        d, wide = self.width, self.intermediate
        return [(d, 3 * d), (d, d), (d, wide), (wide, d)]

    def flops(self, lengths: NDArray[np.integer]) -> float:
        """Count the floating-point operations that sentences need without any padding.

        Args:
            lengths: Word pieces of each sentence.

        Returns:
            Multiplications and additions.
        """
        linear = sum(a * b for a, b in self.products) * int(lengths.sum())
        # Queries times keys, then weights times values.
        attention = 2 * self.width * int((lengths.astype(np.int64) ** 2).sum())
        return 2.0 * self.layers * (linear + attention)


def shape_and_lengths(
    folder: Path, texts: Sequence[str], limit: int = 128
) -> tuple[Shape, NDArray[np.int64]]:
    """Read a BERT's shape, and count the word pieces of sentences.

    Args:
        folder: A model folder.
        texts: ``N`` sentences.
        limit: Most word pieces of a sentence, [CLS] and [SEP] included.

    Returns:
        The shape, and lengths ``[N]``.
    """
    config = load_config(folder)
    ids = load_tokenizer(folder)(list(texts), truncation=True, max_length=limit)["input_ids"]
    return Shape.of(config), np.array([len(one) for one in ids])


def product_work(shape: Shape, precision: str) -> tuple[Work, float]:
    """Return the four products of a layer as work to time: the ceiling of any network.

    The weights are in oneDNN's order where the packed CPU engine has them so, and plain on a GPU or
    on a machine without such products.

    Args:
        shape: Of the network.
        precision: ``fp32`` or ``bf16``.

    Returns:
        The work, and its floating-point operations.
    """
    dtype, cuda = DTYPES[precision], torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    prepacked = not cuda and why_not_prepacked(dtype) is None
    pairs: list[tuple[Tensor, Tensor]] = []
    for inputs, outputs in shape.products:
        states = torch.randn(_ROWS, inputs, device=device).to(dtype)
        weight = torch.randn(outputs, inputs, device=device).to(dtype)
        if prepacked:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
        pairs.append((states, weight))

    def work() -> None:
        with torch.inference_mode():
            for _ in range(_PASSES):
                for states, weight in pairs:
                    if prepacked:
                        torch.ops.mkldnn._linear_pointwise(states, weight, None, "none", [], "")
                    else:
                        functional.linear(states, weight)
            if cuda:
                torch.cuda.synchronize()

    return work, 2.0 * _PASSES * _ROWS * sum(a * b for a, b in shape.products)


@dataclass(frozen=True)
class Figures:
    """What a benchmark measured.

    Attributes:
        title: What is compared.
        rows: One dict a line, all with the same keys, which name the quantity and its unit.
        notes: Lines printed below: conditions, and what was scaled.
        measured: Fields for programs (model, hardware, batch size); empty where none reads any.
    """

    title: str
    rows: list[dict[str, Any]]
    notes: list[str]
    measured: dict[str, Any] = field(default_factory=dict)


class Benchmark(Protocol):
    """A class that a file of ``configs/what`` names."""

    def run(self, config: DictConfig) -> Figures:
        """Measure ours beside its peer, with the composed options of ``scripts/benchmark.py``."""


def conditions() -> str:
    """Describe the machine: processor or GPU, threads, PyTorch, and how busy it is."""
    here = hardware()
    device = f"{here['cpu']}, {here['cores']} cores, {here['ram_gib'] or 0:.0f} GiB"
    if torch.cuda.is_available():
        device = f"{torch.cuda.get_device_name()} beside {device}"
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{device}; {torch.get_num_threads()} threads, PyTorch {torch.__version__}, "
        f"load {load} while measuring"
    )


def peak_gb() -> float:
    """Return the most memory this process has held so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def quiet() -> None:
    """Keep encoders from repeating with every run what they say about the same texts."""
    for name in ("sbert_repro.encoders", "sbert_repro.data"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def identity_of(encoder: Any) -> dict[str, Any]:
    """Describe by names, versions and content what is timed.

    Args:
        encoder: A sentence encoder or a pair scorer.

    Returns:
        Its identity, with the engine that computes, where it has one, and that engine's version.
    """
    engine = getattr(encoder, "engine", None)
    timed = {"engine": {"name": engine, "version": Engine.VERSION}} if engine else {}
    return {**encoder.identity, **timed}


def kept(settings: Mapping[str, Any], config: DictConfig, measure: Callable[[], Any]) -> Record:
    """Return this machine's latest record; measure where there is none, or where asked again.

    A time cannot be reproduced like a score, so its key includes the machine, the threads and the
    libraries. Repeated measurements on one machine are numbered, and none replaces another.

    Args:
        settings: What is measured, in names, versions and content.
        config: Composed options; ``again``, ``repeats`` and ``paths`` are read.
        measure: Returns the scores: a dict with ``facts``, which the record repeats.

    Returns:
        The ledger's record.
    """
    ledger = Ledger(Path(config.paths.results) / "runs")
    whole = {
        **settings,
        "version": VERSION,
        "repeats": int(config.repeats),
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    number, last = 1, None
    while (found := ledger.get(run_key(KIND, {**whole, "number": number}))) is not None:
        number, last = number + 1, found
    if last is not None and not config.again:
        return last
    whole["number"] = number
    key = run_key(KIND, whole)
    with ledger.lock(key):  # a second process that wants the same waits, and finds it
        if (found := ledger.get(key)) is not None:
            return found
        started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        scores = measure()
        record = {
            "kind": KIND,
            "settings": whole,
            "scores": scores,
            "seed": None,
            "facts": list(scores["facts"]),
            "wall_seconds": round(time.monotonic() - clock, 3),
            "started": started,
        }
        return ledger.put(key, record)
