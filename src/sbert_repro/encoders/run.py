"""The encoder that a finished training run left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from sbert_repro.encoders.cross_encoder import CrossEncoder
from sbert_repro.encoders.folder import reads_pairs, trained_with
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.ledger import Ledger


def from_run(  # noqa: PLR0913 - one argument a key of configs/encoder/run.yaml
    key: str,
    runs: str,
    *,
    label: str | None = None,
    max_length: int | None = None,
    pooling: nn.Module | None = None,
    precision: str = "fp32",
    progress: bool = False,
) -> TransformerEncoder | CrossEncoder:
    """Load the model of a run; layer and pooling are those it was trained with.

    Args:
        key: The run's key.
        runs: The folder of all runs, ``results/runs``.
        label: ``None``: "run KEY".
        max_length: Word pieces of a sentence; ``None``: as in training.
        pooling: ``None``: as in training, which a cross-encoder always has.
        precision: ``fp32`` or ``bf16``.
        progress: Show a bar when the work is long.

    Returns:
        TransformerEncoder | CrossEncoder: What the run trained; it carries the run's notes, such as
            partial training data.

    Raises:
        UserError: If there is no finished training run of this key.
    """
    record, folder = finished(key, runs)
    encoder: TransformerEncoder | CrossEncoder
    options: dict[str, Any] = {"max_length": max_length, "precision": precision}
    options |= {"label": label or f"run {key}", "progress": progress}
    if reads_pairs(trained_with(folder)):
        encoder = CrossEncoder(str(folder), **options)
    else:
        layer = record["settings"]["encoder"]["layer"]
        encoder = TransformerEncoder(str(folder), pooling, layer=layer, **options)
    encoder.notes = list(record.get("notes", []))
    return encoder


def finished(key: str, runs: str) -> tuple[dict[str, Any], Path]:
    """Find a finished training run.

    Args:
        key: The run's key.
        runs: The folder of all runs.

    Returns:
        tuple[dict[str, Any], Path]: Its record and the folder of its model.

    Raises:
        UserError: If there is none of this key, it is no training run, or its model is gone.
    """
    ledger = Ledger(Path(runs))
    record, folder = ledger.get(key), ledger.folder(key) / "model"
    if record is None or record["kind"] != "train":
        what = "no finished run" if record is None else f"a record of kind {record['kind']}"
        raise UserError(f"run {key}: {what} in {runs}; train.py prints the key of its run")
    if not folder.is_dir():
        raise UserError(
            f"{folder}: the run's model is gone; remove {folder.parent} and train again"
        )
    return record, folder
