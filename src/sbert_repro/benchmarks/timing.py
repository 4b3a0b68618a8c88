"""How a time is taken: in turns, beside the machine's own ceiling, kept with the machine's name."""

from __future__ import annotations

import logging
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn import functional

from sbert_repro.backbone.packed import QuantizedProduct, why_not_prepacked, why_not_quantized
from sbert_repro.backbone.transformer import load_config, load_tokenizer
from sbert_repro.benchmarks.busy import watched
from sbert_repro.config import run_key
from sbert_repro.facts import Fact, fact
from sbert_repro.inference.engine import DTYPES, FOR_CPUS, Engine
from sbert_repro.ledger import Ledger, hardware, machine, versions

VERSION = 3
"""Raised when the same settings would be timed in another way."""
KIND = "speed"
PRECISIONS = ("fp32", "bf16", "int8")
"""Number formats of which there is a ceiling."""
_ROWS = {"cpu": 1024, "cuda": 32768}
"""Word pieces that are multiplied at once, as in the packed engine; with fewer a GPU would spend
its time on launches."""
_PASSES = {"cpu": 4, "cuda": 50}
"""Passes through the four products of a layer in one timing of the ceiling."""
BATCH_SIZES = {"cpu": (16, 32, 64, 128), "cuda": (32, 128, 512, 1024, 4096)}
"""Sentences in a batch that a peer is tried with; its own default is 32."""
_TRIED_ON = {"cpu": 256, "cuda": 16384}
"""Sentences that batch sizes are tried on."""
LEAST_SECONDS = 0.2
"""How long a turn lasts at least."""
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
    works: Mapping[str, Work],
    repeats: int,
    warm_up: int = 1,
    *,
    title: str = "",
    least: float = LEAST_SECONDS,
) -> dict[str, Timing]:
    """Time several things in turns, so that a slow spell of the machine slows all of them.

    What takes milliseconds is done again and again within its turn: done once, right after a large
    model, it would mostly wait for its own data to come back into the processor's caches.

    Args:
        works: Name → what to do; it has finished when it returns.
        repeats: How often each is timed.
        warm_up: How often each is run before.
        title: Heading of the progress bar on a terminal, or of one line in the log; "": neither.
        least: Seconds that a turn lasts at least; its time is that of the work done once.

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
                start, times, passed = time.perf_counter(), 0, 0.0
                while not times or passed < least:
                    work()
                    times, passed = times + 1, time.perf_counter() - start
                timings[name].seconds.append(passed / times)
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


def why_not_timed(precision: str) -> str | None:
    """Say why products of a precision are not timed here, whoever computes them.

    Where a processor has no bf16, PyTorch imitates it in many times the time of fp32, which says
    nothing of the programs that are compared.

    Args:
        precision: One of `PRECISIONS`.

    Returns:
        A reason in a few words, or ``None`` if there is none.
    """
    if torch.cuda.is_available():
        return FOR_CPUS if precision == "int8" else None
    if precision == "int8":
        return why_not_quantized()
    return why_not_prepacked(torch.bfloat16) if precision == "bf16" else None


def product_work(shape: Shape, precision: str) -> tuple[Work, float]:
    """Return the four products of a layer as work to time: the ceiling of any network.

    The weights are in oneDNN's order where the packed CPU engine has them so, and plain on a GPU or
    on a machine without such products. In int8 the states are 8 bits wide already.

    Args:
        shape: Of the network.
        precision: One of `PRECISIONS` that `why_not_timed` has nothing against.

    Returns:
        The work, and its operations.
    """
    cuda = torch.cuda.is_available()
    kind = "cuda" if cuda else "cpu"
    rows, passes = _ROWS[kind], _PASSES[kind]
    products = [_product(a, b, precision, torch.device(kind), rows) for a, b in shape.products]

    def work() -> None:
        with torch.inference_mode():
            for _ in range(passes):
                for product in products:
                    product()
            if cuda:
                torch.cuda.synchronize()

    return work, 2.0 * passes * rows * sum(a * b for a, b in shape.products)


def _product(inputs: int, outputs: int, precision: str, device: torch.device, rows: int) -> Work:
    states = torch.randn(rows, inputs, device=device)
    weight = torch.randn(outputs, inputs, device=device)
    if precision == "int8":
        multiply = QuantizedProduct(weight, torch.zeros(outputs)).multiply
        return partial(multiply, torch.randint(0, 256, (rows, inputs), dtype=torch.uint8))
    dtype = DTYPES[precision]
    states, weight = states.to(dtype), weight.to(dtype)
    if device.type == "cuda" or why_not_prepacked(dtype) is not None:
        return partial(functional.linear, states, weight)
    weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    pointwise = torch.ops.mkldnn._linear_pointwise
    return partial(pointwise, states, weight, None, "none", [], "")


def distinct_texts(
    words: NDArray[np.str_],
    lengths: Iterable[int],
    random: np.random.Generator,
    known: Iterable[str] = (),
) -> Iterator[str]:
    """Draw texts, none of which is there already: our encoders embed equal ones once.

    Args:
        words: Of which they are made.
        lengths: Words of each; more where there are no new texts of so few.
        random: What draws them.
        known: Texts that may not be drawn.

    Yields:
        A text for each length.
    """
    seen = set(known)
    for length in lengths:
        while (text := " ".join(random.choice(words, length))) in seen:
            length += 1
        seen.add(text)
        yield text


def choose_batch_size(encoder: Any, texts: Sequence[str]) -> Fact:
    """Give an encoder the batch size that it is fastest with, so that no peer is held back.

    Args:
        encoder: With a ``batch_size``.
        texts: What will be timed; part of it is tried, each size once after a warm-up. A GPU's
            memory may be too small for the larger sizes.

    Returns:
        The fact about the choice, from the sizes that were tried.
    """
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    some, sizes = list(texts[: _TRIED_ON[kind]]), BATCH_SIZES[kind]
    seconds: dict[int, float] = {}
    encoder.encode(some[: max(sizes)])
    for size in sizes:
        encoder.batch_size = size
        start = time.perf_counter()
        try:
            encoder.encode(some)
        except torch.cuda.OutOfMemoryError:
            if not seconds:
                raise
        else:
            seconds[size] = time.perf_counter() - start
            continue
        torch.cuda.empty_cache()  # not above: the error still held the batch
        break
    encoder.batch_size = min(seconds, key=seconds.__getitem__)
    return fact("batch_size", size=encoder.batch_size, of=list(seconds))


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
    device = machine({"hardware": {**here, "gpus": []}})
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


def profiler(device: str) -> torch.profiler.profile:
    """Make PyTorch's profiler, without the lines in which it says when it starts and stops.

    Args:
        device: "cuda" or "cpu". A GPU's kernels are known by the operators that launched them, so
            those are recorded too.

    Returns:
        A context manager.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read when the first profiler starts
    kinds = torch.profiler.ProfilerActivity
    activities = [kinds.CPU, kinds.CUDA] if device == "cuda" else [kinds.CPU]
    return torch.profiler.profile(activities=activities)


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
        with watched() as others:
            scores = measure()
        scores["facts"] = [*scores["facts"], *others]
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
