"""A finished run as a folder that `SentenceTransformer(DIR)` loads, with a model card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from sbert_repro.aliases import name_of
from sbert_repro.backbone.bilstm_folder import is_bilstm
from sbert_repro.backbone.find_model import model_sha256
from sbert_repro.backbone.transformer import load_config, without_pooler
from sbert_repro.config import plain
from sbert_repro.data.schema import dataset, names
from sbert_repro.encoders.base import reads_pairs, trained_with
from sbert_repro.encoders.run import finished
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences
from sbert_repro.ledger import Ledger
from sbert_repro.redaction import masked
from sbert_repro.storage import filling
from sbert_repro.training import tracking
from sbert_repro.training.run import shown, words_of

Record = dict[str, Any]
_OTHER_WEIGHTS = ("dev_best", "dev_last")
"""Scores of the best and of the last weights, whichever of them were kept."""
_METRICS = {"all": "spearman_cosine", "spearman": "spearman_cosine", "accuracy": "accuracy"}
"""A task's score, the first of these that it has → its name in the Hub's metadata."""
_SYNTHETIC = (
    "**The sentences are synthetic.** The program made them up, to replace those of every data set "
    "named on this page. No number here says anything about the model on real text."
)
_HEAD = """---
{metadata}---

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
        _leave_out_pooler(folder)
        # Whoever is told that it loads has to be able to rely on it.
        TransformerEncoder(str(folder), engine="reference").encode(["a", "b c"])


def send(key: str, folder: Path, config: DictConfig) -> None:
    """Send an exported folder to W&B, as an artifact of the run that trained it.

    Args:
        key: The run's key.
        folder: What `export` made.
        config: Options with ``wandb`` and ``paths.results``.
    """
    record, model = finished(key, str(Path(config.paths.results) / "runs"))
    trained = OmegaConf.create(_options(model.parent))
    trained.paths = config.paths
    # Its group and name are those of the training, unless others are typed.
    typed = {name: value for name, value in plain(config.wandb).items() if value is not None}
    trained.wandb = {**(trained.get("wandb") or {"group": None, "name": None}), **typed}
    words = words_of(trained, record["settings"])
    track = tracking.start(trained, key, tracking.TRAIN, shown(record["settings"]), words)
    track.log_model(folder, key)
    track.finish()


def _leave_out_pooler(folder: Path) -> None:
    """Tell sentence-transformers of the one layer that is not in the file, and that nothing uses.

    It would otherwise draw the layer at random and report that it is missing.
    """
    if options := without_pooler(load_config(folder)):
        path = folder / "sentence_bert_config.json"
        content = json.loads(path.read_text(encoding="utf-8")) | {"model_args": options}
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


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
    options = [_options(runs / stage["key"]) for stage in stages]
    base = _base(options[0]["encoder"])
    synthetic = any(map(_is_synthetic, options))
    revision = f", revision `{base['revision']}`" if base.get("revision") else ""
    facts = record["facts"]
    if synthetic:
        facts = [
            fact | ({"title": _made_up(fact["title"])} if fact["code"] == "rows" else {})
            for fact in facts
        ]
    sections = {
        "Limits": [
            *([f"- {_SYNTHETIC}"] if synthetic else []),
            *(f"- {line}" for line in sentences(facts)),
        ],
        "Scores": _scores(record, scores),
        "Training": [line for stage in stages for line in _stage(stage, synthetic)],
        "Licence": _licence(str(base["path"]), stages, synthetic),
    }
    head = _HEAD.format(
        metadata=_metadata(record["key"], base, stages, scores, synthetic),
        label=base.get("label") or base["path"],
        key=record["key"],
        path=base["path"],
        revision=revision,
    )
    parts = ["\n".join((f"## {title}\n", *lines)) for title, lines in sections.items() if lines]
    return "\n\n".join((head.rstrip(), *(part.rstrip() for part in parts))) + "\n"


