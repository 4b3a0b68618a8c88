"""A finished run as a folder that `SentenceTransformer(DIR)` loads, with a model card."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sbert_repro.aliases import name_of
from sbert_repro.backbone.bilstm import is_bilstm
from sbert_repro.backbone.find_model import model_sha256
from sbert_repro.data.schema import dataset
from sbert_repro.encoders.base import reads_pairs, trained_with
from sbert_repro.encoders.run import finished
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences
from sbert_repro.ledger import Ledger
from sbert_repro.redaction import masked
from sbert_repro.storage import filling

Record = dict[str, Any]
_OTHER_WEIGHTS = ("dev_best", "dev_last")
"""Scores of the best and of the last weights, whichever of them were kept."""
_HEAD = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
license: other
tags: [sentence-transformers, feature-extraction, sentence-similarity]
---

# {label}, fine-tuned: run {key}

A sentence encoder in the manner of Sentence-BERT (Reimers and Gurevych, 2019), made by
`sbert_repro`. Base model: `{path}`{revision}.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("DIR")  # this folder
vectors = model.encode(["A man plays the guitar.", "Somebody makes music."])
print(model.similarity(vectors, vectors))
```
"""


def export(key: str, output: Path, runs: Path) -> None:
    """Copy a run's model and write its card; the folder appears when it is complete.

    Args:
        key: The run's key.
        output: The folder to make; it must not exist, or be empty.
        runs: The folder of all runs.

    Raises:
        UserError: If there is no such run, sentence-transformers cannot give its vectors, or
            ``output`` holds something or cannot be written.
    """
    record, model = finished(key, str(runs))
    _check(key, record, model)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(
            "there is something already", where=f"output={output}", mend="choose another folder"
        )
    ledger = Ledger(runs)
    text = card(record, _stages(record, ledger), _scores_of(model, ledger), runs)
    with filling(output) as folder:
        shutil.copytree(model, folder, dirs_exist_ok=True)
        (folder / "README.md").write_text(masked(text), encoding="utf-8")
        # Whoever is told that it loads has to be able to rely on it.
        TransformerEncoder(str(folder), engine="reference").encode(["a", "b c"])


def _check(key: str, record: Record, model: Path) -> None:
    """Refuse what sentence-transformers would compute other vectors of, or any at all."""
    layer = record["settings"]["encoder"]["layer"]
    if layer != "last":
        raise UserError(
            f"pools layer={layer}; sentence-transformers pools the last layer, so the exported "
            "model would give other vectors",
            where=f"run {key}",
        )
    if is_bilstm(model):
        raise UserError(
            "is a BiLSTM over word vectors; sentence-transformers splits texts into words in "
            "another way, so the exported model would give other vectors",
            where=f"run {key}",
            mend=f"use encoder=run encoder.key={key}",
        )
    if reads_pairs(trained_with(model)):
        raise UserError(
            "is a cross-encoder, which has no sentence vectors",
            where=f"run {key}",
            mend=f"score pairs with encoder=cross_encoder encoder.path={model}",
        )


def _stages(record: Record, ledger: Ledger) -> list[Record]:
    """Return the record and those of the runs it started from, the first one first."""
    stages = [record]
    while (parent := _parent_key(stages[0])) and (found := ledger.get(parent)):
        stages.insert(0, found)
    return stages


def _parent_key(record: Record) -> str | None:
    """Return the key under which a run's first stage lies, which may be one of an earlier version.

    Records of earlier versions name it in their settings alone.
    """
    key: str | None = record.get("parent") or record["settings"].get("parent")
    return key


def _scores_of(model: Path, ledger: Ledger) -> list[Record]:
    """Return every evaluation of this very model that the ledger holds."""
    sha256 = model_sha256(model)
    records = (ledger.get(key) for key in ledger.keys())
    return [
        record
        for record in records
        if record
        and record["kind"] == "evaluate"
        and record["settings"].get("encoder", {}).get("model") == sha256
    ]


# The model card


