"""A finished run as a folder that `SentenceTransformer(DIR)` loads, with a model card."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from sbert_repro.backbone.bilstm import is_bilstm
from sbert_repro.backbone.find_model import model_sha256
from sbert_repro.config import PathsConfig
from sbert_repro.encoders.base import reads_pairs, trained_with
from sbert_repro.encoders.run import finished
from sbert_repro.errors import UserError
from sbert_repro.ledger import Ledger
from sbert_repro.model_card import card
from sbert_repro.storage import unwritable


@dataclass
class ExportConfig:
    """Root of ``python scripts/export.py``."""

    run: str = MISSING
    output: str = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    prepare: list[Any] = field(default_factory=list)


ConfigStore.instance().store(name="export_schema", node=ExportConfig)


def export(key: str, output: Path, runs: Path) -> None:
    """Copy a run's model and write its card; the folder is there when it is complete.

    Args:
        key: The run's key.
        output: Where to; it must not be there, or be empty.
        runs: The folder of all runs.

    Raises:
        UserError: If there is no such run, its model cannot be given by sentence-transformers, or
            ``output`` holds something or cannot be written.
    """
    record, model = finished(key, str(runs))
    _check(key, record, model)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"output={output}: there is something already; choose another folder")
    ledger = Ledger(runs)
    text = card(record, _stages(record, ledger), _scores(model, ledger), runs)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export.", dir=output.parent) as beside:
            whole = Path(beside) / "model"
            shutil.copytree(model, whole)
            (whole / "README.md").write_text(text, encoding="utf-8")
            for path in whole.rglob("*"):
                # Weights are saved for their owner's eyes only; what is given away is for all.
                path.chmod(0o755 if path.is_dir() else 0o644)
            whole.rename(output)
    except OSError as problem:
        raise unwritable(output, problem) from problem


def _check(key: str, record: dict[str, Any], model: Path) -> None:
    """Refuse what sentence-transformers would make other vectors of, or any at all."""
    layer = record["settings"]["encoder"]["layer"]
    if layer != "last":
        raise UserError(
            f"run {key} pools layer={layer}; sentence-transformers pools the last layer, so the "
            "exported model would give other vectors"
        )
    if is_bilstm(model):
        raise UserError(
            f"run {key} is a BiLSTM over word vectors; sentence-transformers splits texts into "
            "words in another way, so the exported model would give other vectors; use "
            f"encoder=run encoder.key={key}"
        )
    if reads_pairs(trained_with(model)):
        raise UserError(
            f"run {key} is a cross-encoder, which gives no sentence vectors; score pairs with "
            f"encoder=cross_encoder encoder.path={model}"
        )


def _stages(record: dict[str, Any], ledger: Ledger) -> list[dict[str, Any]]:
    """The record and those of the runs it started from, the first one first."""
    stages = [record]
    while (parent := stages[0]["settings"].get("parent")) and (found := ledger.get(parent)):
        stages.insert(0, found)
    return stages


def _scores(model: Path, ledger: Ledger) -> list[dict[str, Any]]:
    """Every evaluation of this very model that the ledger holds."""
    sha256 = model_sha256(model)
    records = (ledger.get(key) for key in ledger.keys())
    return [
        r for r in records
        if r and r["kind"] == "evaluate" and r["settings"]["encoder"].get("model") == sha256
    ]  # fmt: skip
