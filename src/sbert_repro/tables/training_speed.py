"""Hours of training from a measured speed: figures of `scripts/benchmark.py what=train`.

Only what was measured is counted, on the machine it was measured on: a base model on pairs, each
sentence by itself, and every pair as long as those of NLI. Large models, cross-encoders, triplets
and other networks are counted apart; evaluation is left out.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from sbert_repro.config import plain
from sbert_repro.data.schema import FOLDS, dataset
from sbert_repro.tables.plan import Stage
from sbert_repro.tables.render import machine

FILE = "benchmark_train.json"
_BASE = ("google-bert/bert-base-uncased", "FacebookAI/roberta-base")
"""Of one shape; RoBERTa has more word pieces, which the steps hardly touch."""
_OF_SENTENCES = "sbert_repro.encoders.transformer.TransformerEncoder"
_CROSS = "sbert_repro.losses.cross_"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSpeed:
    """What a file of figures says.

    Attributes:
        path: The file.
        model: What was trained.
        batch_size: Pairs in a batch.
        where: The machine, and its threads.
        rates: Precision → pairs a second of ours.
    """

    path: Path
    model: str
    batch_size: int
    where: str
    rates: dict[str, float]

    @property
    def models(self) -> tuple[str, ...]:
        """Models of the shape that was measured."""
        return _BASE if self.model in _BASE else (self.model,)


def measured(results: Path) -> list[TrainingSpeed]:
    """Find the figures there are, one file a profile.

    Args:
        results: `paths.results`.

    Returns:
        What the files say; one that cannot be read is named in the log.
    """
    found = []
    for path in sorted(results.glob(f"*/{FILE}")):
        try:
            found.append(_read(path))
        except (OSError, ValueError, KeyError, TypeError) as problem:
            said = f"{type(problem).__name__}: {problem}"
            _log.warning("%s: no figures of what=train (%s); %s", path, said, advice(path))
    return found


def _read(path: Path) -> TrainingSpeed:
    figures = json.loads(path.read_text(encoding="utf-8"))
    on = figures["measured"]
    rates = {
        str(row["precision"]): float(row["pairs/s"])
        for row in figures["rows"]
        if row["training"] == "ours"
    }
    if not rates or min(rates.values()) <= 0:
        raise ValueError("no speed of ours in rows")
    where = f"{machine({'hardware': on['hardware']})}, {int(on['threads'])} threads"
    return TrainingSpeed(path, str(on["model"]), int(on["batch_size"]), where, rates)


def advice(path: Path) -> str:
    """Name the command that measures.

    Args:
        path: Where its figures belong.

    Returns:
        What to do.
    """
    words = f"what=train profile={path.parent.name} output={path}"
    return f"`python scripts/benchmark.py {words}` measures the speed of training"


def lines(stages: Sequence[Stage], results: Path, profile: str) -> list[str]:
    """Say how long trainings would take that nothing like was ever recorded of.

    Args:
        stages: Training runs, each once.
        results: `paths.results`, where the figures lie.
        profile: Where figures would be written that are not there yet.

    Returns:
        A line for each machine that was measured; what is not in it is named in it.
    """
    if not stages:
        return []
    speeds = measured(results)
    if not speeds:
        return [f"No estimate from a speed: {advice(results / profile / FILE)}."]
    return [_line(stages, speed) for speed in speeds]


def _line(stages: Sequence[Stage], speed: TrainingSpeed) -> str:
    seconds, counted, used = 0.0, 0, set()
    apart: Counter[str] = Counter()
    for stage in stages:
        if why := _unlike(stage.config, speed):
            apart[why] += 1
            continue
        precision = plain(stage.config.trainer.precision)
        seconds += examples(stage.config) / speed.rates[precision]
        used.add(precision)
        counted += 1
    rest = ", ".join(f"{count} {why}" for why, count in apart.items())
    left_out = f"not estimated: {rest}; " if rest else ""
    if not counted:
        return f"No estimate from {speed.path} ({left_out}nothing like it was measured)."
    rates = ", ".join(f"{speed.rates[p]:.1f} pairs/s in {p}" for p in sorted(used))
    return (
        f"{counted} of {len(stages)} trainings: about {seconds / 3600:,.1f} h one after the other "
        f"on {speed.where} ({rates}: {Path(speed.model).name} on NLI, {speed.path}); {left_out}"
        "evaluation is left out, looks at dev too."
    )


def _unlike(config: DictConfig, speed: TrainingSpeed) -> str:
    """Say what makes a training another one than was measured; "" when nothing does."""
    path, precision = str(config.encoder.get("path")), plain(config.trainer.precision)
    reasons = {
        "other networks": config.encoder["_target_"] != _OF_SENTENCES,
        "cross-encoders": str(config.loss["_target_"]).startswith(_CROSS),
        f"of {Path(path).name}": path not in speed.models,
        "on triplets": dataset(config.data.name).kind == "triplets",
        f"over {config.trainer.devices} processes": config.trainer.devices != 1,
        "compiled": bool(config.trainer.compile),
        f"in batches of {config.trainer.batch_size}": config.trainer.batch_size != speed.batch_size,
        f"in {precision}": precision not in speed.rates,
    }
    return next((why for why, true in reasons.items() if true), "")


def examples(config: DictConfig) -> int:
    """Count what a run trains on over all its epochs, in the complete data set.

    Args:
        config: A training's options.

    Returns:
        Pairs, each as often as it is seen; `data.limit` and `trainer.max_steps` cap it.
    """
    data, trainer = config.data, config.trainer
    record = dataset(data.name)
    part = record.part(data.split)
    if part is None:
        rows = record.splits[data.split]
    else:  # all but one of its folds, or of its topics, which are taken as equal in size
        parts = len(record.topics) if part.fold is None else FOLDS
        rows = record.splits["all"] * (parts - 1) // parts
    rows = rows if data.limit is None else min(rows, int(data.limit))
    steps = -(-rows // int(trainer.batch_size)) * int(trainer.epochs)
    seen = rows * int(trainer.epochs)
    if trainer.max_steps is not None and int(trainer.max_steps) < steps:
        return min(seen, int(trainer.max_steps) * int(trainer.batch_size))
    return seen
