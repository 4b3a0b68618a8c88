"""The encoder that a finished training run left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from sbert_repro.backbone.bilstm import is_bilstm
from sbert_repro.encoders.bilstm import TrainedBiLstmEncoder
from sbert_repro.encoders.cross_encoder import CrossEncoder
from sbert_repro.encoders.folder import reads_pairs, trained_with
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences
from sbert_repro.ledger import Ledger

Trained = TransformerEncoder | CrossEncoder | TrainedBiLstmEncoder


def from_run(
    key: str,
    runs: str,
    *,
    label: str | None = None,
    max_length: int | None = None,
    pooling: nn.Module | None = None,
    precision: str = "fp32",
    engine: str = "auto",
    progress: bool = False,
    data_root: str | None = None,
    cache: str = ".cache",
) -> Trained:
    """Load the model of a run; its layer is that it was trained with.

    Args:
        key: The run's key.
        runs: The folder of all runs.
        label: ``None``: "run KEY".
        max_length: Word pieces of a sentence; ``None``: as in training.
        pooling: ``None``: as in training; a cross-encoder takes no other.
        precision: ``fp32`` or ``bf16``.
        engine: See `Engine`.
        progress: Show a bar when the work is long.
        data_root: Where a BiLSTM's word vectors lie.
        cache: Folder of all caches.

    Returns:
        Trained: It carries the run's notes, such as partial training data.
    """
    record, folder = finished(key, runs)
    options: dict[str, Any] = {"max_length": max_length, "precision": precision}
    options |= {"label": label or f"run {key}", "progress": progress}
    if is_bilstm(folder):
        options |= {"data_root": data_root, "cache": cache}
    else:
        options |= {"engine": engine}
    encoder = _built(record, folder, pooling, options)
    encoder.notes = sentences(record["facts"])
    return encoder


def _built(
    record: dict[str, Any], folder: Path, pooling: nn.Module | None, options: dict[str, Any]
) -> Trained:
    if is_bilstm(folder):
        return TrainedBiLstmEncoder(folder, pooling, **options)
    if reads_pairs(trained_with(folder)):
        if pooling is not None:
            raise UserError(
                f"pooling={getattr(pooling, 'name', pooling)}: run {folder.parent.name} is a "
                "cross-encoder, which pools as it was trained, so it would change nothing; leave "
                "it out"
            )
        return CrossEncoder(str(folder), **options)
    layer = record["settings"]["encoder"]["layer"]
    return TransformerEncoder(str(folder), pooling, layer=layer, **options)


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
