"""``what=encode``: sentences a second beside sentence-transformers and two runtimes, with goals."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from sbert_repro.backbone.transformer import load_config
from sbert_repro.benchmarks.models import BASE, MINILM, model_to_time
from sbert_repro.benchmarks.peers import (
    OnnxRuntimeEncoder,
    OpenVinoEncoder,
    SentenceTransformersEncoder,
)
from sbert_repro.benchmarks.table_7 import stsb_sentences
from sbert_repro.benchmarks.timing import (
    Figures,
    choose_batch_size,
    conditions,
    distinct_texts,
    interleaved,
    product_work,
    profiler,
    quiet,
    shape_and_lengths,
    why_not_timed,
)
from sbert_repro.config import VectorPrecision
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import score_tasks
from sbert_repro.evaluation.tasks import TASKS, load
from sbert_repro.facts import sentence, sentences
from sbert_repro.similarity import cosine

LONG = 256
"""Words of a long text, each of which is at least one word piece."""
_MAX_LENGTH = 256
_SENTENCES = {"cpu": 512, "cuda": 100_000}
"""Texts of each kind, long ones an eighth of it; with fewer a GPU would not get under way."""
_PROFILED = 4096
"""Texts of the run that says where the time goes; its events would fill the memory otherwise."""
_GOALS = {
    (BASE, "STSb"): {
        "fp32": 2.5,
        "onnx": 1.0,
        "openvino": 1.0,
        "bf16": 5.0,
        "bf16 / bf16": 1.2,
        "openvino bf16": 1.0,
        "int8": 1.3,
        "ceiling": 0.95,
        "ceiling bf16": 0.92,
    },
    (BASE, "long"): {"fp32": 1.0},
    (BASE, "mixed"): {"fp32": 1.0},
    (MINILM, "STSb"): {"fp32": 2.0, "int8": 1.3},
    (MINILM, "mixed"): {"fp32": 1.0},
}
"""Least ratio of our fp32 and bf16 to the library in fp32; ``onnx``, ``openvino``: of fp32 to the
library over that runtime; ``bf16 / bf16``: of bf16 to the library in bf16; ``int8``: of int8 to the
fastest other in int8; ``ceiling``: share of the product ceiling."""
_PEERS = {
    "peer fp32": (SentenceTransformersEncoder, "fp32"),
    "peer bf16": (SentenceTransformersEncoder, "bf16"),
    "onnx": (OnnxRuntimeEncoder, "fp32"),
    "onnx int8": (OnnxRuntimeEncoder, "int8"),
    "openvino": (OpenVinoEncoder, "fp32"),
    "openvino bf16": (OpenVinoEncoder, "bf16"),
    "openvino int8": (OpenVinoEncoder, "int8"),
}
_NEEDED = {
    "bf16": ("ours bf16",),
    "bf16 / bf16": ("ours bf16", "peer bf16"),
    "onnx": ("onnx",),
    "openvino": ("openvino",),
    "openvino bf16": ("ours bf16", "openvino bf16"),
    "int8": ("ours int8", "onnx int8", "openvino int8"),
}
"""Goal → what is timed for it, beside ours and the library in fp32."""
_COLUMNS = ("ours fp32", "ours bf16", "ours int8", *_PEERS)
_PARTS = {
    "products": ("_linear_pointwise", "qlinear_pointwise", "linear", "addmm"),
    "attention": (
        "_scaled_dot_product_flash_attention_for_cpu",
        "_softmax",
        "bmm",
        "baddbmm",
    ),
    "GELU": ("gelu", "gelu_"),
    "LayerNorm": ("native_layer_norm",),
    "quantisation": ("embedding_bag_byte_prepack", "addcmul", "addcmul_"),
    "copies and sums": ("copy_", "cat", "index_select", "add_"),
}
"""Part of our time → PyTorch's operators; in fp32 and bf16 products have GELU and sums in them."""


