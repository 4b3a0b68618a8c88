"""The encoder that a finished training run left behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbert_repro.backbone.bilstm_folder import is_bilstm
from sbert_repro.encoders.base import reads_pairs, trained_with
from sbert_repro.encoders.cross_encoder import CrossEncoder
from sbert_repro.encoders.infersent import TrainedBiLstmEncoder
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError
from sbert_repro.ledger import Ledger
from sbert_repro.training.run import whole_model

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    from torch import nn

Trained = TransformerEncoder | CrossEncoder | TrainedBiLstmEncoder


def from_run(
    key: str,
    runs: str,
    *,
    label: str | None = None,
    max_length: int | None = None,
    pooling: nn.Module | str | None = None,
    precision: str = "fp32",
    engine: str = "auto",
    progress: bool = False,
    data_root: str | None = None,
    cache: str = ".cache",
) -> Trained:
    """Load the model of a run, with the layer that it was trained with.

    Args:
        key: The run's key.
        runs: The folder of all runs.
        label: ``None``: "run KEY".
        max_length: Word pieces of a sentence; ``None``: as in training.
        pooling: ``None``: as in training; a cross-encoder takes no other.
        precision: ``fp32``, ``bf16`` or ``int8``.
        engine: See `Engine`.
        progress: Show a bar when the work is long.
        data_root: Where the word vectors of a BiLSTM lie.
        cache: Folder of all caches.

    Returns:
        Trained: The encoder, with the facts of the run, such as partial training data.

    Raises:
        UserError: If there is no such run, or a cross-encoder is to pool in another way.
    """
    record, folder = finished(key, runs)
    options: dict[str, Any] = {
        "label": label or f"run {key}",
        "max_length": max_length,
        "precision": precision,
        "progress": progress,
    }
    encoder: Trained
    if is_bilstm(folder):
        encoder = TrainedBiLstmEncoder(folder, pooling, data_root=data_root, cache=cache, **options)
    elif reads_pairs(trained_with(folder)):
        if pooling is not None:
            raise UserError(
                f"run {key} is a cross-encoder, which pools as it was trained, so this would "
                "change nothing",
                where=f"pooling={getattr(pooling, 'name', pooling)}",
                mend="leave it out",
            )
        encoder = CrossEncoder(str(folder), engine=engine, **options)
    else:
        layer = record["settings"]["encoder"]["layer"]
        encoder = TransformerEncoder(str(folder), pooling, layer=layer, engine=engine, **options)
    encoder.facts = list(record["facts"])
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
    record = ledger.get(key)
    if record is None or record["kind"] != "train":
        what = "no finished run" if record is None else f"a record of kind {record['kind']}"
        raise UserError(f"run {key}: {what}", where=runs, mend="train.py prints the key of its run")
    if not isinstance(record["settings"].get("encoder", {}).get("layer"), str):
        found = "does not say which layer it was trained with"
        raise UserError(f"run {key}: {found}", where=runs, mend="train it again")
    return record, whole_model(record, ledger)
