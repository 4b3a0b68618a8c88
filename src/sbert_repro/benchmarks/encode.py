"""``what=encode``: sentences a second beside sentence-transformers and ONNX Runtime, with goals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from sbert_repro.backbone.transformer import load_config
from sbert_repro.benchmarks.models import BASE, MINILM, model_to_time
from sbert_repro.benchmarks.peers import OnnxRuntimeEncoder, SentenceTransformersEncoder
from sbert_repro.benchmarks.table_7 import stsb_sentences
from sbert_repro.benchmarks.timing import (
    Figures,
    conditions,
    interleaved,
    product_work,
    quiet,
    shape_and_lengths,
)
from sbert_repro.config import Precision
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences

LONG = 256
"""Words of a long text, each of which is at least one word piece."""
_MAX_LENGTH = 256
_GOALS = {
    (BASE, "STSb"): {"fp32": 2.5, "onnx": 1.0, "bf16": 5.0, "bf16 / bf16": 1.2, "ceiling": 0.85},
    (BASE, "long"): {"fp32": 1.0},
    (BASE, "mixed"): {"fp32": 1.0},
    (MINILM, "STSb"): {"fp32": 2.0},
    (MINILM, "mixed"): {"fp32": 1.0},
}
"""Least ratio of our fp32 and bf16 to the library in fp32; ``onnx``: of fp32 to the library over
ONNX Runtime; ``bf16 / bf16``: of bf16 to the library in bf16; ``ceiling``: share of the product
ceiling in fp32."""
_COLUMNS = ("ours fp32", "ours bf16", "peer fp32", "peer bf16", "onnx")


@dataclass(frozen=True)
class EncodeBenchmark:
    """Options of the benchmark.

    Attributes:
        repeats: How often each side is timed.
        sentences: Texts of each kind.
    """

    repeats: int
    sentences: int

    def run(self, config: DictConfig) -> Figures:
        """Time each model on each kind of text, in turns.

        Args:
            config: Composed options of ``scripts/benchmark.py``.

        Returns:
            Sentences a second, ratios, goals.

        Raises:
            UserError: If the library or the sentences are not there, or a number is below 1.
        """
        if min(self.repeats, self.sentences) < 1:
            raise UserError("expected 1 or more", where="what.repeats and what.sentences")
        quiet()
        texts = self._texts(config)
        rows, notes = [], []
        for (name, kind), goals in _GOALS.items():
            folder, facts = model_to_time(name, config, texts["STSb"])
            encoders, refused = _encoders(folder, goals, config.paths.cache)
            row = {"model": Path(name).name, "texts": kind}
            rows.append({**row, **self._measured(row, folder, texts[kind], goals, encoders)})
            if "onnx" in encoders:
                facts = [*facts, *encoders["onnx"].facts]
            # A fallback to the reference engine must be seen beside its speed.
            engines = {label: e.engine for label, e in encoders.items() if label.startswith("ours")}
            notes += [*sentences(facts), *refused]
            notes += [f"{row['model']}, {label}: engine {e}" for label, e in engines.items()]
        notes = [*dict.fromkeys(notes), f"median of {self.repeats} in turns; {conditions()}"]
        return Figures("Encoding: ours beside sentence-transformers", rows, notes)

    def _texts(self, config: DictConfig) -> dict[str, list[str]]:
        """Return STSb's distinct sentences, long texts of their words, and texts of all lengths."""
        short, _ = stsb_sentences(config, self.sentences)
        words, random = " ".join(short).split(), np.random.default_rng(0)
        long = [" ".join(random.choice(words, LONG)) for _ in range(max(1, len(short) // 8))]
        mixed = [" ".join(random.choice(words, n)) for n in random.geometric(1 / 20, len(short))]
        return {"STSb": short, "long": long, "mixed": mixed}

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
        works["ceiling"], flops = product_work(shape, "fp32")
        times = interleaved(works, self.repeats, title=", ".join(row.values()))
        seconds = {label: timing.median for label, timing in times.items()}
        ratios = {
            "fp32": seconds["peer fp32"] / seconds["ours fp32"],
            "onnx": seconds.get("onnx", np.nan) / seconds["ours fp32"],
            "bf16": seconds["peer fp32"] / seconds.get("ours bf16", np.inf),
            "bf16 / bf16": seconds.get("peer bf16", 0.0) / seconds.get("ours bf16", np.inf),
            "ceiling": shape.flops(lengths) / seconds["ours fp32"] / (flops / seconds["ceiling"]),
        }
        difference = encoders["ours fp32"].encode(texts) - encoders["peer fp32"].encode(texts)
        rates = {label: len(texts) / seconds[label] for label in encoders}
        return {
            **{f"{label} /s": rates.get(label, "—") for label in _COLUMNS},
            "fp32 ×": ratios["fp32"],
            "of the ceiling": ratios["ceiling"],
            "max |Δ|": f"{np.abs(difference).max():.0e}",
            "goals": "; ".join(_judged(goal, ratios[goal], goals[goal]) for goal in goals),
        }


def _encoders(
    folder: Path, goals: dict[str, float], cache: str
) -> tuple[dict[str, Any], list[str]]:
    """Build what is timed for some goals; what cannot be is named in a line."""
    path, limit = str(folder), _limit(folder)
    encoders: dict[str, SentenceEncoder] = {}
    refused: list[str] = []
    for precision in (p.name for p in Precision if p.name in goals):
        encoders[f"ours {precision}"] = TransformerEncoder(
            path, precision=precision, max_length=limit - 2
        )
    peers = {"peer fp32": SentenceTransformersEncoder(path)}
    if "bf16 / bf16" in goals:
        peers["peer bf16"] = SentenceTransformersEncoder(path, precision="bf16")
    if "onnx" in goals:
        try:
            peers["onnx"] = OnnxRuntimeEncoder(path, cache=cache)
        except UserError as problem:
            refused = [f"onnx not timed: {problem}"]
    for peer in peers.values():
        peer.model.max_seq_length = limit
    return {**encoders, **peers}, refused


def _limit(folder: Path) -> int:
    """Return the most word pieces of a text; the demo's models have fewer positions."""
    config = load_config(folder)
    return min(_MAX_LENGTH, int(config.max_position_embeddings))


def _judged(goal: str, ratio: float, least: float) -> str:
    if np.isnan(ratio):
        return f"{goal} not timed"
    return f"{goal} {ratio:.2f} ≥ {least:g} {'met' if ratio >= least else 'not met'}"
