"""``scripts/gpu_check.py``: what a machine with a GPU proves, in three parts, without a network.

* ``part=a``: every path once, vectors beside the reference's; a crash is noted and ends nothing;
* ``part=b``: ratios, training and encoding beside the peers;
* ``part=c``: 10,000 steps of training with looks at dev and saves, alone and two seeds at once.

Each check is a process of its own, since a GPU that failed once fails whatever comes after. Data
and vocabulary are the demo's, weights random in BERT-base's shape: no file is needed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sbert_repro.backbone.find_model import model_name
from sbert_repro.backbone.random_bert import write_random_bert
from sbert_repro.backbone.transformer import load_tokenizer
from sbert_repro.benchmarks.models import BASE, SIZES
from sbert_repro.benchmarks.timing import conditions
from sbert_repro.compose import compose, prepare
from sbert_repro.config import HOME
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.inference.engine import LEAST_COSINE
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling
from sbert_repro.similarity import cosine
from sbert_repro.storage import make_folder, sha256_of, write_file

MINUTES = {"a": 5, "b": 8, "c": 7}
"""Most minutes of each part: checks that do not fit are left out, and named."""
SIZE = "base"
"""Folder of the random weights in BERT-base's shape, in the cache."""
_TAIL = 1200
"""Characters of a failed check's last words that are kept."""
_TEXTS = ("", "No.", "a man plays guitar", "the dog sleeps in the park " * 12)


