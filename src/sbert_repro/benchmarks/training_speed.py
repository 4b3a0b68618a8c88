"""How long trainings take at the speeds that ``what=train`` measured, for dry runs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.benchmarks.models import BASE
from sbert_repro.compose import declaration
from sbert_repro.config import plain
from sbert_repro.data.schema import FOLDS, dataset, spelled
from sbert_repro.errors import UserError
from sbert_repro.ledger import Hardware, machine

FILE = "benchmark_train.json"
"""Where ``results/<profile>`` keeps the figures that `speeds` reads."""
_SAME_SHAPE = (BASE, "FacebookAI/roberta-base")
"""RoBERTa has more word pieces, which a step hardly touches."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSpeed:
    """What a file of figures says.

    Attributes:
        path: The file.
        model: What was trained.
        batch_size: Pairs in a batch.
        where: The machine, and its threads.
        gpus: Whether that machine has a GPU.
        rates: Precision → our pairs a second.
    """

    path: Path
    model: str
    batch_size: int
    where: str
    gpus: bool
    rates: dict[str, float]

    def seconds(self, config: DictConfig) -> float:
        """Return how long a training takes at this speed, if it is like the one measured.

        Each pair counts as long as those of NLI; looks at dev are left out.
        """
        return examples(config) / self.rates[plain(config.trainer.precision)]

    def why_not(self, config: DictConfig) -> str:
        """Say what makes a training unlike the one that was measured; "" when nothing does."""
        path, precision = str(config.encoder.get("path")), plain(config.trainer.precision)
        models = _SAME_SHAPE if self.model in _SAME_SHAPE else (self.model,)
        kind = declaration(config.encoder).constants.get("trained_as")
        reasons = {
            "other networks": kind != "transformer",
            "cross-encoders": declaration(config.loss).constants["columns"] == 1,
            f"of {Path(path).name}": path not in models,
            "on triplets": dataset(config.data.name).kind == "triplets",
            f"over {config.trainer.devices} processes": config.trainer.devices != 1,
            f"in batches of {config.trainer.batch_size}": (
                config.trainer.batch_size != self.batch_size
            ),
            f"in {precision}": precision not in self.rates,
        }
        return next((why for why, true in reasons.items() if true), "")


def speeds(results: Path) -> list[TrainingSpeed]:
    """Read the figures there are, one file per profile.

    Args:
        results: `paths.results`.

    Returns:
        What the files say; the log names a file that cannot be read.
    """
    found = []
    for path in sorted(results.glob(f"*/{FILE}")):
        try:
            found.append(_read_speed(path))
        except UserError as problem:
            _log.warning("%s: no figures of what=train (%s); %s", path, problem.found, advice(path))
    return found


class _Measured(TypedDict):
    hardware: Hardware
    threads: int
    model: str
    batch_size: int


_Row = TypedDict("_Row", {"precision": str, "pairs/s": float, "training": str})


class _Figures(TypedDict):
    measured: _Measured
    rows: list[_Row]


def _read_speed(path: Path) -> TrainingSpeed:
    figures = json_files.read(path, _Figures)
    on = figures["measured"]
    rates = {
        row["precision"]: float(row["pairs/s"])
        for row in figures["rows"]
        if row["training"] == "ours"
    }
    if not rates or min(rates.values()) <= 0:
        raise UserError("no speed of ours in rows", where=path)
    where = machine({"hardware": on["hardware"], "threads": on["threads"]})
    gpus = bool(on["hardware"].get("gpus"))
    return TrainingSpeed(path, on["model"], on["batch_size"], where, gpus, rates)


def advice(path: Path) -> str:
    """Say which command writes figures to a file.

    Args:
        path: ``results/<profile>/benchmark_train.json``.

    Returns:
        Half a sentence.
    """
    words = f"what=train profile={path.parent.name} output={path}"
    return f"`python scripts/benchmark.py {words}` measures the speed of training"


def hours(
    trainings: Sequence[DictConfig], results: Path, profile: str, *, on_cpu: bool = False
) -> list[str]:
    """Estimate how long trainings would take at the speeds that were measured.

    Only what was measured is counted, on the machine it was measured on: a base model on pairs,
    each sentence by itself, every pair as long as those of NLI. Large models, cross-encoders,
    triplets and other networks are counted apart; evaluation is left out.

    Args:
        trainings: Options of training runs, each once.
        results: `paths.results`, where the figures lie.
        profile: Where figures would be written that are not there yet.
        on_cpu: Leave out the speeds of machines that have a GPU.

    Returns:
        Half a sentence.
    """
    if not trainings:
        return []
    measured = [speed for speed in speeds(results) if not (on_cpu and speed.gpus)]
    if not measured:
        return [f"No estimate from a speed: {advice(results / profile / FILE)}."]
    return [_hours_at(speed, trainings) for speed in measured]


def _hours_at(speed: TrainingSpeed, trainings: Sequence[DictConfig]) -> str:
    seconds, counted = 0.0, Counter[str]()
    apart: Counter[str] = Counter()
    for config in trainings:
        if why := speed.why_not(config):
            apart[why] += 1
            continue
        seconds += speed.seconds(config)
        counted[plain(config.trainer.precision)] += 1
    rest = ", ".join(f"{count} {why}" for why, count in apart.items())
    left_out = f"not estimated: {rest}; " if rest else ""
    if not counted:
        return f"No estimate from {speed.path} ({left_out}nothing like it was measured)."
    rates = ", ".join(f"{speed.rates[p]:.1f} pairs/s in {p}" for p in sorted(counted))
    return (
        f"{counted.total()} of {len(trainings)} trainings: about {seconds / 3600:,.1f} h one after "
        f"the other on {speed.where} ({rates}: {Path(speed.model).name} on NLI, {speed.path}); "
        f"{left_out}evaluation is left out, looks at dev too."
    )


def examples(config: DictConfig) -> int:
    """Count what a run trains on over all its epochs, in the complete data set.

    Args:
        config: Options of a training.

    Returns:
        Pairs, each as often as it is seen; `data.limit` and `trainer.max_steps` cap it.
    """
    data, trainer = config.data, config.trainer
    record = dataset(data.name)
    part = record.part(data.split)
    if part is None:
        rows = record.splits[data.split]
    else:  # the topics and the folds are taken as equal in size
        held = [part.holds(spelled(one), fold) for one in record.topics for fold in range(FOLDS)]
        rows = record.splits["all"] * sum(held) // len(held)
    rows = rows if data.limit is None else min(rows, int(data.limit))
    rows *= 1 + bool(data.swapped)
    steps = -(-rows // int(trainer.batch_size)) * int(trainer.epochs)
    seen = rows * int(trainer.epochs)
    if trainer.max_steps is not None and int(trainer.max_steps) < steps:
        return min(seen, int(trainer.max_steps) * int(trainer.batch_size))
    return seen
