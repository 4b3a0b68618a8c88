"""``what=train``: pairs a second of training on NLI, ours beside sentence-transformers' trainer."""

from __future__ import annotations

import importlib
import json
import logging
import multiprocessing
import shutil
import statistics
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from sbert_repro import json_files
from sbert_repro.backbone.find_model import weights_folder
from sbert_repro.backbone.transformer import load_config
from sbert_repro.batch import Batch
from sbert_repro.benchmarks.models import DEMO, model_to_time
from sbert_repro.benchmarks.timing import (
    Figures,
    conditions,
    interleaved,
    peak_gb,
    product_work,
    profiler,
    quiet,
    shape_and_lengths,
    why_not_timed,
)
from sbert_repro.compose import build, compose
from sbert_repro.config import plain
from sbert_repro.data.read import Split, read
from sbert_repro.data.schema import dataset
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences
from sbert_repro.ledger import hardware
from sbert_repro.training.datamodule import load_examples
from sbert_repro.training.fit import fit
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.pretrained import load

_LIBRARY = "sentence_transformers"
_TRAINED_IN = ("fp32", "bf16")
_GOALS = {"cpu": 6.0, "cuda": 3.0}
"""Least ratio of our bf16 speed to the trainer's fp32 speed."""
_EPOCH = 942_069
"""Pairs of NLI."""
_EPOCH_MINUTES = 5.0
"""Most minutes of an epoch of NLI on a GPU of the H200's kind."""
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
"""Part of a step → PyTorch's operators."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ran:
    """What one training took.

    Attributes:
        seconds: From its first step to its last, without preparation.
        gigabytes: Peak memory of the process, or of the GPU where there is one.
    """

    seconds: float
    gigabytes: float


@dataclass(frozen=True)
class TrainBenchmark:
    """Options of the benchmark.

    On a GPU the same trainings run there; take ``what.steps=2000``, so that the start does not
    count. No figure of this project has been measured on one yet.

    Attributes:
        model: A key of `sbert_repro.benchmarks.models.SIZES`.
        steps: Of each training.
        repeats: Trainings of each kind, in turns; the median counts.
        batch_size: Pairs in a batch.
    """

    model: str
    steps: int
    repeats: int
    batch_size: int

    def run(self, config: DictConfig) -> Figures:
        """Train the same model on the same pairs, in turns.

        Args:
            config: Composed options of ``scripts/benchmark.py``.

        Returns:
            Pairs a second, ratio, memory, share of the product ceiling, goals.

        Raises:
            UserError: If the library or the pairs are not there, or a number is too small.
        """
        for option, least in (("repeats", 1), ("batch_size", 1), ("steps", 2)):
            if getattr(self, option) < least:  # one step has no speed
                raise UserError(f"expected at least {least}", where=f"what.{option}")
        _check_library()
        pairs = self._pairs(config)
        texts = [text for column in pairs.texts.values() for text in column]
        # The peer would go round again where the pairs are too few, ours would end.
        steps = max(2, len(texts) // len(pairs.texts) // self.batch_size)
        if steps < self.steps:
            return replace(self, steps=steps).run(config)
        found, facts = model_to_time(self.model, config, texts)
        with tempfile.TemporaryDirectory() as place:
            folder = _with_dropout(found, Path(place) / "model")
            ran = self._trained(config, folder, pairs)
            profiled_in = _precisions()[-1]
            shares = _in_new_process(profiled, self._options(config, folder, profiled_in))
            floors = {p: self._floor(folder, texts, p) for p in _precisions()}
        rows = [self._row(who, precision, ran, floors) for who, precision in ran]
        spent = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
        notes = [
            *sentences([*pairs.facts, *facts]),
            *(f"{p} not trained: {why}" for p in _TRAINED_IN if (why := why_not_timed(p))),
            f"our step in {profiled_in}: {spent}",
            "ceiling: three times the forward products of these word pieces at the measured rate "
            "of the four products of a layer, nothing else",
            f"{self.steps} steps of {self.batch_size} pairs, median of {self.repeats} in turns, "
            f"each in a process of its own; {conditions()}",
        ]
        measured = {
            "model": DEMO if config.profile.name == "demo" else self.model,
            "batch_size": self.batch_size,
            "hardware": hardware(),
            "threads": torch.get_num_threads(),
        }
        title = "Training: ours beside SentenceTransformerTrainer"
        return Figures(title, rows, notes, measured)

    def _pairs(self, config: DictConfig) -> Split:
        # A speed needs a few hundred pairs, of any part of NLI; the notes name what was read.
        root, limit = Path(config.paths.data), self.steps * self.batch_size
        return read(dataset("nli"), root, "train", limit=limit, allow_partial=True)

    def _options(self, config: DictConfig, folder: Path, precision: str) -> list[str]:
        return [
            "experiment=nli",
            f"profile={config.profile.name}",
            "encoder=transformer",
            f"encoder.path={folder}",
            f"paths.data={config.paths.data}",
            f"paths.models={config.paths.models}",
            f"paths.cache={folder.parent}",
            f"paths.results={folder.parent}",
            f"data.limit={self.steps * self.batch_size}",
            "data.allow_partial=true",
            "data.epochs=1",
            "data.dev=null",
            "checkpoint=last",
            f"trainer.batch_size={self.batch_size}",
            f"trainer.max_steps={self.steps}",
            f"trainer.precision={precision}",
            f"trainer.save_every={self.steps}",
            "trainer.save_minutes=null",
            "trainer.progress=false",
            "wandb.mode=disabled",
            "seed=0",
        ]

    def _trained(
        self, config: DictConfig, folder: Path, pairs: Split
    ) -> dict[tuple[str, str], list[Ran]]:
        assert pairs.target is not None, "NLI has labels"
        premises, hypotheses = (list(column) for column in pairs.texts.values())
        rows = {"sentence1": premises, "sentence2": hypotheses, "label": pairs.target.tolist()}
        ran: dict[tuple[str, str], list[Ran]] = {}
        for _ in range(self.repeats):
            for precision in _precisions():
                options = {
                    "per_device_train_batch_size": self.batch_size,
                    "max_steps": self.steps,
                    "bf16": precision == "bf16",  # autocast there
                }
                peer = _in_new_process(train_by_library, str(folder), rows, options)
                ran.setdefault(("sentence-transformers", precision), []).append(peer)
                own = _in_new_process(train_by_ours, self._options(config, folder, precision))
                ran.setdefault(("ours", precision), []).append(own)
        return dict(sorted(ran.items(), reverse=True))

    def _floor(self, folder: Path, texts: Sequence[str], precision: str) -> float:
        """Return the seconds of all steps if they were products alone."""
        shape, lengths = shape_and_lengths(folder, texts)
        work, operations = product_work(shape, precision)
        rate = operations / interleaved({"products": work}, 5)["products"].median
        return 3 * shape.flops(lengths) / rate

    def _row(
        self,
        who: str,
        precision: str,
        ran: dict[tuple[str, str], list[Ran]],
        floors: dict[str, float],
    ) -> dict[str, Any]:
        seconds = {key: statistics.median(one.seconds for one in runs) for key, runs in ran.items()}
        own, base = seconds[who, precision], seconds["sentence-transformers", "fp32"]
        rate = self.steps * self.batch_size / own
        return {
            "training": who,
            "precision": precision,
            "pairs/s": rate,
            "s a step": own / self.steps,
            "× the trainer in fp32": base / own,
            "× at equal precision": seconds["sentence-transformers", precision] / own,
            "peak GB": statistics.median(one.gigabytes for one in ran[who, precision]),
            "of the ceiling": floors[precision] / own,
            "min an epoch": _EPOCH / rate / 60,
            "goal": _goal(base / own, rate) if (who, precision) == ("ours", "bf16") else "—",
        }


def _precisions() -> tuple[str, ...]:
    return tuple(p for p in _TRAINED_IN if why_not_timed(p) is None)


def _goal(ratio: float, rate: float) -> str:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    least, minutes = _GOALS[device], _EPOCH / rate / 60
    judged = f"≥ {least:g}× {'met' if ratio >= least else 'not met'}"
    if device == "cpu":
        return judged
    met = "met" if minutes <= _EPOCH_MINUTES else "not met"
    return f"{judged}; ≤ {_EPOCH_MINUTES:g} min {met}"


def _with_dropout(model: Path, copy: Path) -> Path:
    """Copy a model and give it BERT's dropout, since random weights have none."""
    shutil.copytree(weights_folder(model), copy)
    file = copy / "config.json"
    described = json_files.read(file, dict[str, Any])
    described |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    file.write_text(json.dumps(described), encoding="utf-8")
    return copy


