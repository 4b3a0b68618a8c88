"""A small table, and a trainer and an evaluator that only pretend."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from sbert_repro.compose import compose, compose_table, stage_overrides
from sbert_repro.config import plain, run_key
from sbert_repro.data.schema import part_names
from sbert_repro.errors import UserError
from sbert_repro.facts import rows
from sbert_repro.tables import plan, spec

SMALL = {
    "number": 99,
    "title": "A small one",
    "caption": "Spearman × 100.",
    "tolerance": 1.0,
    "seeds": 3,
    "columns": [
        {"name": "A", "task": "stsb", "metric": "spearman"},
        {"name": "B", "task": "sts12", "metric": "all"},
        {"name": "Avg.", "mean_of": ["A", "B"]},
    ],
    "rows": [
        {
            "name": "mean BERT",
            "encoder": ["encoder=bert_base", "pooling=mean"],
            "paper": [50, 40, 45],
        },
        {
            "name": "NLI",
            "section": "Trained",
            "train": ["encoder=bert_base", "experiment=nli"],
            "paper": [77.03, 70, 73.5],
            "paper_sd": [0.5, None, None],
            "note": "Look | here.",
        },
        {
            "name": "NLI then STSb",
            "section": "Trained",
            "train": ["encoder=bert_base", "experiment=nli_then_stsb"],
            "paper": [85, 75, 80],
        },
        {
            "name": "large",
            "train": ["encoder=bert_large", "experiment=nli"],
            "paper": [79, 72, 75.5],
        },
        {"name": "InferSent", "encoder": ["encoder=nobody_built"], "paper": [68, 53, 60.5]},
    ],
}


FOLDED = {
    "number": 99,
    "title": "Arguments",
    "caption": "Spearman × 100.",
    "tolerance": 1.0,
    "seeds": 2,
    "columns": [{"name": "ρ", "task": "afs", "metric": "spearman"}],
    "rows": [
        {"name": "GloVe", "encoder": ["encoder=glove"], "paper": [34]},
        {"name": "SVR", "quoted": "Misra et al. (2016)", "paper": [63.33]},
        {
            "name": "topics",
            "train": ["encoder=bert_base", "experiment=afs"],
            "parts": "topics",
            "paper": [77],
        },
        {
            "name": "folds",
            "train": ["encoder=bert_base", "experiment=afs"],
            "parts": "folds",
            "paper": [74],
        },
    ],
}


COMPARED = {
    "title": "Recipes",
    "caption": "Spearman × 100.",
    "tolerance": 1.0,
    "seeds": 3,
    "compared": True,
    "columns": [
        {"name": "A", "task": "stsb", "metric": "spearman"},
        {"name": "B", "task": "sts12", "metric": "all", "shown": False},
        {"name": "Avg.", "mean_of": ["A", "B"]},
    ],
    "rows": [
        {
            "name": name,
            "section": section,
            "train": ["encoder=bert_base", "experiment=nli", *words],
            "paper": [77.03, None, None],
            **more,
        }
        for name, section, words, more in (
            ("first", "NLI", [], {}),
            ("second", "NLI", ["optimizer=adamw"], {}),
            ("alone", "other", ["pooling=max"], {"scored": ["A"]}),
        )
    ],
}


def of_rows(dataset, title, used, expected, split="train", own=None):
    """Return the fact that a number rests on so many rows."""
    return rows(dataset, split, title=title, unit="pairs", used=used, expected=expected, own=own)


def _no_model(config):
    path = config.encoder.get("path", "")
    return UserError(f"model {path} is not there", where="/m", mend="copy it", code="missing")


def _no_data(name):
    return UserError(f"there is no {name}", where="/d", mend="`make data`", code="missing")


class Pretended:
    """Work that keeps its records in memory and counts what it was asked to do.

    Attributes:
        trainings: Keys, in the order of training.
        scorings: (run or encoder, task), in the order of scoring.
        without: Paths of encoders that are not there.
        fault: Raised for those in place of a UserError.
        fails_at: Key → exception raised in place of training.
        diverged: Key → what is said of a run that diverged before.
        scores: (run or encoder, task) → score, where it matters.
    """

    def __init__(self) -> None:
        self.kept: dict[str, dict] = {}
        self.trainings: list[str] = []
        self.scorings: list[tuple[str, str]] = []
        self.without: set[str] = set()
        self.fails_at: dict[str, BaseException] = {}
        self.diverged: dict[str, Exception] = {}
        self.scores: dict[tuple[str, str], float | None] = {}
        self.fault: Exception | None = None
        self.facts = [of_rows("nli", "NLI", 20_000, 942_069)]

    def settings(self, config, overrides):
        if config.encoder.get("path", "") in self.without:
            raise self.fault or _no_model(config)
        parent = None
        if config.parent is not None:
            words = stage_overrides(list(overrides), list(config.parent))
            parent = run_key("train", self.settings(compose(words), words))
        parts = ("pooling", "loss", "data", "trainer", "seed")
        settings = {part: plain(config[part]) for part in parts}
        return {**settings, "encoder": {"path": config.encoder.get("path", "")}, "parent": parent}

    def parts(self, config, protocol):
        if config.data.name in self.without:
            raise _no_data(config.data.name)
        return part_names(["DP", "GC", "GM"])[protocol]

    def check(self, config):
        if config.data.name in self.without:
            raise _no_data(config.data.name)

    def check_tasks(self, config, tasks):
        for task in tasks:
            if task in self.without:
                raise _no_data(task)

    def trained(self, config, overrides, settings=None):
        key = run_key("train", self.settings(config, overrides))
        if key in self.diverged:
            raise self.diverged[key]
        return self.kept.get(key)

    def records(self):
        return list(self.kept.values())

    def train(self, config, overrides):
        settings = self.settings(config, overrides)
        key = run_key("train", settings)
        if key in self.kept:
            return self.kept[key]
        if key in self.fails_at:
            raise self.fails_at[key]
        self.trainings.append(key)
        # A record holds what is true of its own data only.
        facts = self.facts if config.data.name == "nli" else []
        self.kept[key] = self._record("train", key, settings, {"dev": 1.0}, facts, 120.0)
        return self.kept[key]

    def scored(self, config, run, tasks):
        self.check_tasks(config, tasks)
        if run is None and config.encoder.get("path", "") in self.without:
            raise _no_model(config)
        return {task: self.kept.get(self._key(config, run, task)) for task in tasks}

    def score(self, config, run, tasks):
        found = {}
        for task in tasks:
            key = self._key(config, run, task)
            if key not in self.kept:
                self.scorings.append((run or config.encoder.get("path", ""), task))
                self.kept[key] = self._scored(key, config, run, task)
            found[task] = self.kept[key]
        return found

    def _key(self, config, run, task):
        pooling = None if run else plain(config.pooling)
        return run_key(
            "evaluate", {"run": run or config.encoder.get("path", ""), "p": pooling, "task": task}
        )

    def _scored(self, key, config, run, task):
        seed = config.seed if run else 0
        usual = 76.0 + seed + (10.0 if task == "sts12" else 0.0)
        score = self.scores.get((run or config.encoder.get("path", ""), task), usual)
        metric = "all" if task == "sts12" else "spearman"
        ends = (None, None) if score is None else (score - 1, score + 1)
        scores = {metric: score, "n": 100, "ci_low": ends[0], "ci_high": ends[1]}
        return self._record("evaluate", key, {"task": task}, scores, [], 2.0)

    def _record(self, kind, key, settings, scores, facts, seconds):
        return {
            "schema": 2,
            "kind": kind,
            "key": key,
            "settings": settings,
            "scores": scores,
            "seed": settings.get("seed"),
            "facts": facts,
            "wall_seconds": seconds,
            "git": {"commit": "0123456789abcdef", "dirty": False},
            "hardware": {"cpu": "Some CPU", "cores": 2, "ram_gib": 4.0, "gpus": ["Some GPU"]},
        }


@pytest.fixture
def work():
    return Pretended()


@pytest.fixture
def table_of(tmp_path):
    """A function that makes a table of its content."""
    return lambda content: written(tmp_path, content)


@pytest.fixture
def small(tmp_path):
    """The small table, loaded from a file."""
    return written(tmp_path, SMALL)


def written(folder: Path, content: dict) -> spec.Table:
    """A table from its content, through a YAML file."""
    (folder / "table_99.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(content))))
    return spec.load("99", folder)


def named(plan, name):
    """Return the jobs of a row."""
    return [job for job in plan.jobs if job.row.name == name]


@pytest.fixture
def planned(small, work):
    """A function that plans the small table in a profile."""

    def make(profile="paper", changes=(), table=small):
        request = plan.Request(profile, tuple(changes))
        return plan.make(table, request, compose_table(request.profile, request.changes), work)

    return make
