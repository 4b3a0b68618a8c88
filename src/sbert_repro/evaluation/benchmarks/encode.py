"""Sentences a second: ours beside the sentence-transformers library, with the design's goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from transformers import AutoConfig

from sbert_repro.backbone.find_model import weights_folder
from sbert_repro.config import Precision
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.encoders.onnx_runtime import OnnxRuntimeEncoder
from sbert_repro.encoders.peer import PeerEncoder
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.benchmarks.figures import Figures, conditions
from sbert_repro.evaluation.speed.ceiling import product_work, shape_and_lengths
from sbert_repro.evaluation.speed.record import quiet
from sbert_repro.evaluation.speed.rows import DEMO_MODEL
from sbert_repro.evaluation.speed.shapes import BASE, MINILM, timed_model
from sbert_repro.evaluation.speed.timing import interleaved
from sbert_repro.evaluation.tasks import TASKS, Pairs, load
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
"""Least ratios to the library in fp32; ``onnx``: of fp32 to it over ONNX Runtime; ``bf16 / bf16``:
to it in bf16; share of the ceiling."""


@dataclass(frozen=True)
class EncodeBenchmark:
    """Options of the benchmark.

    Attributes:
        repeats: How often each is timed.
        sentences: Texts of each kind.
    """

    repeats: int
    sentences: int

    def run(self, config: DictConfig) -> Figures:
        """Measure each model on each kind of text, in turns.

        Args:
            config: Composed options of ``scripts/benchmark.py``.

        Returns:
            Figures: Sentences a second, ratios, goals.

        Raises:
            UserError: If the library or the sentences are not there, or a number is below 1.
        """
        if min(self.repeats, self.sentences) < 1:
            raise UserError("what.repeats and what.sentences: expected 1 or more")
        quiet()
        texts = self._texts(config)
        rows, notes = [], []
        for (name, kind), goals in _GOALS.items():
            folder, said = _model(name, config, texts["STSb"])
            encoders, more = _encoders(str(folder), goals, _limit(folder), config.paths.cache)
            row = {"model": Path(name).name, "texts": kind}
            title = f"{row['model']}, {kind}"
            rows.append({**row, **self._measured(title, folder, texts[kind], goals, encoders)})
            notes += [*said, *more]
        notes = [*dict.fromkeys(notes), f"median of {self.repeats} in turns; {conditions()}"]
        return Figures("Encoding: ours beside sentence-transformers", rows, notes)

    def _texts(self, config: DictConfig) -> dict[str, list[str]]:
        """Give STSb's distinct sentences, long texts made of them, and both in turns."""
        root, partial_data = Path(config.paths.data), bool(config.data.allow_partial)
        pairs = load(TASKS["stsb"], root, allow_partial=partial_data)
        assert isinstance(pairs, Pairs), "STSb holds scored pairs"
        short = list(dict.fromkeys([*pairs.first, *pairs.second]))[: self.sentences]
        words, random = " ".join(short).split(), np.random.default_rng(0)
        long = [" ".join(random.choice(words, LONG)) for _ in range(max(1, len(short) // 8))]
        mixed = [" ".join(random.choice(words, n)) for n in random.geometric(1 / 20, len(short))]
        return {"STSb": short, "long": long, "mixed": mixed}

    def _measured(
        self,
        title: str,
        folder: Path,
        texts: list[str],
        goals: dict[str, float],
        encoders: dict[str, SentenceEncoder],
    ) -> dict[str, Any]:
        works: dict[str, Callable[[], object]] = {
            label: partial(encoder.encode, texts) for label, encoder in encoders.items()
        }
        shape, lengths = shape_and_lengths(folder, texts, _limit(folder))
        works["ceiling"], flops = product_work(shape, "fp32")
        times = interleaved(works, self.repeats, title=title)
        each = {label: times[label].median for label in works}
        share = shape.flops(lengths) / each["ours fp32"] / (flops / each["ceiling"])
        found = {
            "fp32": each["peer fp32"] / each["ours fp32"],
            "onnx": each.get("onnx", np.nan) / each["ours fp32"],
            "bf16": each["peer fp32"] / each.get("ours bf16", np.inf),
            "bf16 / bf16": each.get("peer bf16", 0.0) / each.get("ours bf16", np.inf),
            "ceiling": share,
        }
        difference = encoders["ours fp32"].encode(texts) - encoders["peer fp32"].encode(texts)
        return {
            **{f"{label} /s": _rate(len(texts), each, label) for label in _COLUMNS},
            "fp32 ×": found["fp32"],
            "of the ceiling": found["ceiling"],
            "max |Δ|": f"{np.abs(difference).max():.0e}",
            "goals": "; ".join(_judged(goal, found[goal], least) for goal, least in goals.items()),
        }


_COLUMNS = ("ours fp32", "ours bf16", "peer fp32", "peer bf16", "onnx")


def _encoders(
    path: str, goals: dict[str, float], limit: int, cache: str
) -> tuple[dict[str, SentenceEncoder], list[str]]:
    """Give what is timed for some goals, and what a reader must know about it."""
    encoders, notes = dict[str, SentenceEncoder](), list[str]()
    for precision in [p.name for p in Precision if p.name in goals]:
        encoders[f"ours {precision}"] = TransformerEncoder(
            path, precision=precision, max_length=limit - 2
        )
    encoders["peer fp32"] = _peer(path, "fp32", limit)
    if "bf16 / bf16" in goals:
        encoders["peer bf16"] = _peer(path, "bf16", limit)
    if "onnx" in goals:
        try:
            encoder = OnnxRuntimeEncoder(path, cache=cache)
        except UserError as problem:
            return encoders, [f"onnx not timed: {problem}"]
        encoder.model.max_seq_length = limit
        encoders["onnx"] = encoder
        notes += [f"onnx: {note}" for note in sentences(encoder.facts)]
    return encoders, notes


def _peer(path: str, precision: str, limit: int) -> PeerEncoder:
    encoder = PeerEncoder(path, precision=precision)
    encoder.model.max_seq_length = limit
    return encoder


def _limit(folder: Path) -> int:
    """Give the longest text in word pieces; the demo's models have fewer positions."""
    config = AutoConfig.from_pretrained(weights_folder(folder), local_files_only=True)
    return min(_MAX_LENGTH, int(config.max_position_embeddings))


def _rate(count: int, seconds: dict[str, float], label: str) -> float | str:
    return count / seconds[label] if label in seconds else "—"


def _judged(goal: str, ratio: float, least: float) -> str:
    if np.isnan(ratio):
        return f"{goal} not timed"
    return f"{goal} {ratio:.2f} ≥ {least:g} {'met' if ratio >= least else 'not met'}"


def _model(name: str, config: DictConfig, texts: Sequence[str]) -> tuple[Path, list[str]]:
    models = Path(config.paths.models)
    if config.profile.name == "demo":
        return models / DEMO_MODEL, ["random 2-layer BERT of the demo in the place of all models"]
    return timed_model(name, models, Path(config.paths.cache), texts, download=False)