def _in_new_process(work: Callable[..., Any], *given: Any) -> Any:
    """Call something in a new process: with a memory peak of its own, and nothing left warm."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(work, *given).result()


def train_by_ours(overrides: list[str]) -> Ran:
    """Train as ``train.py`` does.

    Args:
        overrides: Options as typed after ``train.py``.

    Returns:
        Time and memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        seconds = fit(compose(overrides), Path(folder)).seconds
    return Ran(seconds, _peak_gb())


def train_by_library(folder: str, rows: dict[str, list[Any]], options: dict[str, Any]) -> Ran:
    """Train by ``SentenceTransformerTrainer`` at its defaults, with ``SoftmaxLoss``.

    Args:
        folder: A model folder.
        rows: ``sentence1``, ``sentence2`` and ``label``.
        options: Of ``SentenceTransformerTrainingArguments``: steps, batch size, precision.

    Returns:
        Time and memory.
    """
    import datasets
    from transformers import TrainerCallback

    library = importlib.import_module(_LIBRARY)
    losses = importlib.import_module(f"{_LIBRARY}.sentence_transformer.losses")
    modules = importlib.import_module(f"{_LIBRARY}.sentence_transformer.modules")
    quiet()
    load_config(Path(folder))  # refuses a model that brings code of its own
    safely = {"trust_remote_code": False, "local_files_only": True}
    network = modules.Transformer(
        folder,
        max_seq_length=130,  # ours: 128 and [CLS], [SEP]
        model_kwargs=dict(safely),
        processor_kwargs=dict(safely),
        config_kwargs=dict(safely),
    )
    width = network.get_embedding_dimension()
    model = library.SentenceTransformer(modules=[network, modules.Pooling(width, "mean")])
    loss = losses.SoftmaxLoss(model, width, len(set(rows["label"])))
    marks: list[float] = []

    class Clock(TrainerCallback):
        # The first and the last only: a GPU would wait at each mark.
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not marks:
                marks.append(_now())

        def on_train_end(self, *_: Any, **__: Any) -> None:
            marks.append(_now())

    quietly: dict[str, Any] = {"report_to": [], "save_strategy": "no", "logging_strategy": "no"}
    # It prints reports and draws bars of its own; errors come through all the same.
    with (
        tempfile.TemporaryDirectory() as output,
        redirect_stdout(StringIO()),
        redirect_stderr(StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
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
    return Ran(marks[-1] - marks[0], _peak_gb())


def _check_library() -> None:
    for name in (_LIBRARY, "accelerate"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise UserError(
                f"{name} is not installed, and the sentence-transformers trainer needs it",
                where="what=train",
                mend="pip install sentence-transformers accelerate",
                code="missing",
            ) from None


def profiled(overrides: list[str], steps: int = 3) -> dict[str, float]:
    """Measure where the time of our step goes.

    Args:
        overrides: Options as typed after ``train.py``.
        steps: Most steps that are looked at, after one that is not.

    Returns:
        Part → share of the time, largest first.
    """
    config = compose(overrides)
    backbone, tokenizer = load(config)
    stream = load_examples(config, tokenizer, backbone.positions).stream
    loss = build(config.loss, width=backbone.width)
    module = SiameseModule(backbone, build(config.pooling), loss, build_optimizer=lambda _: None)  # type: ignore[arg-type, return-value]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    optimizer = build(config.optimizer).over(module.to(device).named_parameters())
    half = plain(config.trainer.precision) == "bf16"
    first, *others = islice(stream, steps + 1)

    def step(batch: Batch) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = module.training_step(batch.to(device), 0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()

    step(first)
    with profiler(device) as profile:
        for batch in others:
            step(batch)
    names = {f"aten::{name}": part for part, names in _PARTS.items() for name in names}
    spent: Counter[str] = Counter()
    for event in profile.key_averages():
        on_gpu = device == "cuda"
        if on_gpu and not event.key.startswith("aten::"):
            continue  # the kernels themselves, whose time their operators have already
        time_of = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        spent[names.get(event.key, "everything else")] += time_of
    whole = sum(spent.values()) or 1
    return {part: one / whole for part, one in spent.most_common()}


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak_gb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return peak_gb()
