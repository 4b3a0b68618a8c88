"""Rows of other people's files, in our columns."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sbert_repro.data.description import Source
from sbert_repro.errors import UserError

# Text is kept with 64-bit places: the texts of NLI together come near what 32 bits can count.
_TEXT = pa.large_string()


def hub_rows(loaded: Any, source: Source) -> pa.Table:
    """Take our columns out of a data set of the Hub.

    Args:
        loaded: One split, as ``datasets.load_dataset`` gives it.
        source: Which columns, and what the class ids stand for.

    Returns:
        pa.Table: Our columns; class ids as labels, a negative id as ``-``.

    Raises:
        UserError: If a column is missing, or the Hub's class ids stand for something else.
    """
    if missing := [name for name in source.columns.values() if name not in loaded.column_names]:
        raise UserError(
            f"{source.place} has no column {', '.join(missing)}; it has "
            f"{', '.join(loaded.column_names)}"
        )
    table = loaded.select_columns(list(source.columns.values())).with_format("arrow")[:]
    ours = {}
    for name, theirs in source.columns.items():
        column = table[theirs]
        if source.labels and pa.types.is_integer(column.type):
            declared = tuple(getattr(loaded.features[theirs], "names", source.labels))
            if declared != source.labels:
                raise UserError(
                    f"{source.place}: {theirs} stands for {declared}, not {source.labels}"
                )
            column = _labels(column, source.labels)
        ours[name] = column.cast(_TEXT) if pa.types.is_string(column.type) else column
    return _with_constants(pa.table(ours), source)


def tsv_rows(content: bytes, source: Source) -> pa.Table:
    """Read tab-separated rows under a header line; quotes are characters like any other.

    Args:
        content: The file, UTF-8.
        source: Which columns.

    Returns:
        pa.Table: Our columns; ``score`` as float64, everything else as text.

    Raises:
        UserError: If a column is missing, a line is too short or a score is no number.
    """
    header, *lines = _lines(content, source.part)
    places = {name: place for place, name in enumerate(header.split("\t"))}
    if missing := [name for name in source.columns.values() if name not in places]:
        raise UserError(f"{source.part} has no column {', '.join(missing)}; it has {list(places)}")
    ours: dict[str, list[str]] = {name: [] for name in source.columns}
    for number, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if len(cells) <= max(places[theirs] for theirs in source.columns.values()):
            raise UserError(f"{source.part}, line {number}: {len(cells)} of {len(places)} columns")
        for name, theirs in source.columns.items():
            ours[name].append(cells[places[theirs]])
    return _with_constants(
        pa.table({n: _typed(n, v, source.part) for n, v in ours.items()}), source
    )


def sts_rows(read: Callable[[str], bytes], source: Source) -> pa.Table:
    """Read a year of STS: for each part the pairs, and line by line the gold scores beside them.

    Pairs whose gold line is blank were not scored and are left out, as SentEval does.

    Args:
        read: Gives the bytes of a file by its name.
        source: The folder and its parts.

    Returns:
        pa.Table: subset, sentence1, sentence2, score.

    Raises:
        UserError: If the two files of a part have not the same number of lines, or one is no pair.
    """
    columns: dict[str, list[str]] = {"subset": [], "sentence1": [], "sentence2": [], "score": []}
    for subset in source.subsets:
        name = f"{source.part}/STS.input.{subset}.txt"
        pairs = _lines(read(name), name)
        gold = _lines(read(f"{source.part}/STS.gs.{subset}.txt"), name)
        # A file's last blank gold lines are lost with its final line breaks.
        gold += [""] * (len(pairs) - len(gold))
        if len(pairs) != len(gold):
            raise UserError(f"{name} holds {len(pairs)} pairs for {len(gold)} gold scores")
        for number, (pair, score) in enumerate(zip(pairs, gold, strict=True), start=1):
            first, tab, rest = pair.partition("\t")
            if not tab:
                raise UserError(f"{name}, line {number}: expected two sentences and a tab")
            if score.strip():
                # Some years have more columns: where the sentences were found.
                row = (subset, first, rest.partition("\t")[0], score)
                for column, cell in zip(columns.values(), row, strict=True):
                    column.append(cell)
    return pa.table({name: _typed(name, cells, source.part) for name, cells in columns.items()})


def line_rows(read: Callable[[str], bytes], source: Source) -> pa.Table:
    """Read files of which each line is a row; empty lines are rows too.

    Args:
        read: Gives the bytes of a file by its name.
        source: The file, or a folder and its files; how a line is cut.

    Returns:
        pa.Table: The named groups of the pattern; with ``label`` of the file where files have one.

    Raises:
        UserError: If a line is not of that form.
    """
    files = [f"{source.part}/{name}" for name in source.subsets] or [source.part]
    rows: list[dict[str, str]] = []
    for place, name in enumerate(files):
        label = {"label": source.labels[place]} if source.labels else {}
        for number, line in enumerate(_all_lines(read(name), name, source.encoding), start=1):
            found = re.fullmatch(source.pattern, line)
            if found is None:
                raise UserError(f"{name}, line {number}: expected {source.pattern}")
            rows.append({key: text.strip() for key, text in found.groupdict().items()} | label)
    columns = {key: [row[key] for row in rows] for key in rows[0]} if rows else {}
    return pa.table({key: pa.array(values, _TEXT) for key, values in columns.items()})


def _labels(ids: pa.ChunkedArray, labels: tuple[str, ...]) -> pa.ChunkedArray:
    known = pc.if_else(pc.less(ids, 0), len(labels), ids)
    return pa.chunked_array([pa.array([*labels, "-"], _TEXT).take(known.combine_chunks())])


def _typed(name: str, values: list[str], where: str) -> pa.Array:
    if name == "label":
        return pa.array([value.strip().lower() for value in values], _TEXT)
    if name != "score":
        return pa.array(values, _TEXT)
    try:
        return pa.array([float(value) for value in values], pa.float64())
    except ValueError as problem:
        raise UserError(f"{where}: a score is no number ({problem})") from problem


def _with_constants(table: pa.Table, source: Source) -> pa.Table:
    for name, value in source.constants.items():
        table = table.append_column(name, pa.array([value] * len(table), _TEXT))
    return table


def _lines(content: bytes, where: str) -> list[str]:
    lines = _all_lines(content, where)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _all_lines(content: bytes, where: str, encoding: str = "utf-8") -> list[str]:
    try:
        # With -sig: without the mark that some editors put before the first line.
        text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as problem:
        raise UserError(f"{where} is no {encoding.upper()} text") from problem
    # Not splitlines: sentences may hold characters that Unicode counts as line breaks.
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
