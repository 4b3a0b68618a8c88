"""Columns of a parquet file as texts, scores and class ids, or one line that says what is wrong.

Row numbers in messages count from 0, as pandas shows them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sbert_repro.errors import UserError


def need(found: Sequence[str], wanted: Sequence[str], where: object) -> None:
    """Refuse a file that lacks a column.

    Args:
        found: The file's columns.
        wanted: The columns its record names.
        where: The file, for the message.

    Raises:
        UserError: If one is missing; says which columns there are.
    """
    if missing := [name for name in wanted if name not in found]:
        raise UserError(
            f"{where} has no column {', '.join(missing)}; it has {', '.join(found) or 'none'}, "
            f"expected {', '.join(wanted)}"
        )


def texts(column: pa.ChunkedArray, name: str, where: object, first_row: int = 0) -> list[str]:
    """Give a text column as strings; an empty string is a text, a missing one is not.

    Args:
        column: The column ``[N]``.
        name: Its name, for the message.
        where: The file, for the message.
        first_row: Number of the column's first row in the file, when it is read in pieces.

    Returns:
        list[str]: ``N`` texts.

    Raises:
        UserError: If it is no text column, or a row is missing or no UTF-8; says which row.
    """
    strings = _strings(column, name, where, first_row)
    try:
        return list(strings.to_pylist())
    except UnicodeDecodeError as problem:
        raw = strings.cast(pa.large_binary()).to_pylist()
        row = next(row for row, value in enumerate(raw, first_row) if not _decodes(value))
        raise UserError(f"{where}, row {row}: {name} is no UTF-8 text") from problem


def scores(
    column: pa.ChunkedArray, name: str, where: object, bounds: tuple[float, float]
) -> np.ndarray:
    """Give a score column as raw numbers.

    Args:
        column: The column ``[N]``.
        name: Its name, for the message.
        where: The file, for the message.
        bounds: Lowest and highest score there can be.

    Returns:
        np.ndarray: Raw scores ``[N]``, float64.

    Raises:
        UserError: If one is missing, not a number or out of bounds; says the row and the value.
    """
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise UserError(f"{where}: column {name} holds {column.type}, expected numbers")
    values = column.cast(pa.float64()).to_numpy().astype(np.float64)
    low, high = bounds
    # NaN (and null, which became NaN) fails every comparison, so it is caught here as well.
    wrong = np.flatnonzero(~((values >= low) & (values <= high)))
    if len(wrong):
        raise UserError(
            f"{where}, row {wrong[0]}: {name} is {values[wrong[0]]:g}, expected {low:g} to {high:g}"
            f" ({len(wrong):,} such rows)"
        )
    return values


def class_ids(
    column: pa.ChunkedArray,
    name: str,
    where: object,
    labels: tuple[str, ...],
    dropped: tuple[str, ...],
) -> np.ndarray:
    """Give a label column as class ids, the place of each label in ``labels``.

    Args:
        column: The column ``[N]``, text or whole numbers (then the labels are "0", "1", …).
        name: Its name, for the message.
        where: The file, for the message.
        labels: The labels in the order of their class ids.
        dropped: Labels that mean "the annotators did not agree".

    Returns:
        np.ndarray: Class ids ``[N]``, int64; -1 where the label is one of ``dropped``.

    Raises:
        UserError: If a label is missing or unknown; says the row, the value and the known ones.
    """
    if pa.types.is_integer(column.type):
        column = column.cast(pa.large_string())
    strings = _strings(column, name, where)
    ids = pc.index_in(strings, value_set=pa.array(labels, strings.type))
    ids = pc.fill_null(ids, -1).to_numpy().astype(np.int64)
    known = pc.is_in(strings, value_set=pa.array(labels + dropped, strings.type)).to_numpy()
    if not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise UserError(
            f"{where}, row {row}: {name} is {strings[row].as_py()!r}, expected one of "
            f"{', '.join(labels)} ({int((~known).sum()):,} such rows)"
        )
    return ids


def _strings(
    column: pa.ChunkedArray, name: str, where: object, first_row: int = 0
) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    ):
        raise UserError(f"{where}: column {name} holds {column.type}, expected text")
    strings = column.cast(pa.large_string())
    if strings.null_count:
        row = first_row + int(np.flatnonzero(strings.is_null().to_numpy())[0])
        raise UserError(f"{where}, row {row}: {name} is missing ({strings.null_count:,} such rows)")
    return strings


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
