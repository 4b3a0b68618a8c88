"""CSV files that nobody may pass on, so that each user fetches them from their owner's page."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path

import pyarrow as pa

from sbert_repro.data.description import DataSet, Source
from sbert_repro.errors import UserError

_TEXT = pa.large_string()
_log = logging.getLogger(__name__)


def to_be_fetched(record: DataSet, sources: list[Source], folder: Path) -> str:
    """Say what the user has to fetch.

    Args:
        record: The data set.
        sources: Sources of one of its splits.
        folder: The data set's folder in the data root.

    Returns:
        str: One line: which files, from where, to where; empty when nothing is missing.
    """
    wanted = [source for source in sources if source.format == "by_hand"]
    missing = [source.part for source in wanted if not (folder / source.part).is_file()]
    if not missing:
        return ""
    return (
        f"{record.title} has to be fetched by hand: {', '.join(missing)} from {wanted[0].place} "
        f"to {folder}, then run `make data` again"
    )


def csv_rows(path: Path, source: Source) -> pa.Table:
    """Read a CSV with a header line.

    Args:
        path: The file.
        source: Its encoding; our column → the name of theirs, or its place where ``width`` is set.

    Returns:
        pa.Table: Our columns; ``score`` as float64, everything else as text without white space at
        its ends.

    Raises:
        UserError: If it is in another encoding, lacks a column, or a line has another number of
            columns or a score that is no number.
    """
    reader = csv.reader(io.StringIO(_text(path, source.encoding), newline=""), strict=True)
    ours: dict[str, list[str]] = {name: [] for name in source.columns}
    try:
        header = next(reader, [])
        places = _places(header, source, path)
        for row in reader:
            if len(row) != len(header) and row:
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(row)} columns, expected {len(header)}: "
                    f"get the file again from {source.place}"
                )
            for name, place in places.items():
                if row:
                    ours[name].append(row[place].strip())
    except csv.Error as problem:
        raise UserError(
            f"{path}, line {reader.line_num}: no CSV ({problem}): get the file again from "
            f"{source.place}"
        ) from problem
    columns = {name: _typed(name, cells, path) for name, cells in ours.items()}
    rows = len(next(iter(columns.values())))
    constants = {name: pa.array([text] * rows, _TEXT) for name, text in source.constants.items()}
    return pa.table({**columns, **constants})


def _text(path: Path, encoding: str) -> str:
    raw = path.read_bytes()
    found = _encoding(raw)
    if found in ("UTF-16", "UTF-8 with a byte order mark"):
        raise UserError(
            f"{path} is in {found}, expected {encoding.upper()} as it is published (saved again by "
            "a spreadsheet?): get the file again"
        )
    if found == "UTF-8" and encoding != "utf-8":
        # Read as ISO-8859-1, each letter with an accent would become two signs.
        _log.warning("%s is in UTF-8, not %s; read as UTF-8", path, encoding.upper())
        encoding = "utf-8"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as problem:
        raise UserError(
            f"{path} is not in {encoding.upper()} (byte {problem.start:,}): get the file again"
        ) from problem


def _encoding(raw: bytes) -> str:
    """Tell an encoding by its bytes, "" where they do not say."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        return "UTF-16"
    if raw.startswith(b"\xef\xbb\xbf"):
        return "UTF-8 with a byte order mark"
    try:
        return "" if raw.isascii() else raw.decode("utf-8") and "UTF-8"
    except UnicodeDecodeError:
        return ""


def _places(header: list[str], source: Source, path: Path) -> dict[str, int]:
    if source.width is not None:
        if len(header) != source.width:
            raise UserError(
                f"{path} has {len(header)} columns, expected {source.width}: get the file again "
                f"from {source.place}"
            )
        return {name: int(place) for name, place in source.columns.items()}
    names = [name.strip() for name in header]
    if missing := [theirs for theirs in source.columns.values() if theirs not in names]:
        raise UserError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(names) or 'none'}"
        )
    return {name: names.index(theirs) for name, theirs in source.columns.items()}


def _typed(name: str, cells: list[str], path: Path) -> pa.Array:
    if name != "score":
        return pa.array(cells, _TEXT)
    try:
        return pa.array([float(cell) for cell in cells], pa.float64())
    except ValueError as problem:
        raise UserError(f"{path}: a score is no number ({problem})") from problem
