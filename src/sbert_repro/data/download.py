"""Filling a data root: each split from its sources, checked row by row before it is put in place.

Beside the files of a data set lies ``SOURCE.json``: where each split came from (with the commit
that was taken), under which licence, how many rows it has and the sha256 of our file. A split that
is there and is what ``SOURCE.json`` says is not downloaded again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sbert_repro.data.by_hand import csv_rows, to_be_fetched
from sbert_repro.data.description import DataSet, Source
from sbert_repro.data.fetch import fetch, member, unreachable
from sbert_repro.data.record import read
from sbert_repro.data.rows import hub_rows, line_rows, sts_rows, tsv_rows
from sbert_repro.data.table import check, split_path
from sbert_repro.errors import UserError
from sbert_repro.retries import retried
from sbert_repro.storage import replacing, sha256_of, write_file

SOURCE_FILE = "SOURCE.json"
_DOWNLOADS = ".downloads"


def download(record: DataSet, root: Path) -> Iterator[str]:
    """Bring every split of a data set into the data root.

    Args:
        record: The data set.
        root: The data root; archives are kept in ``<root>/.downloads`` for the next data set.

    Yields:
        str: One line a split: what was done.

    Raises:
        UserError: If the network fails, or what came is not what the record says; then nothing of
            this split was written.
    """
    for split, expected in record.splits.items():
        path = split_path(record, root, split)
        if is_complete(record, root, split):
            there = written_down(path).get(split, {}).get("rows", expected)
            yield f"{path}: {there:,} {record.unit}, already there"
            continue
        sources = [source for source in record.sources if source.split == split]
        if by_hand := to_be_fetched(record, sources, path.parent):
            yield by_hand
            continue
        sources = [_pinned(source) for source in sources]
        tables = [_rows(source, path.parent, root / _DOWNLOADS) for source in sources]
        table = _mixed(tables)
        examples = check(record, table, f"{record.name} {split} from {sources[0].place}")
        found = len(table) - examples.dropped
        if found != expected and not record.round_number:
            raise UserError(
                f"{record.name} {split}: {sources[0].place} gives {found:,} of {expected:,} "
                f"{record.unit}; it was changed at its source, nothing was written"
            )
        kept = _keep_aside(path)
        with replacing(path) as temporary:
            pq.write_table(table, temporary)
        _write_down(record, path, sources, (found, examples.dropped))
        yield f"{path}: {found:,} {record.unit}{kept}"


def is_complete(record: DataSet, root: Path, split: str) -> bool:
    """Tell whether a split is there, whole, and unchanged since it was written down.

    Args:
        record: The data set.
        root: The data root.
        split: Which split.

    Returns:
        bool: ``False`` also for a file that cannot be read; it is then replaced.
    """
    path = split_path(record, root, split)
    if not path.is_file():
        return False
    written = written_down(path).get(split)
    if written is not None:
        return bool(written["sha256"] == sha256_of(path))
    try:
        read(record, root, split)
    except UserError:
        return False
    return True


def written_down(path: Path) -> dict[str, Any]:
    """Give what was written down about the files beside a split.

    Args:
        path: The split's file.

    Returns:
        dict[str, Any]: Split → rows, sha256, sources; empty where no download was made here.
    """
    file = path.with_name(SOURCE_FILE)
    try:
        splits: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, KeyError):
        return {}
    return splits


def _keep_aside(path: Path) -> str:
    """Move a file that is not the complete set out of the way: it may be someone's own choice."""
    if not path.is_file():
        return ""
    aside = path.with_name(f"{path.name}.old")
    path.replace(aside)
    return f", what was there is now {aside.name}"


def _pinned(source: Source) -> Source:
    """Name the commit of a source whose record could not name one."""
    if source.revision is not None or "://" in source.place:
        return source
    from huggingface_hub import HfApi

    try:
        about = retried(lambda: HfApi().dataset_info(source.place), source.place)
        return replace(source, revision=about.sha)
    # The Hub's client raises its own, its HTTP library's and the system's errors.
    except Exception as problem:
        raise unreachable(source.place, problem) from problem


def _rows(source: Source, folder: Path, downloads: Path) -> pa.Table:
    if source.format == "by_hand":
        return csv_rows(folder / source.part, source)
    if source.format == "hub_table":
        return hub_rows(_from_hub(source), source)
    file = _file(source, downloads)
    if source.format == "sts_folder":
        return sts_rows(partial(member, file), source)
    if source.format == "lines":
        return line_rows(partial(member, file), source)
    content = file.read_bytes() if source.archive is None else member(file, source.part)
    return tsv_rows(content, source)


def _from_hub(source: Source) -> Any:
    # Imported here: readers of the data root need neither this library nor its seconds.
    import datasets
    from huggingface_hub.utils import logging

    # Its retries would be six lines before the one that says there is no network.
    logging.set_verbosity_error()
    try:
        return datasets.load_dataset(
            source.place, source.config, split=source.part, revision=source.revision
        )
    # The library raises its own, its HTTP library's and the system's errors.
    except Exception as problem:
        raise unreachable(source.place, problem) from problem


def _file(source: Source, downloads: Path) -> Path:
    url = source.place
    if "://" not in url:
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(
            source.place,
            source.archive or source.part,
            repo_type="dataset",
            revision=source.revision,
        )
    # A name for each place and commit, so that a new pin is never answered with an old file.
    name = f"{(source.revision or 'unpinned')[:12]}-{url.rpartition('/')[2]}"
    return fetch(url, downloads / name, source.sha256)


def _mixed(tables: list[pa.Table]) -> pa.Table:
    table = pa.concat_tables(tables)
    if len(tables) == 1:
        return table
    # Several corpora in one split are mixed, always alike, so that a limit takes a fair sample.
    return table.take(np.random.default_rng(0).permutation(len(table)))


def _write_down(record: DataSet, path: Path, sources: list[Source], rows: tuple[int, int]) -> None:
    splits = written_down(path)
    splits[path.stem] = {
        "rows": rows[0],
        "without_gold_label": rows[1],
        "sha256": sha256_of(path),
        "sources": [
            {"place": s.place, "part": s.part, "revision": s.revision, "sha256": s.sha256}
            for s in sources
        ],
    }
    about = {"data_set": record.name, "licence": record.licence, "citation": record.citation}
    text = json.dumps({**about, "splits": splits}, indent=1, ensure_ascii=False)
    write_file(path.with_name(SOURCE_FILE), f"{text}\n")
