"""A model released by others in sentence-transformers' layout, used exactly as its folder says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sbert_repro.backbone.find_model import find_model
from sbert_repro.encoders.transformer import TransformerEncoder, describe
from sbert_repro.errors import UserError

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    from torch import nn


def released(
    path: str,
    pooling: nn.Module | str | None = None,
    *,
    label: str | None = None,
    revision: str | None = None,
    max_length: int | None = None,
    models_root: str | Path | None = None,
    cache: str | Path = ".cache",
    precision: str = "fp32",
    engine: str = "auto",
    progress: bool = False,
) -> TransformerEncoder:
    """Load a released model with the pooling, layer and length that its folder names.

    Args:
        path: A folder or a Hub id; see `find_model`.
        pooling: Refused, because only the folder knows how its model was trained.
        label: ``None``: the model's name, by `model_name`.
        revision: On the Hub.
        max_length: Word pieces of a sentence, [CLS] and [SEP] not counted; ``None``: the folder's.
        models_root: Folder of models.
        cache: Folder of all caches; a model that a package holds is unpacked there.
        precision: ``fp32``, ``bf16`` or ``int8``; see `Engine`.
        engine: ``packed``, ``reference`` or ``auto``.
        progress: Show a bar when the work is long.

    Returns:
        TransformerEncoder: Its vectors are those of sentence-transformers.

    Raises:
        UserError: If the folder does not say its pooling, or has parts that are not known here.
    """
    root = None if models_root is None else Path(models_root)
    folder = find_model(path, root, revision, Path(cache))
    described = describe(folder)
    other = f"use encoder=transformer encoder.path={path} pooling=mean, max or cls"
    if pooling is not None:
        raise UserError(
            "encoder=released takes the pooling that the model's folder names",
            where=f"pooling={getattr(pooling, 'name', pooling)}",
            mend=f"leave it out, or {other}",
        )
    if described.pooling is None:
        known = (folder / "modules.json").is_file()
        lacks = "names no Pooling module" if known else "has no modules.json"
        raise UserError(f"{lacks}, so nothing says how it pools", where=folder, mend=other)
    return TransformerEncoder(
        str(folder),
        label=label,
        layer=described.layer or "last",
        max_length=max_length,
        precision=precision,
        engine=engine,
        progress=progress,
    )