@dataclass(frozen=True)
class EncodeBenchmark:
    """Options of the benchmark.

    Attributes:
        repeats: How often each side is timed.
        sentences: Texts of each kind, long ones an eighth of it; ``None``: `_SENTENCES`.
    """

    repeats: int
    sentences: int | None

    def run(self, config: DictConfig) -> Figures:
        """Time each model on each kind of text, in turns.

        Args:
            config: Composed options of ``scripts/benchmark.py``.

        Returns:
            Sentences a second, ratios, goals.

        Raises:
            UserError: If the library or the sentences are not there, a number is below 1, or the
                packed engine cannot compute: a fallback would be timed in its name.
        """
        count = self.sentences
        if count is None:
            count = _SENTENCES["cuda" if torch.cuda.is_available() else "cpu"]
        if min(self.repeats, count) < 1:
            raise UserError("expected 1 or more", where="what.repeats and what.sentences")
        quiet()
        texts, counted = _texts(config, count)
        rows, notes = [], [counted]
        for (name, kind), goals in _GOALS.items():
            folder, facts = model_to_time(name, config, texts["STSb"])
            encoders, refused = _encoders(folder, goals, config)
            row = {"model": Path(name).name, "texts": kind}
            batches = [
                f"{row['model']}, {kind}, {label}: {sentence(choose_batch_size(one, texts[kind]))}"
                for label, one in encoders.items()
                if label in _PEERS
            ]
            rows.append({**row, **self._measured(row, folder, texts[kind], goals, encoders)})
            facts = [
                *facts,
                *(f for label in _PEERS if label in encoders for f in encoders[label].facts),
            ]
            notes += [*sentences(facts), *refused, *batches]
            for label, one in encoders.items():
                if label.startswith("ours"):
                    notes.append(f"{row['model']}, {label}: engine {one.engine}")
                    notes += [f"{row['model']}, {label}: {said}" for said in sentences(one.facts)]
                    if "ceiling" in goals:
                        notes.append(f"{row['model']}, {label}: {_spent(one, texts[kind])}")
            if "int8" in goals:
                notes += _agreement(row["model"], encoders, texts[kind], config)
        notes = [*dict.fromkeys(notes), f"median of {self.repeats} in turns; {conditions()}"]
        return Figures("Encoding: ours beside sentence-transformers", rows, notes)

    def _measured(
        self,
        row: dict[str, str],
        folder: Path,
        texts: list[str],
        goals: dict[str, float],
        encoders: dict[str, Any],
    ) -> dict[str, Any]:
        works: dict[str, Callable[[], object]] = {
            label: partial(encoder.encode, texts) for label, encoder in encoders.items()
        }
        shape, lengths = shape_and_lengths(folder, texts, _limit(folder))
        ceilings = {"ceiling": product_work(shape, "fp32")}
        if "ceiling bf16" in goals and "ours bf16" in encoders:
            ceilings["ceiling bf16"] = product_work(shape, "bf16")
        works |= {label: work for label, (work, _) in ceilings.items()}
        times = interleaved(works, self.repeats, title=", ".join(row.values()))
        seconds = {label: timing.median for label, timing in times.items()}

        def ratio(slow: str, fast: str) -> float:
            return seconds.get(slow, np.nan) / seconds.get(fast, np.nan)

        ratios = {
            "fp32": ratio("peer fp32", "ours fp32"),
            "onnx": ratio("onnx", "ours fp32"),
            "openvino": ratio("openvino", "ours fp32"),
            "bf16": ratio("peer fp32", "ours bf16"),
            "bf16 / bf16": ratio("peer bf16", "ours bf16"),
            "openvino bf16": ratio("openvino bf16", "ours bf16"),
            # The faster of the two counts, or the one that is there.
            "int8": float(
                np.fmin(ratio("openvino int8", "ours int8"), ratio("onnx int8", "ours int8"))
            ),
        }
        for label, (_, flops) in ceilings.items():
            own = seconds.get(f"ours {label[8:] or 'fp32'}", np.nan)
            ratios[label] = shape.flops(lengths) / own / (flops / seconds[label])
        difference = encoders["ours fp32"].encode(texts) - encoders["peer fp32"].encode(texts)
        rates = {label: len(texts) / seconds[label] for label in encoders}
        return {
            **{f"{label} /s": rates.get(label, "—") for label in _COLUMNS},
            "fp32 ×": ratios["fp32"],
            "of the ceiling": ratios["ceiling"],
            "max |Δ|": f"{np.abs(difference).max():.0e}",
            "goals": "; ".join(
                _judged(goal, ratios.get(goal, np.nan), least) for goal, least in goals.items()
            ),
        }