def _options(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        return dict(config) | {"encoder": dict(config["encoder"])}
    except Exception as problem:  # a missing file, broken YAML or another file altogether
        raise UserError(
            f"does not hold the options of a run ({type(problem).__name__})",
            where=path,
            mend="train it again",
        ) from problem


def _base(encoder: dict[str, Any]) -> dict[str, Any]:
    # Of a folder its name alone: where it lies on this machine is nobody else's business.
    parts = Path(encoder["path"]).parts
    return encoder | ({"path": parts[-1]} if len(parts) > len(("owner", "name")) else {})


def _is_synthetic(options: dict[str, Any]) -> bool:
    """Tell whether a stage was trained on a demo's sentences; earlier runs have the name alone."""
    profile = options.get("profile", {})
    return bool(profile.get("synthetic", profile.get("name") == "demo"))


def _made_up(title: str) -> str:
    return f"synthetic sentences instead of {title}"


def _metadata(
    key: str,
    base: dict[str, Any],
    stages: Sequence[Record],
    scores: Sequence[Record],
    synthetic: bool,
) -> str:
    """Return what the Hub reads: base model and data by their ids there, and the test scores.

    A base model or data set that is not on the Hub has no id, and is in the text alone.
    """
    ids = [place for stage in stages for place in _places(stage["settings"]["data"])]
    content = {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "license": "other",
        "tags": ["sentence-transformers", "feature-extraction", "sentence-similarity"],
        # What has a revision is the Hub's; anything else may be a folder's name.
        **({"base_model": base["path"]} if base.get("revision") else {}),
        **({"datasets": list(dict.fromkeys(ids))} if ids and not synthetic else {}),
    }
    measured = [_result(record, synthetic) for record in _by_task(scores)]
    if found := [result for result in measured if result is not None]:
        content["model-index"] = [{"name": f"run {key}", "results": found}]
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _places(data: dict[str, Any]) -> list[str]:
    """Return the Hub's ids of the data sets that a stage was trained on."""
    record = dataset(data["name"])
    begins = tuple(word for corpus in data.get("sources") or () for word in record.corpora[corpus])
    return [
        source.place
        for source in record.sources
        if source.format == "hub_table"
        and source.split == data["split"]
        and (not begins or str(source.constants.get("source")).startswith(begins))
    ]


def _result(record: Record, synthetic: bool) -> dict[str, Any] | None:
    """Return an evaluation as an entry of the Hub's model index; None without a number."""
    task, got = str(record["settings"]["task"]), record["scores"]
    name = _metric(got)
    if got.get(name) is None:
        return None
    known = dataset(task) if task in names() else None
    title = known.title if known else task
    place = next((s.place for s in known.sources if s.format == "hub_table"), task) if known else ""
    kind = "semantic-similarity" if name != "accuracy" else "text-classification"
    return {
        "task": {"type": kind},
        "dataset": {
            "type": "synthetic" if synthetic else place or task,
            "name": _made_up(title) if synthetic else title,
            "split": ", ".join(record["settings"].get("splits", ["test"])),
        },
        "metrics": [{"type": _METRICS[name], "value": round(got[name] / 100, 4)}],
    }


def _metric(scores: dict[str, Any]) -> str:
    return next((name for name in _METRICS if name in scores), "spearman")


def _by_task(scores: Sequence[Record]) -> list[Record]:
    return sorted(scores, key=lambda record: str(record["settings"]["task"]))


def _scores(record: Record, scores: Sequence[Record]) -> list[str]:
    """List test scores, then dev scores of the training; none without its name."""
    rows = ["| task | score × 100 | 95 % interval | pairs |", "|---|---|---|---|"]
    for found in _by_task(scores):
        got = found["scores"]
        name = _metric(got)
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


def _stage(stage: Record, synthetic: bool) -> list[str]:
    settings = stage["settings"]
    data = settings["data"]
    title = dataset(data["name"]).title
    options = {
        "data": f"{_made_up(title) if synthetic else title} ({data['split']})",
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


def _licence(base: str, stages: Sequence[Record], synthetic: bool) -> list[str]:
    if synthetic:
        return [
            f"The weights come from `{base}`, whose terms hold for this model. The program, which "
            "made up the sentences, is under Apache-2.0."
        ]
    names = dict.fromkeys(stage["settings"]["data"]["name"] for stage in stages)
    return [
        f"The weights come from `{base}` and from the data below; their terms hold for this model. "
        "The program that made it is under Apache-2.0.\n",
        *(f"- {dataset(name).title}: {dataset(name).licence}." for name in names),
    ]