@dataclass(frozen=True)
class Check:
    """Something that is run once.

    Attributes:
        part: ``a``, ``b`` or ``c``.
        name: What it is called in the report.
        words: A command of this project, or the name of a function of `FUNCTIONS`.
        on_cpu: Whether a CPU can run it within the time.
    """

    part: str
    name: str
    words: tuple[str, ...]
    on_cpu: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a check.

    Attributes:
        name: The check.
        state: ``held``, ``failed`` or ``not run``.
        seconds: How long it took.
        said: Its last lines, or why it was not run.
    """

    name: str
    state: str
    seconds: float
    said: str


def checks(cache: Path) -> list[Check]:
    """List all checks in their order.

    Args:
        cache: `paths.cache`, which holds the data and the weights.

    Returns:
        The checks.
    """
    base = ("encoder=transformer", f"encoder.path={cache / 'gpu_check' / SIZE}")
    demo = ("profile=demo", f"paths.cache={cache}", f"paths.results={cache / 'gpu_check'}")
    train = ("train.py", *demo, "wandb.mode=disabled", "trainer.progress=false")
    nli = (*train, "experiment=nli", *base, "trainer.precision=bf16", "optimizer.lr=2e-5")
    long = (*nli, "trainer.epochs=40", "data.epochs=40", "trainer.max_steps=10000")
    benchmark = ("scripts/benchmark.py", *demo, "progress=false")
    return [
        Check("a", "vectors beside the reference's", ("agreement",), on_cpu=True),
        *(
            Check("a", f"training, {loss}, {precision}", (*train, f"loss={loss}",
                  f"trainer.precision={precision}", "trainer.max_steps=20"), on_cpu=True)
            for loss, precision in (("classification", "fp32"), ("classification", "bf16"),
                                    ("regression", "bf16"), ("triplet", "bf16"))
        ),
        Check("a", "BertAdam", (*train, "optimizer=bertadam", "trainer.max_steps=20")),
        Check("a", "BERT-base, 50 steps", (*nli, "trainer.max_steps=50")),
        Check("a", "two processes", (*train, "trainer.devices=2", "trainer.max_steps=20")),
        Check("a", "scores", ("scripts/evaluate.py", *demo, "encoder=demo_bert", "task=stsb",
              "precision=bf16"), on_cpu=True),
        Check("a", "classifiers", ("scripts/evaluate.py", *demo, "encoder=demo_bert", "task=mr")),
        Check("a", "Table 7", ("scripts/table.py", "table=7", *demo, "repeats=2")),
        Check("a", "what=encode", (*benchmark, "what=encode", "what.repeats=1",
              "what.sentences=8")),
        Check("b", "ratios of training, BERT-base", ("train_ratios",)),
        Check("b", "ratios of encoding, BERT-base", ("encode_ratios",)),
        Check("c", "10,000 steps with looks and saves", (*long, "seed=0")),
        Check("c", "two seeds side by side", ("two_seeds", *long)),
    ]  # fmt: skip


def run(part: str, cache: Path, results: Path) -> Iterator[Result]:
    """Run a part check by check; on a machine without a GPU only what a CPU can.

    Args:
        part: ``a``, ``b`` or ``c``.
        cache: `paths.cache`.
        results: Where ``results/gpu`` is written; nothing is written without a GPU.

    Yields:
        What became of each check.

    Raises:
        UserError: If there is no such part.
    """
    if part not in MINUTES:
        raise UserError(f"expected one of {', '.join(MINUTES)}", where=f"part={part}")
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    prepare_weights(cache)
    found: list[Result] = []
    started = time.monotonic()
    for check in checks(cache):
        if check.part != part:
            continue
        left = 60 * MINUTES[part] - (time.monotonic() - started)
        if card is None and not check.on_cpu:
            result = Result(check.name, "not run", 0.0, f"on a GPU: {' '.join(check.words)}")
        elif card is not None and left < 1:
            result = Result(check.name, "not run", 0.0, f"the part's {MINUTES[part]} min are over")
        else:
            result = _run(check, cache, None if card is None else left)
        found.append(result)
        yield result
    if card is not None:
        _write(part, card, found, results / "gpu")


def prepare_weights(cache: Path) -> Path:
    """Write the demo's data, and random weights in BERT-base's shape over its vocabulary."""
    config = compose(["profile=demo", f"paths.cache={cache}"], "evaluate")
    prepare(config)
    known = load_tokenizer(Path(config.paths.models) / "demo-bert").get_vocab()
    folder = cache / "gpu_check" / SIZE

    def fill(empty: Path) -> list[dict[str, Any]]:
        write_random_bert(empty, sorted(known, key=known.__getitem__), SIZES[BASE])
        return [{"file": f.name, "sha256": sha256_of(f)} for f in sorted(empty.iterdir())]

    size = asdict(SIZES[BASE])
    make_folder(folder, {"generator": "random_bert", "model": "gpu_check", "size": size}, fill)
    return folder


def _run(check: Check, cache: Path, seconds: float | None) -> Result:
    started = time.monotonic()
    words = check.words
    if words[0] in FUNCTIONS:
        words = ("scripts/gpu_check.py", f"check={words[0]}", f"cache={cache}", *words[1:])
    try:
        done = subprocess.run(
            [sys.executable, *words], cwd=HOME, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return Result(check.name, "failed", time.monotonic() - started, "the part's time was over")
    took, said = time.monotonic() - started, done.stdout.strip()
    if done.returncode != 0:
        return Result(check.name, "failed", took, (said + "\n" + done.stderr.strip())[-_TAIL:])
    return Result(check.name, "held", took, said[-_TAIL:])


def _write(part: str, card: str, found: Sequence[Result], folder: Path) -> None:
    report = {
        "part": part,
        "card": card,
        "torch": torch.__version__,
        "conditions": conditions(),
        "checks": [asdict(one) for one in found],
    }
    write_file(
        folder / f"part_{part}.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    )
    lines = [f"# GPU check, part {part}: {card}", "", conditions(), ""]
    lines += ["| check | state | seconds |", "|---|---|---|"]
    lines += [f"| {one.name} | {one.state} | {one.seconds:.1f} |" for one in found]
    for one in found:
        lines += ["", f"## {one.name}", "", "```", one.said, "```"]
    write_file(folder / f"part_{part}.md", "\n".join(lines) + "\n")


# --- Checks that are no command of their own


def agreement(cache: Path) -> Iterator[str]:
    """Compare vectors of each precision and pooling with the reference's.

    Args:
        cache: `paths.cache`, where the weights are.

    Yields:
        A line for each.

    Raises:
        UserError: If one is too far off.
    """
    config = compose(["profile=demo", f"paths.cache={cache}"], "evaluate")
    cuda, models = torch.cuda.is_available(), Path(config.paths.models)
    for folder in (models / "demo-bert", models / "demo-roberta", prepare_weights(cache)):
        for pooling in (MeanPooling(), MaxPooling(), ClsPooling()):
            exact = TransformerEncoder(str(folder), pooling, engine="reference").encode(_TEXTS)
            for precision in ("bf16",) if cuda else ("fp32", "bf16"):
                own = TransformerEncoder(str(folder), pooling, precision=precision)
                lowest = float(cosine(own.encode(_TEXTS), exact).min())
                what = f"{model_name(folder)}, {pooling.name}, {precision}, engine {own.engine}"
                yield (f"{what}: cosine ≥ {lowest:.6f}")
                if not lowest >= LEAST_COSINE:
                    raise UserError(f"a cosine of {lowest:.5f}, not {LEAST_COSINE}", where=what)
                if cuda and own.engine != "packed":
                    raise UserError("the reference computes, not the packed engine", where=what)


def train_ratios(cache: Path) -> Iterator[str]:
    """Say how long a step of ours and of the library takes, over 300 steps after 100."""
    from sbert_repro.benchmarks.train import train_by_library, train_by_ours

    folder = prepare_weights(cache)
    rows: dict[str, list[Any]] = {
        "sentence1": ["a man plays guitar in the park"] * 6400,
        "sentence2": ["the dog sleeps"] * 6400,
        "label": [0, 1, 2, 0] * 1600,
    }
    for precision in ("fp32", "bf16"):
        seconds: dict[str, dict[int, float]] = {"ours": {}, "sentence-transformers": {}}
        for steps in (100, 400):
            words = [
                "experiment=nli", "profile=demo", f"paths.cache={cache}", "encoder=transformer",
                f"encoder.path={folder}", "data.dev=null", "checkpoint=last", "data.epochs=2",
                "trainer.epochs=2", f"trainer.max_steps={steps}", "trainer.save_every=100000",
                f"trainer.precision={precision}", "trainer.progress=false", "wandb.mode=disabled",
            ]  # fmt: skip
            seconds["ours"][steps] = train_by_ours(words).seconds
            options = {
                "per_device_train_batch_size": 16,
                "max_steps": steps,
                "bf16": precision == "bf16",
            }
            seconds["sentence-transformers"][steps] = train_by_library(
                str(folder), rows, options
            ).seconds
        for who, one in seconds.items():
            yield (f"{who}, {precision}: {(one[400] - one[100]) / 300 * 1e3:.2f} ms a step")


def encode_ratios(cache: Path) -> Iterator[str]:
    """Say how many of 200,000 distinct texts are encoded in a second, ours beside the library."""
    from sbert_repro.benchmarks.peers import SentenceTransformersEncoder
    from sbert_repro.benchmarks.timing import choose_batch_size, distinct_texts
    from sbert_repro.facts import sentence

    folder = str(prepare_weights(cache))
    words = np.array("a the man dog plays sleeps park guitar in".split())
    random = np.random.default_rng(0)
    lengths = map(int, random.geometric(1 / 12, 200_000))
    texts = list(distinct_texts(words, lengths, random))
    own = TransformerEncoder(folder, precision="bf16", engine="packed")
    peer = SentenceTransformersEncoder(folder, precision="bf16")
    yield (f"sentence-transformers: {sentence(choose_batch_size(peer, texts))}")
    pieces = sum(len(one) for one in own.pieces(texts))
    for who, encoder in (("ours", own), ("sentence-transformers", peer)):
        encoder.encode(texts[:4096])
        start = time.perf_counter()
        encoder.encode(texts)
        took = time.perf_counter() - start
        yield (f"{who}: {len(texts) / took:,.0f} texts/s, {pieces / took:,.0f} word pieces/s")


def two_seeds(cache: Path, *words: str) -> Iterator[str]:
    """Train two seeds at the same time on one card.

    Args:
        cache: `paths.cache`, which `words` name already.
        *words: The training's command line.

    Yields:
        How long a step took.

    Raises:
        UserError: If one of them fails.
    """
    started = time.monotonic()
    running = [
        subprocess.Popen([sys.executable, *words, f"seed={seed}"], cwd=HOME) for seed in (1, 2)
    ]
    failed = [seed for seed, one in enumerate(running, start=1) if one.wait() != 0]
    if failed:
        raise UserError(f"seed {failed[0]} failed", where="two_seeds")
    yield (
        f"two seeds of 10,000 steps: {(time.monotonic() - started) / 20_000 * 1e3:.2f} ms a step"
    )


FUNCTIONS: dict[str, Callable[..., Iterator[str]]] = {
    "agreement": agreement,
    "train_ratios": train_ratios,
    "encode_ratios": encode_ratios,
    "two_seeds": two_seeds,
}