def _texts(config: DictConfig, count: int) -> tuple[dict[str, list[str]], str]:
    """Return STSb's sentences, long texts of their words, and texts of all lengths; and say so.

    All are distinct, since our encoders embed equal ones once. Where STSb has too few, texts of its
    words follow, in its sentences' lengths.
    """
    short, _ = stsb_sentences(config, count)
    words, random = np.array(" ".join(short).split()), np.random.default_rng(0)

    lengths = cycle([len(text.split()) for text in short])
    more = list(islice(distinct_texts(words, lengths, random, short), count - len(short)))
    long = distinct_texts(words, cycle([LONG]), random)
    texts = {
        "STSb": [*short, *more],
        "long": list(islice(long, max(1, count // 8))),
        "mixed": list(distinct_texts(words, map(int, random.geometric(1 / 20, count)), random)),
    }
    counted = (
        f"distinct texts: STSb {count:,}, {len(more):,} of them drawn from its words in the "
        f"lengths of its sentences; long {len(texts['long']):,}; mixed {len(texts['mixed']):,}"
    )
    return texts, counted


def _encoders(
    folder: Path, goals: dict[str, float], config: DictConfig
) -> tuple[dict[str, Any], list[str]]:
    """Build what is timed for some goals; what cannot be is named in a line."""
    path, limit = str(folder), _limit(folder)
    encoders: dict[str, Any] = {}
    refused: list[str] = []
    needed = {"ours fp32", "peer fp32", *(one for goal in goals for one in _NEEDED.get(goal, ()))}
    for precision in VectorPrecision:
        if f"ours {precision.name}" not in needed:
            continue
        # Asked for by name: a fallback must not be timed as ours. On a GPU fp32 is the reference's.
        plain = precision is VectorPrecision.fp32 and torch.cuda.is_available()
        engine = "reference" if plain else "packed"
        own = TransformerEncoder(
            path, precision=precision.name, max_length=limit - 2, engine=engine
        )
        try:
            own.engine  # noqa: B018
        except UserError as problem:
            if precision is VectorPrecision.fp32:
                raise
            refused.append(f"ours {precision.name} not timed: {problem}")
            continue
        encoders[f"ours {precision.name}"] = own
    for label, (kind, precision_name) in _PEERS.items():
        if label not in needed:
            continue
        if precision_name == "bf16" and (reason := why_not_timed(precision_name)):
            refused.append(f"{label} not timed: {reason}")
            continue
        options: dict[str, Any] = {"precision": precision_name}
        if kind is not SentenceTransformersEncoder:
            options["cache"] = config.paths.cache
        if kind is OpenVinoEncoder:
            options["data_root"] = config.paths.data
        try:
            encoders[label] = kind(path, **options)
        except UserError as problem:
            if kind is SentenceTransformersEncoder:
                raise
            refused.append(f"{label} not timed: {problem}")
            continue
        encoders[label].model.max_seq_length = limit
    return encoders, refused


def _spent(encoder: TransformerEncoder, texts: list[str]) -> str:
    """Say where the time of ours goes, from one more run."""
    cuda = encoder.device.type == "cuda"
    names = {f"::{name}": part for part, names in _PARTS.items() for name in names}
    spent: Counter[str] = Counter()
    with profiler(encoder.device.type) as profile:
        start = time.perf_counter()
        encoder.encode(texts[:_PROFILED])
        seconds = time.perf_counter() - start
    for event in profile.key_averages():
        part = names.get("::" + event.key.rpartition("::")[2], "other operators")
        spent[part] += event.self_device_time_total if cuda else event.self_cpu_time_total
    if not cuda:
        # The profiler's own cost is in it.
        spent["tokenising and Python"] = max(0, round(1e6 * seconds) - sum(spent.values()))
    whole = sum(spent.values()) or 1
    return ", ".join(f"{part} {one / whole:.0%}" for part, one in spent.most_common())


def _agreement(
    model: str, encoders: dict[str, Any], texts: list[str], config: DictConfig
) -> list[str]:
    """Say how near the vectors are to ours in fp32, and what STSb says of each precision."""
    exact, notes = encoders["ours fp32"].encode(texts), []
    for label, one in encoders.items():
        if label == "ours fp32":
            continue
        cosines = cosine(one.encode(texts), exact)
        notes.append(
            f"{model}, {label}: cosine with our fp32 at least {cosines.min():.5f}, mean "
            f"{cosines.mean():.5f}"
        )
    if model == Path(MINILM).name:
        task = TASKS["stsb"]
        pairs = load(task, Path(config.paths.data), allow_partial=bool(config.data.allow_partial))
        scores = {
            label: score_tasks(one, [pairs], None)[task.name]["spearman"]
            for label, one in encoders.items()
        }
        said = ", ".join(f"{label} {score:.2f}" for label, score in scores.items())
        notes.append(f"{model}, Spearman on STSb × 100: {said}")
    return notes


def _limit(folder: Path) -> int:
    """Return the most word pieces of a text; the demo's models have fewer positions."""
    config = load_config(folder)
    return min(_MAX_LENGTH, int(config.max_position_embeddings))


def _judged(goal: str, ratio: float, least: float) -> str:
    if np.isnan(ratio):
        return f"{goal} not timed"
    return f"{goal} {ratio:.2f} ≥ {least:g} {'met' if ratio >= least else 'not met'}"
