"""What an exported model tells about itself: the README.md beside its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sbert_repro.data.schema import dataset
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences

Record = dict[str, Any]
_FRONT = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
license: other
tags: [sentence-transformers, feature-extraction, sentence-similarity]
---
"""
_OTHER_WEIGHTS = ("dev_best", "dev_last")
_USE = """
```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("DIR")  # this folder
vectors = model.encode(["A man plays the guitar.", "Somebody makes music."])
print(model.similarity(vectors, vectors))
```
"""


def card(record: Record, stages: Sequence[Record], scores: Sequence[Record], runs: Path) -> str:
    """Write the card of a run.

    Args:
        record: The run's record.
        stages: The records of all its training stages, the first one first, itself included.
        scores: Records of evaluations of its model.
        runs: The folder of all runs, whose ``config.yaml`` names the base model.

    Returns:
        str: Markdown.
    """
    base = _base(runs / stages[0]["key"])
    names = list(dict.fromkeys(stage["settings"]["data"]["name"] for stage in stages))
    parts = [
        f"{_FRONT}\n# {base.get('label') or base['path']}, fine-tuned: run {record['key']}\n",
        f"A sentence encoder in the manner of Sentence-BERT (Reimers and Gurevych, 2019), made by "
        f"`sbert_repro`. Base model: `{base['path']}`"
        + (f", revision `{base['revision']}`.\n" if base.get("revision") else ".\n"),
        _USE,
        *(
            _section("Limits", _bullets(sentences(record["facts"])))
            if sentences(record["facts"])
            else ()
        ),
        *_section("Scores", _scores(record, scores)),
        *_section("Training", [line for stage in stages for line in _stage(stage)]),
        *_section("Licence", _licence(str(base["path"]), names)),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _base(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        return dict(config["encoder"])
    except Exception as problem:  # a missing file, broken YAML or another file altogether
        raise UserError(
            f"{path}: not the options of a run ({type(problem).__name__}); train it again"
        ) from problem


def _section(title: str, lines: Sequence[str]) -> tuple[str, ...]:
    return (f"## {title}\n", *lines, "")


def _bullets(lines: Sequence[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def _scores(record: Record, scores: Sequence[Record]) -> list[str]:
    """Test scores, then what was watched in training; never one without its name."""
    rows = ["| task | score × 100 | 95 % interval | pairs |", "|---|---|---|---|"]
    for found in sorted(scores, key=lambda r: str(r["settings"]["task"])):
        got = found["scores"]
        name = "all" if "all" in got else "spearman"
        interval = f"{_number(got.get('ci_low'))} to {_number(got.get('ci_high'))}"
        task = f"{found['settings']['task']}, {name}"
        rows.append(f"| {task} | {_number(got.get(name))} | {interval} | {got.get('n', '')} |")
    # "dev_best" and "dev_last" are the same measure of other weights than those exported.
    own = [n for n in record["scores"] if n.startswith("dev_") and n not in _OTHER_WEIGHTS]
    for name in own:
        watched, split, limit, _ = record["settings"]["data"]["dev"]
        rows_of = "" if limit is None else f", first {limit:,} rows"
        value = _number(record["scores"][name])
        rows.append(f"| {watched} {split}{rows_of}: {name}, seen in training | {value} | | |")
    return rows


def _number(value: Any) -> str:
    return "—" if value is None else f"{value:.2f}"


def _stage(stage: Record) -> list[str]:
    settings = stage["settings"]
    loss, data = dict(settings["loss"]), settings["data"]
    name = str(loss.pop("name"))
    options = {
        "data": f"{dataset(data['name']).title} ({data['split']})",
        "objective": f"{name} {_words(loss)}".strip(),
        "pooling": settings["pooling"]["name"],
        "max_length": data["max_length"],
        "optimizer": _words(settings["optimizer"]),
        **settings["trainer"],
        "checkpoint": settings["checkpoint"],
        "seed": stage["seed"],
        "steps": stage.get("steps"),
        "commit": stage.get("git", {}).get("commit"),
    }
    rows = [f"| {option} | {value} |" for option, value in options.items() if value is not None]
    return [f"Run `{stage['key']}`:\n", "| option | value |", "|---|---|", *rows, ""]


def _words(options: dict[str, Any]) -> str:
    shown = {key: value for key, value in options.items() if key not in ("name", "version")}
    kind = str(options.get("name", ""))
    return ", ".join([*([kind] if kind else []), *(f"{k}={v}" for k, v in shown.items())])


def _licence(base: str, names: Sequence[str]) -> list[str]:
    terms = [f"{dataset(name).title}: {dataset(name).licence}." for name in names]
    return [
        f"The weights come from `{base}` and from the data below; their terms hold for this model. "
        "The program that made it is under Apache-2.0.\n",
        *_bullets(terms),
    ]
