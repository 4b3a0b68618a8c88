"""What a row really is, in words made from its options and its records, never from its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sbert_repro.data.schema import dataset
from sbert_repro.redaction import masked

Record = dict[str, Any]


def encoder_of(config: DictConfig) -> str:
    """Name of the model that a run starts from.

    Args:
        config: Composed options with `encoder`.

    Returns:
        Its label, or the last part of its path.
    """
    encoder = config.encoder
    return masked(str(encoder.get("label") or Path(str(encoder.get("path", "model"))).name))


def title_of(name: str) -> str:
    """Title of a data set.

    Args:
        name: Its name, which is also that of its task.

    Returns:
        As the paper writes it.
    """
    return dataset(name).title


def option_of(node: DictConfig | None) -> str:
    """Word that chooses a component on the command line, which is its file's name.

    Args:
        node: A node with `_target_`, or None.

    Returns:
        "mean" for `sbert_repro.pooling.mean.MeanPooling`; "" for None.
    """
    return "" if node is None else str(node["_target_"]).split(".")[-2]


def pooling_of(config: DictConfig) -> str:
    """Pooling, and the layer when it is not the last one, as in "mean of layer first_last"."""
    name = option_of(config.get("pooling"))
    layer = str(config.encoder.get("layer", "last"))
    return name if layer == "last" else f"{name} of layer {layer}"


def training_of(config: DictConfig, record: Record | None) -> str:
    """What one stage trained on and how, as in "20,000 NLI pairs, classification (u, v, |u-v|)".

    Args:
        config: The stage's options.
        record: Its record; without one the number of pairs is not claimed.

    Returns:
        The words.
    """
    data = dataset(str(config.data.name))
    if part := data.part(str(config.data.split)):
        whole = "nine folds of ten of" if part.fold is not None else "all topics but one of"
        rows, unit = f"{whole} ", ""
    else:
        rows = "" if record is None else f"{_rows(record, config):,} "
        unit = data.unit if rows else ""
    steps = f" for {config.trainer.max_steps:,} steps" if config.trainer.max_steps else ""
    loss = option_of(config.loss)
    if "concatenation" in config.loss:
        loss += f" ({', '.join(config.loss.concatenation)})"
    return f"{rows}{data.title} {unit}".rstrip() + f"{steps}, {loss}"


def fine_tuning(stages: Sequence[tuple[DictConfig, Record | None]]) -> str:
    """All stages of a run in words, "" for an encoder that is used as it is.

    Args:
        stages: Options and record of each stage, the first one first.

    Returns:
        "fine-tuned on …, then on …", or "trained on …" where the first stage starts from nothing.
    """
    parts = [training_of(config, record) for config, record in stages]
    return f"{_verb(stages[0][0])} on {', then on '.join(parts)}" if parts else ""


def _verb(config: DictConfig) -> str:
    """A network that starts from random weights is trained, one that was trained is fine-tuned."""
    return "trained" if "hidden" in config.encoder else "fine-tuned"


def whole(config: DictConfig, training: str) -> str:
    """Encoder, training and pooling: "all-MiniLM-L6-v2 fine-tuned on …, mean".

    Args:
        config: Options of the last stage, or of the encoder.
        training: From `fine_tuning`.

    Returns:
        The label.
    """
    start = f"{encoder_of(config)} {training}".strip()
    return ", ".join(part for part in (start, pooling_of(config)) if part)


def is_partial(record: Record) -> bool:
    """Whether a record's notes say that it rests on part of a data set ("20,000 of 942,069")."""
    part = r"\d of [\d,]+ \w|of the complete set's [\d,]+"
    return any(re.search(part, note) for note in record.get("notes", []))


def _rows(record: Record, config: DictConfig) -> int:
    """Rows trained on: what the record's notes say, or all that the data set has."""
    data = dataset(str(config.data.name))
    whole = data.splits[str(config.data.split)]
    # The total tells the training rows from dev rows of the same data set.
    said = re.compile(rf"{re.escape(data.title)}: ([\d,]+) (?:of|.* set's) {whole:,}\b")
    found = next((m for m in map(said.match, record.get("notes", [])) if m), None)
    return int(found.group(1).replace(",", "")) if found else whole
