"""What the demo trains on and from: embedded data and random models, written when missing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sbert_repro.backbone.random_bert import Size, write_random_bert, write_random_roberta
from sbert_repro.data.demo import write_demo
from sbert_repro.data.demo_language import vocabulary
from sbert_repro.storage import make_folder, sha256_of

VERSION = 1
"""Raised by hand when the same sizes would give other models."""
MODELS = {
    "demo-bert": Size(),
    "demo-bert-deep": Size(layers=3, heads=8),
    "demo-roberta": Size(),
    "demo-roberta-deep": Size(layers=3, heads=8),
}
"""Folder in the models root → size. A name with ``roberta`` makes a RoBERTa, any other a BERT."""


def prepare_demo(data_root: str, models_root: str) -> None:
    """Write the demo's data root and its models, where they are not there yet.

    The demo profile calls this before anything else runs; a second call costs milliseconds. Several
    processes may call it at the same time.

    Args:
        data_root: Folder for the data.
        models_root: Folder for the models.

    Raises:
        UserError: If one of them holds anything else, or cannot be written.
    """
    write_demo(Path(data_root))
    for name, size in MODELS.items():

        def fill(folder: Path, name: str = name, size: Size = size) -> list[dict[str, Any]]:
            if "roberta" in name:
                write_random_roberta(folder, _training_sentences(Path(data_root)), size)
            else:
                write_random_bert(folder, vocabulary(), size)
            return [{"file": p.name, "sha256": sha256_of(p)} for p in sorted(folder.iterdir())]

        made_of = {"version": VERSION, "model": name, "size": asdict(size)}
        stamp = {"generator": "sbert_repro.backbone.demo", **made_of}
        make_folder(Path(models_root) / name, stamp, fill)


def _training_sentences(data_root: Path) -> list[str]:
    """Return the sentences that byte pairs are learnt from."""
    pairs = pq.read_table(data_root / "nli" / "train.parquet", columns=["premise", "hypothesis"])
    return [text for column in pairs.columns for text in column.to_pylist()]
