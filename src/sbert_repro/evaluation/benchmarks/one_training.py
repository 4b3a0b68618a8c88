"""One short training, ours or the sentence-transformers trainer's, in a process of its own.

A process of its own has a peak of memory of its own, and leaves nothing warm for the next.
"""

from __future__ import annotations

import importlib
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sbert_repro.batch import Batch
from sbert_repro.compose import build, compose
from sbert_repro.config import plain
from sbert_repro.errors import UserError
from sbert_repro.evaluation.speed.record import quiet
from sbert_repro.training.examples import load_examples
from sbert_repro.training.fit import fit
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.start import load

_LIBRARY = "sentence_transformers"
_PARTS = {
    "products": ("mm", "addmm", "bmm", "baddbmm", "linear", "mkldnn"),
    "optimizer": ("_fused_adamw_",),
    "clipping": ("linalg_vector_norm", "_foreach_norm", "_foreach_mul_"),
    "casts and copies": ("copy_", "cat", "index_select", "index_copy_", "stack"),
    "GELU": ("gelu", "gelu_backward"),
    "LayerNorm": ("native_layer_norm", "native_layer_norm_backward"),
    "softmax": ("_softmax", "_softmax_backward_data"),
    "dropout": ("bernoulli_", "native_dropout", "clamp_", "addcmul"),
    "sums": ("sum", "add_", "add", "mul", "mul_"),
}


@dataclass(frozen=True)
class Ran:
    """What a training took.

    Attributes:
        seconds: From its first step to its last, preparation left out.
        gigabytes: Peak of the process's memory; on a GPU the GPU's.
    """

    seconds: float
    gigabytes: float


def ours(overrides: Sequence[str]) -> Ran:
    """Train by `sbert_repro.training.fit`, as ``train.py`` does.

    Args:
        overrides: Options as typed after ``train.py``.

    Returns:
        Ran: Time and memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        seconds = fit(compose(list(overrides)), Path(folder)).seconds
    return Ran(seconds, _peak())


def peers(
    folder: str,
    columns: Sequence[Sequence[str]],
    labels: Sequence[int],
    *,
    steps: int,
    batch_size: int,
    precision: str,
) -> Ran:
    """Train by ``SentenceTransformerTrainer`` at its defaults, with ``SoftmaxLoss``.

    Args:
        folder: A model folder.
        columns: Premises and hypotheses.
        labels: Class ids.
        steps: Optimizer steps.
        batch_size: Pairs in a batch.
        precision: ``fp32`` or ``bf16``, which is autocast there.

    Returns:
        Ran: Time and memory.
    """
    library = importlib.import_module(_LIBRARY)
    losses = importlib.import_module(f"{_LIBRARY}.sentence_transformer.losses")
    modules = importlib.import_module(f"{_LIBRARY}.sentence_transformer.modules")
    quiet()
    network = modules.Transformer(folder, max_seq_length=130)  # ours counts 128 without specials
    width = network.get_embedding_dimension()
    model = library.SentenceTransformer(modules=[network, modules.Pooling(width, "mean")])
    loss = losses.SoftmaxLoss(model, width, len(set(labels)))
    options = {
        "per_device_train_batch_size": batch_size,
        "max_steps": steps,
        "bf16": precision == "bf16",
    }
    premise, hypothesis = columns
    rows = {"sentence1": premise, "sentence2": hypothesis, "label": list(labels)}
    return Ran(_seconds(model, loss, rows, options), _peak())


def _seconds(model: Any, loss: Any, rows: dict[str, Any], options: dict[str, Any]) -> float:
    """Train by the library, and give the time from the first step's beginning to the last's end."""
    import datasets
    from transformers import TrainerCallback

    library = importlib.import_module(_LIBRARY)
    marks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            marks.append(_now())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(_now())

    quietly: dict[str, Any] = {"report_to": [], "save_strategy": "no", "logging_strategy": "no"}
    # It prints its own reports and draws its own bars; errors come through all the same.
    with tempfile.TemporaryDirectory() as output, redirect_stdout(StringIO()), _still():
        library.SentenceTransformerTrainer(
            model=model,
            args=library.SentenceTransformerTrainingArguments(
                output_dir=output,
                use_cpu=not torch.cuda.is_available(),
                disable_tqdm=True,
                **quietly,
                **options,
            ),
            train_dataset=datasets.Dataset.from_dict(rows),
            loss=loss,
            callbacks=[Clock()],
        ).train()
    return marks[-1] - marks[0]


def check_peer() -> None:
    """Refuse to go on without the library.

    Raises:
        UserError: If it, or what its trainer needs, is not installed.
    """
    for name in (_LIBRARY, "accelerate"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise UserError(
                f"what=train compares with the sentence-transformers trainer, and {name} is not "
                "installed: pip install sentence-transformers accelerate"
            ) from None


def profiled(overrides: Sequence[str], steps: int = 3) -> dict[str, float]:
    """Say where the time of our step goes.

    Args:
        overrides: Options as typed after ``train.py``.
        steps: How many are looked at, at most, after one that is not.

    Returns:
        dict[str, float]: Part → share of the time, largest first.
    """
    config = compose(list(overrides))
    backbone, tokenizer = load(config)
    stream = load_examples(config, tokenizer, backbone.positions).stream
    loss = build(config.loss, width=backbone.width)
    module = SiameseModule(backbone, build(config.pooling), loss, drive=lambda _: None)  # type: ignore[arg-type, return-value]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    optimizer = build(config.optimizer).over(module.to(device).named_parameters())
    half = plain(config.trainer.precision) == "bf16"
    kinds = torch.profiler.ProfilerActivity
    watched = [kinds.CUDA] if device == "cuda" else [kinds.CPU]
    first, *others = islice(stream, steps + 1)

    def step(batch: Batch) -> None:
        batch = batch.to(device)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            outcome = module.training_step(batch, 0)
        optimizer.zero_grad()
        outcome.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    step(first)
    with torch.profiler.profile(activities=watched) as profile:
        for batch in others:
            step(batch)
    return _shares(profile.key_averages(), device)


def _shares(events: Any, device: str) -> dict[str, float]:
    names = {f"aten::{name}": part for part, names in _PARTS.items() for name in names}
    found: Counter[str] = Counter()
    for event in events:
        spent = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        found[names.get(event.key, "everything else")] += spent
    whole = sum(found.values()) or 1
    return {part: spent / whole for part, spent in found.most_common()}


@contextmanager
def _still() -> Iterator[None]:
    with redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
