"""Pairs a second of training on NLI: ours beside the sentence-transformers trainer."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from sbert_repro.backbone.find_model import weights_folder
from sbert_repro.data.read import Split, read
from sbert_repro.data.schema import dataset
from sbert_repro.errors import UserError
from sbert_repro.evaluation.benchmarks import one_training
from sbert_repro.evaluation.benchmarks.figures import Figures, conditions
from sbert_repro.evaluation.benchmarks.one_training import Ran
from sbert_repro.evaluation.speed.ceiling import product_work, shape_and_lengths
from sbert_repro.evaluation.speed.rows import DEMO_MODEL
from sbert_repro.evaluation.speed.shapes import timed_model
from sbert_repro.evaluation.speed.timing import interleaved
from sbert_repro.facts import sentences
from sbert_repro.ledger import hardware

_GOALS = {"cpu": 6.0, "cuda": 3.0}
"""How many times the trainer's fp32 speed ours should have in bf16."""
_EPOCH = 942_069
_EPOCH_MINUTES = 5.0
"""Goal for an epoch of NLI on a GPU of the H200's kind."""


@dataclass(frozen=True)
class TrainBenchmark:
    """Options of the benchmark.

    On a GPU the same trainings run there; no figure of this project has been measured on one yet.
    Take ``what.steps=2000`` there, so that the start does not count.

    Attributes:
        model: A key of `sbert_repro.evaluation.speed.shapes.SIZES`.
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
            Figures: Pairs a second, ratio, memory, share of the product ceiling, goals.

        Raises:
            UserError: If the library or the pairs are not there, or a number is below 1.
        """
        if self.repeats < 1 or self.batch_size < 1 or self.steps < 2:  # noqa: PLR2004 - one step has no speed
            raise UserError(
                "what.repeats and what.batch_size: expected at least 1; what.steps: at least 2"
            )
        one_training.check_peer()
        pairs = self._pairs(config)
        with tempfile.TemporaryDirectory() as place:
            folder, notes = self._model(config, pairs, Path(place) / "model")
            ran = self._trained(config, folder, pairs)
            shares = _alone(one_training.profiled, self._options(config, folder, "bf16"))
            floors = {p: self._floor(folder, pairs, p) for p in ("fp32", "bf16")}
        rows = [self._row(who, precision, ran, floors) for who, precision in ran]
        spent = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
        notes += [
            f"our step in bf16: {spent}",
            "ceiling: three times the forward products of these word pieces at the measured rate "
            "of the four products of a layer, nothing else",
            f"{self.steps} steps of {self.batch_size} pairs, median of {self.repeats} in turns, "
            f"each in a process of its own; {conditions()}",
        ]
        title = "Training: ours beside SentenceTransformerTrainer"
        return Figures(title, rows, notes, self._measured(config))

    def _measured(self, config: DictConfig) -> dict[str, Any]:
        """Name what a dry run of tables needs to know before it reckons with these speeds."""
        return {
            "model": DEMO_MODEL if config.profile.name == "demo" else self.model,
            "batch_size": self.batch_size,
            "hardware": hardware(),
            "threads": torch.get_num_threads(),
        }

    def _pairs(self, config: DictConfig) -> Split:
        limit = self.steps * self.batch_size
        partial_data = bool(config.data.allow_partial) or config.profile.name != "paper"
        return read(
            dataset("nli"),
            Path(config.paths.data),
            "train",
            limit=limit,
            allow_partial=partial_data,
        )

    def _model(self, config: DictConfig, pairs: Split, place: Path) -> tuple[Path, list[str]]:
        """Copy the model to where its dropout is BERT's: a random stand-in has none."""
        models, notes = Path(config.paths.models), sentences(pairs.facts)
        if config.profile.name == "demo":
            found = models / DEMO_MODEL
            notes.append("random 2-layer BERT of the demo in the place of the model")
        else:
            texts = [text for column in pairs.texts.values() for text in column]
            cache = Path(config.paths.cache)
            found, said = timed_model(self.model, models, cache, texts, download=False)
            notes += said
        shutil.copytree(weights_folder(found), place)
        file = place / "config.json"
        described = json.loads(file.read_text(encoding="utf-8"))
        described |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
        file.write_text(json.dumps(described), encoding="utf-8")
        return place, notes

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
            "trainer.progress=false",
            "wandb.mode=disabled",
            "seed=0",
        ]

    def _trained(
        self, config: DictConfig, folder: Path, pairs: Split
    ) -> dict[tuple[str, str], list[Ran]]:
        assert pairs.target is not None, "NLI has labels"
        columns, labels = [list(c) for c in pairs.texts.values()], pairs.target.tolist()
        ran: dict[tuple[str, str], list[Ran]] = {}
        for _ in range(self.repeats):
            for precision in ("fp32", "bf16"):
                theirs = {"steps": self.steps, "batch_size": self.batch_size}
                found = _alone(
                    one_training.peers, str(folder), columns, labels, precision=precision, **theirs
                )
                ran.setdefault(("sentence-transformers", precision), []).append(found)
                found = _alone(one_training.ours, self._options(config, folder, precision))
                ran.setdefault(("ours", precision), []).append(found)
        return dict(sorted(ran.items(), reverse=True))

    def _floor(self, folder: Path, pairs: Split, precision: str) -> float:
        """Give the seconds of all steps if they were products alone."""
        texts = [text for column in pairs.texts.values() for text in column]
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
        mine, base = seconds[who, precision], seconds["sentence-transformers", "fp32"]
        rate = self.steps * self.batch_size / mine
        return {
            "training": who,
            "precision": precision,
            "pairs/s": rate,
            "s a step": mine / self.steps,
            "× the trainer in fp32": base / mine,
            "× at equal precision": seconds["sentence-transformers", precision] / mine,
            "peak GB": statistics.median(one.gigabytes for one in ran[who, precision]),
            "of the ceiling": floors[precision] / mine,
            "min an epoch": _EPOCH / rate / 60,
            "goal": _goal(base / mine, rate) if (who, precision) == ("ours", "bf16") else "—",
        }


def _goal(ratio: float, rate: float) -> str:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    least = _GOALS[device]
    said = f"≥ {least:g}× {'met' if ratio >= least else 'not met'}"
    if device == "cpu":
        return said
    minutes = _EPOCH / rate / 60
    return f"{said}; ≤ {_EPOCH_MINUTES:g} min {'met' if minutes <= _EPOCH_MINUTES else 'not met'}"


def _alone(work: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Call something in a fresh process."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as process:
        return process.submit(work, *given, **named).result()