def card(record: Record, stages: Sequence[Record], scores: Sequence[Record], runs: Path) -> str:
    """Write the card of a run: the README.md beside its weights.

    Args:
        record: The run's record.
        stages: The records of all its training stages, the first one first, itself included.
        scores: Records of evaluations of its model.
        runs: The folder of all runs, whose ``config.yaml`` names the base model.

    Returns:
        str: Markdown.
    """
    base = _base(runs / stages[0]["key"])
    revision = f", revision `{base['revision']}`" if base.get("revision") else ""
    limits = sentences(record["facts"])
    sections = {
        "Limits": [f"- {line}" for line in limits],
        "Scores": _scores(record, scores),
        "Training": [line for stage in stages for line in _stage(stage)],
        "Licence": _licence(str(base["path"]), stages),
    }
    head = _HEAD.format(
        label=base.get("label") or base["path"],
        key=record["key"],
        path=base["path"],
        revision=revision,
    )
    parts = ["\n".join((f"## {title}\n", *lines)) for title, lines in sections.items() if lines]
    return "\n\n".join((head.rstrip(), *(part.rstrip() for part in parts))) + "\n"


def _base(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        base = dict(config["encoder"])
    except Exception as problem:  # a missing file, broken YAML or another file altogether
        raise UserError(
            f"does not hold the options of a run ({type(problem).__name__})",
            where=path,
            mend="train it again",
        ) from problem
    # Of a folder its name alone: where it lies on this machine is nobody else's business.
    parts = Path(base["path"]).parts
    return base | ({"path": parts[-1]} if len(parts) > len(("owner", "name")) else {})


def _scores(record: Record, scores: Sequence[Record]) -> list[str]:
    """List test scores, then dev scores of the training; none without its name."""
    rows = ["| task | score × 100 | 95 % interval | pairs |", "|---|---|---|---|"]
    for found in sorted(scores, key=lambda r: str(r["settings"]["task"])):
        got = found["scores"]
        name = "all" if "all" in got else "spearman"
        interval = f"{_number(got.get('ci_low'))} to {_number(got.get('ci_high'))}"
        task = f"{found['settings']['task']}, {name}"
        rows.append(f"| {task} | {_number(got.get(name))} | {interval} | {got.get('n', '')} |")
    for name, value in record["scores"].items():
        if name.startswith("dev_") and name not in _OTHER_WEIGHTS:
            dev, split, limit, _ = record["settings"]["data"]["dev"]
            part = "" if limit is None else f", first {limit:,} rows"
            rows.append(f"| {dev} {split}{part}: {name}, seen in training | {_number(value)} | | |")
    return rows


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.2f}"


def _stage(stage: Record) -> list[str]:
    settings = stage["settings"]
    data = settings["data"]
    options = {
        "data": f"{dataset(data['name']).title} ({data['split']})",
        "objective": _component(settings["loss"]),
        "pooling": name_of(settings["pooling"]),
        "max_length": data["max_length"],
        "optimizer": _component(settings["optimizer"]),
        **settings["trainer"],
        "checkpoint": settings["checkpoint"],
        "seed": stage["seed"],
        "steps": stage.get("steps"),
        "commit": stage.get("git", {}).get("commit"),
    }
    rows = [f"| {option} | {value} |" for option, value in options.items() if value is not None]
    return [f"Run `{stage['key']}`:\n", "| option | value |", "|---|---|", *rows, ""]


def _component(node: dict[str, Any]) -> str:
    said = (f"{k}={v}" for k, v in node.items() if k not in ("_target_", "name", "version"))
    return ", ".join((name_of(node), *said))


def _licence(base: str, stages: Sequence[Record]) -> list[str]:
    names = dict.fromkeys(stage["settings"]["data"]["name"] for stage in stages)
    return [
        f"The weights come from `{base}` and from the data below; their terms hold for this model. "
        "The program that made it is under Apache-2.0.\n",
        *(f"- {dataset(name).title}: {dataset(name).licence}." for name in names),
    ]
