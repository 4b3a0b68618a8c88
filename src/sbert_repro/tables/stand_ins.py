"""Which encoder or data set takes the place of the paper's in a profile, or why none does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from sbert_repro.config import CONFIG_DIR
from sbert_repro.errors import UserError
from sbert_repro.tables.spec import Column, Row

ENCODERS = CONFIG_DIR / "encoder"
_PRETRAINED = "sbert_repro.encoders.transformer.TransformerEncoder"


def chosen(
    overrides: Sequence[str],
    stand_ins: Mapping[str, str],
    profile: str,
    folder: Path = ENCODERS,
) -> tuple[list[str], str]:
    """Put a profile's encoder in the place of the paper's.

    A profile with stand-ins has no other pre-trained transformer than those, even when its weights
    happen to be on the machine: its tables would otherwise depend on where they were made. Encoders
    of another kind (word vectors, say) are used as they are.

    Args:
        overrides: A row's overrides, one of them `encoder=…`.
        stand_ins: The paper's encoder → the profile's; empty where the paper's own are used.
        profile: Its name, for messages.
        folder: Where the encoder options lie.

    Returns:
        The overrides with the encoder that is used, and the paper's encoder when that is another
        one, else "".

    Raises:
        UserError: There is no such encoder, or no stand-in for it.
    """
    name = _encoder(overrides)
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"encoder not available: configs/encoder/{path.name} does not exist")
    if not stand_ins:
        return list(overrides), ""
    if name in stand_ins:
        used = [f"encoder={stand_ins[name]}" if o == f"encoder={name}" else o for o in overrides]
        return used, name
    if yaml.safe_load(path.read_text(encoding="utf-8")).get("_target_") == _PRETRAINED:
        raise UserError(f"no stand-in for {name} in profile {profile}")
    return list(overrides), ""


def trained(row: Row, stand_ins: Mapping[str, Sequence[str]]) -> Row:
    """Put a training in the place of a row's encoder, where a profile trains its own.

    Args:
        row: A row of the paper.
        stand_ins: The paper's encoder → the words after `train.py` that make the profile's.

    Returns:
        The row as it is run, which is the same row where there is nothing in its place.
    """
    name = _encoder(row.overrides)
    if row.trained or name not in stand_ins:
        return row
    return replace(row, trained=True, overrides=tuple(stand_ins[name]), instead_of=name)


def _encoder(overrides: Sequence[str]) -> str:
    return next((o.partition("=")[2] for o in overrides if o.startswith("encoder=")), "")


def tasks(columns: Sequence[Column], stand_ins: Mapping[str, str]) -> dict[str, str]:
    """Tell which data sets stand in for those of some columns.

    Args:
        columns: Columns that are measured on one model; a data set's task has its name.
        stand_ins: The paper's data set → the profile's, beside the encoders.

    Returns:
        Task → the task in its place, for those that have one.
    """
    names = dict.fromkeys(str(column.task) for column in columns)
    return {name: stand_ins[name] for name in names if name in stand_ins}
