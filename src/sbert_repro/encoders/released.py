"""A model that others released in sentence-transformers' layout, used as its folder says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from sbert_repro.backbone.find_model import find_model
from sbert_repro.encoders.folder import Described, describe
from sbert_repro.encoders.transformer import TransformerEncoder
from sbert_repro.errors import UserError


def released(
    path: str,
    pooling: nn.Module | None = None,
    *,
    label: str | None = None,
    revision: str | None = None,
    max_length: int | None = None,
    models_root: str | Path | None = None,
    precision: str = "fp32",
    engine: str = "auto",
    progress: bool = False,
) -> TransformerEncoder:
    """Load a released model; pooling, layer and length are those that its folder names.

    Args:
        path: A folder or a Hub id; see `find_model`.
        pooling: Refused, the folder has the only word on it.
        label: ``None``: the last part of ``path``.
        revision: On the Hub.
        max_length: Word pieces of a sentence, [CLS] and [SEP] not counted; ``None``: the folder's.
        models_root: Folder of models.
        precision: ``fp32`` or ``bf16``.
        engine: ``packed``, ``reference`` or ``auto``.
        progress: Show a bar when the work is long.

    Returns:
        TransformerEncoder: Equal to what sentence-transformers makes of the folder.

    Raises:
        UserError: If the folder does not say its pooling, or has parts that are not known here.
    """
    folder = find_model(path, None if models_root is None else Path(models_root), revision)
    layer = _described(folder, path, pooling).layer or "last"
    options: dict[str, Any] = {"precision": precision, "engine": engine, "progress": progress}
    name = label or Path(path).name
    return TransformerEncoder(
        str(folder), label=name, layer=layer, max_length=max_length, **options
    )


def _described(folder: Path, path: str, pooling: nn.Module | None) -> Described:
    """Read what a folder says about itself, which has to be all that is known of its pooling."""
    said = describe(folder)
    advice = f"use encoder=transformer encoder.path={path} pooling=mean, max or cls"
    if pooling is not None:
        raise UserError(
            f"pooling={getattr(pooling, 'name', pooling)}: encoder=released takes the pooling that "
            f"{folder} names; leave it out, or {advice}"
        )
    if said.pooling is None:
        known = (folder / "modules.json").is_file()
        lacks = "names no Pooling module" if known else "has no modules.json"
        raise UserError(f"{folder} {lacks}, so nothing says how it pools: {advice}")
    return said
