"""Read splits of data sets from the data root, and check every row.

The rows of a split lie in ``<root>/<data set>/<split>.parquet``, one row an example; the data set's
record says what each column may hold. Row numbers in messages count from 0, as pandas shows them.
"""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sbert_repro.data.schema import FOLDS, WHOLE, DataSet, part_rows, spelled
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact, rows
from sbert_repro.storage import sha256_of

_AGAIN = "get it again with `make data`"
_BATCH = 65_536
"""Triplets that are checked at a time."""


@dataclass(frozen=True)
class Split:
    """The examples of one split.

    Attributes:
        name: The split's name.
        texts: Text column → its ``N`` sentences; those of triplets are read when asked for.
        target: Class ids (int64) or raw gold scores (float64) ``[N]``; ``None`` for triplets.
        subset: Subset of the year each pair comes from ``[N]``; ``None`` where there are none.
        facts: How many rows these are, of how many; rows dropped for want of a gold label.
        sha256: Of the file.
        rows_found: Usable rows of the split, before any limit.
        rows_expected: Rows of the complete split.
        sources: The corpora that the rows were chosen from; empty: all.
    """

    name: str
    texts: Mapping[str, Sequence[str]]
    target: np.ndarray | None
    subset: np.ndarray | None
    facts: list[Fact]
    sha256: str
    rows_found: int
    rows_expected: int
    sources: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(next(iter(self.texts.values())))


@dataclass(frozen=True)
class Rows:
    """Checked rows of a file, in its order, without those that have no gold label.

    Attributes:
        texts: As in `Split`.
        target: As in `Split`.
        subset: As in `Split`.
        corpus: Which of the data set's own corpora each row is from ``[N]``, "" for any other;
            ``None``: the file does not say, and all are its own.
        dropped: Rows left out because the annotators did not agree.
    """

    texts: Mapping[str, Sequence[str]]
    target: np.ndarray | None = None
    subset: np.ndarray | None = None
    corpus: np.ndarray | None = None
    dropped: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.texts.values())))

    def count_own(self) -> int:
        """Count the rows from the data set's own corpora."""
        return len(self) if self.corpus is None else int((self.corpus != "").sum())

    def first(self, count: int) -> Rows:
        """Return the first ``count`` rows."""
        texts = {
            name: column.first(count) if isinstance(column, StreamedTexts) else column[:count]
            for name, column in self.texts.items()
        }
        return self._select(texts, slice(count))

    def at(self, chosen: np.ndarray) -> Rows:
        """Return the rows of these numbers, in this order."""
        texts = {name: [column[row] for row in chosen] for name, column in self.texts.items()}
        return self._select(texts, chosen)

    def _select(self, texts: Mapping[str, Sequence[str]], chosen: np.ndarray | slice) -> Rows:
        return Rows(
            texts,
            target=None if self.target is None else self.target[chosen],
            subset=None if self.subset is None else self.subset[chosen],
            corpus=None if self.corpus is None else self.corpus[chosen],
            dropped=self.dropped,
        )


def read(
    record: DataSet,
    root: Path,
    split: str,
    *,
    limit: int | None = None,
    allow_partial: bool = False,
    sources: Sequence[str] | None = None,
) -> Split:
    """Read one split from the data root and check every row of it.

    Args:
        record: The data set.
        root: The data root.
        split: Its name; for a set in one piece also that of a fold or topic, see `parse_part`.
        limit: Take only this many rows, the first ones.
        allow_partial: Accept a file with another number of rows than the record says; the facts
            then tell.
        sources: Take only rows of these corpora, names from the record's; ``None``: all rows.

    Returns:
        Split: The examples in the order of the file.

    Raises:
        UserError: If the file is missing, damaged or not what its record says; names file and row.
    """
    path = split_path(record, root, split)
    whole, expected = _read_file(record, path), record.splits[path.stem]
    if record.round_number:
        complete = len(whole)
    elif len(whole) == expected or allow_partial:
        complete = expected
    else:
        raise UserError(
            f"{len(whole):,} of {expected:,} {record.unit} of {record.title}",
            where=path,
            mend="get the complete set with `make data`, or use these with data.allow_partial=true",
            code="partial",
        )
    if limit is not None and limit < 1:
        raise UserError(
            "expected a whole number from 1, or null for all rows", where=f"data.limit={limit}"
        )
    if sources is not None:
        whole = _of_corpora(record, whole, sources, path)
    cut = _cut(record, whole, split, path)
    used = cut if limit is None or limit >= len(cut) else cut.first(limit)
    if cut is whole:
        found = [_count(record, split, used, complete)]
    else:  # two things may be missing: rows of the set that is cut, and rows beyond the limit
        found = [_count(record, WHOLE, whole, complete), _count(record, split, used, len(cut))]
    if whole.dropped:
        words = {"title": record.title, "unit": record.unit, "count": whole.dropped, "split": split}
        found.append(fact("rows_without_label", **words))
    return Split(
        name=split,
        texts=used.texts,
        target=used.target,
        subset=used.subset,
        facts=found,
        sha256=sha256_of(path),
        rows_found=len(cut),
        rows_expected=expected if cut is whole else len(cut),
        sources=tuple(sorted(set(sources or ()))),
    )


def split_path(record: DataSet, root: Path, split: str) -> Path:
    """Return the file of a split, whether or not it exists.

    Args:
        record: The data set.
        root: The data root.
        split: Its name; a fold or topic lies in the file of the whole set.

    Returns:
        Path: ``<root>/<data set>/<split>.parquet``.

    Raises:
        UserError: If the data set has no such split.
    """
    file = WHOLE if record.part(split) else split
    if file not in record.splits:
        known = "train_fold_0, test_topic_NAME, train_within_NAME_fold_0 …"
        parts = f" and its parts {known}" if record.topics else ""
        raise UserError(
            f"{record.name} has no split {split!r}; it has {', '.join(sorted(record.splits))}"
            f"{parts}"
        )
    return root / record.name / f"{file}.parquet"


def missing(path: Path) -> UserError:
    """Say that a split's file is not on this machine, and how to get it."""
    return UserError(
        f"no data set {path.parent.name}/{path.stem} on this machine",
        where=path,
        mend="get it with `make data`, or say where it lies with paths.data=FOLDER or "
        "SBERT_DATA=FOLDER",
        code="missing",
    )


def _count(record: DataSet, split: str, used: Rows, expected: int) -> Fact:
    return rows(
        record.name,
        split,
        title=record.title,
        unit=record.unit,
        used=len(used),
        expected=expected,
        own=used.count_own(),
        shares=None if used.corpus is None else _shares(used.corpus),
    )


def _shares(corpus: np.ndarray) -> dict[str, int]:
    names, counts = np.unique(corpus[corpus != ""].astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _of_corpora(record: DataSet, whole: Rows, sources: Sequence[str], path: Path) -> Rows:
    """Select the rows of some of the data set's corpora."""
    where = f"data.sources=[{','.join(sources)}]"
    if unknown := sorted(set(sources) - set(record.corpora)) or not sources:
        raise UserError(
            f"expected one or more of: {', '.join(record.corpora) or 'none, it has one source'}",
            where=where,
            mend=f"leave out {', '.join(unknown)}" if isinstance(unknown, list) else "name one",
        )
    if whole.corpus is None:
        raise UserError(
            f"no column {record.source_column}, which names the corpus of each row",
            where=path,
            mend="use data.sources=null, or get the file again with `make data`",
        )
    chosen = np.flatnonzero(np.isin(whole.corpus, list(sources)))
    if not len(chosen):
        raise UserError(f"no rows of {', '.join(sources)}", where=path, mend=f"leave out {where}")
    return whole.at(chosen)


def _cut(record: DataSet, whole: Rows, split: str, path: Path) -> Rows:
    """Select the rows of a fold or topic; all rows where the split is a file of its own."""
    part = record.part(split)
    if part is None:
        return whole
    assert whole.subset is not None, "a set that is cut has topics"
    chosen = part_rows(part, whole.subset, list(whole.texts.values()))
    if not len(chosen) or len(chosen) == len(whole):
        topics = ", ".join(dict.fromkeys(spelled(topic) for topic in whole.subset.tolist()))
        raise UserError(
            f"{len(chosen):,} of {len(whole):,} {record.unit} belong to {record.name} {split}; its "
            f"topics are {topics}, its folds 0 to {FOLDS - 1}",
            where=path,
        )
    return whole.at(chosen)


def _read_file(record: DataSet, path: Path) -> Rows:
    with _open(record, path) as file:
        if record.kind == "triplets":
            return _check_triplets(record, file, path)
        wanted = {*record.columns, record.source_column}
        table = file.read(columns=[name for name in file.schema_arrow.names if name in wanted])
    return check(record, table, path)


@contextlib.contextmanager
def _open(record: DataSet, path: Path) -> Iterator[pq.ParquetFile]:
    again = f"delete it and run `python scripts/download.py {record.name}`, or `make data` for all"
    try:
        with path.open("rb") as stream:
            if not stream.read(1):
                raise UserError("the file is empty (0 bytes)", where=path, mend=again)
            file = pq.ParquetFile(stream)
            _need_columns(record, file.schema_arrow.names, path)
            yield file
    except FileNotFoundError as problem:
        raise missing(path) from problem
    except (PermissionError, IsADirectoryError, NotADirectoryError) as problem:
        raise UserError(f"cannot be read: {problem.strerror}", where=path, mend=again) from problem
    except (pa.ArrowException, OSError) as problem:
        raise UserError("not a readable parquet file (cut off?)", where=path, mend=again) from (
            problem
        )


def _need_columns(record: DataSet, found: Sequence[str], where: object) -> None:
    if missing := [name for name in record.columns if name not in found]:
        raise UserError(
            f"no column {', '.join(missing)}; it has {', '.join(found) or 'none'}, expected "
            f"{', '.join(record.columns)}",
            where=where,
            mend=_AGAIN,
        )
    if len(set(found)) < len(found):
        twice = sorted({name for name in found if list(found).count(name) > 1})
        raise UserError(f"has the column {twice[0]} twice", where=where, mend=_AGAIN)


def check(record: DataSet, table: pa.Table, where: object) -> Rows:
    """Check every row of a table against the record.

    Args:
        record: The data set.
        table: Columns as read.
        where: The file, for messages.

    Returns:
        Rows: The usable rows.

    Raises:
        UserError: If there is no row, or one holds what it must not; says which and what.
    """
    _need_columns(record, table.column_names, where)
    if not len(table):
        raise UserError("no rows", where=where, mend=_AGAIN)
    target = _target(record, table, where)
    texts = {name: _texts(table[name], name, where) for name in record.text_columns}
    subset = corpus = None
    if record.subset_column is not None:
        subset = np.array(_texts(table[record.subset_column], record.subset_column, where))
    if record.source_column in table.column_names:
        corpus = np.full(len(table), "", object)
        for name, beginnings in record.corpora.items():
            for beginning in beginnings:
                starts = pc.starts_with(table[record.source_column], beginning)
                corpus[pc.fill_null(starts, False).to_numpy()] = name
    found = Rows(texts, target, subset, corpus)
    if record.labels is None or target is None or (target >= 0).all():
        return found
    if not (target >= 0).any():
        raise UserError(
            f"none of its {len(found):,} rows has one of the labels {', '.join(record.labels)}",
            where=where,
            mend=_AGAIN,
        )
    labelled = found.at(np.flatnonzero(target >= 0))
    return replace(labelled, dropped=len(found) - len(labelled))


def _target(record: DataSet, table: pa.Table, where: object) -> np.ndarray | None:
    name = record.target_column
    if name is None:
        return None
    if record.labels is not None:
        return _class_ids(table[name], name, where, record.labels, record.dropped_labels)
    return _scores(table[name], name, where, record.score_range or (0.0, 1.0))


def _texts(column: pa.ChunkedArray, name: str, where: object, first_row: int = 0) -> list[str]:
    """Return a column as strings; an empty string is a text, a null is not."""
    strings = _strings(column, name, where, first_row)
    try:
        return list(strings.to_pylist())
    except UnicodeDecodeError as problem:
        raw = strings.cast(pa.large_binary()).to_pylist()
        row = next(row for row, value in enumerate(raw, first_row) if not _is_utf8(value))
        found = f"{name} is not UTF-8 text"
        raise UserError(found, where=f"{where}, row {row}", mend=_AGAIN) from problem


def _scores(
    column: pa.ChunkedArray, name: str, where: object, bounds: tuple[float, float]
) -> np.ndarray:
    """Return a column as raw scores ``[N]``, float64, all within the bounds."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise UserError(f"column {name} holds {column.type}, expected numbers", where=where)
    values = column.cast(pa.float64()).to_numpy().astype(np.float64)
    low, high = bounds
    # NaN (and null, which became NaN) fails every comparison, so it is caught here as well.
    wrong = np.flatnonzero(~((values >= low) & (values <= high)))
    if len(wrong):
        raise UserError(
            f"{name} is {values[wrong[0]]:g}, expected {low:g} to {high:g} ({len(wrong):,} such "
            f"rows)",
            where=f"{where}, row {wrong[0]}",
        )
    return values


def _class_ids(
    column: pa.ChunkedArray,
    name: str,
    where: object,
    labels: tuple[str, ...],
    dropped: tuple[str, ...],
) -> np.ndarray:
    """Return a column of labels as their places in ``labels`` ``[N]``, int64; -1 for ``dropped``.

    Whole numbers stand for the labels "0", "1", ….
    """
    if pa.types.is_integer(column.type):
        column = column.cast(pa.large_string())
    strings = _strings(column, name, where)
    ids = pc.index_in(strings, value_set=pa.array(labels, strings.type))
    known = pc.is_in(strings, value_set=pa.array(labels + dropped, strings.type)).to_numpy()
    if not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise UserError(
            f"{name} is {strings[row].as_py()!r}, expected one of {', '.join(labels)} "
            f"({int((~known).sum()):,} such rows)",
            where=f"{where}, row {row}",
        )
    return np.asarray(pc.fill_null(ids, -1).to_numpy(), np.int64)


def _strings(
    column: pa.ChunkedArray, name: str, where: object, first_row: int = 0
) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not any(accepts(kind) for accepts in is_text):
        raise UserError(f"column {name} holds {column.type}, expected text", where=where)
    strings = column.cast(pa.large_string())
    if strings.null_count:
        row = first_row + int(np.flatnonzero(strings.is_null().to_numpy())[0])
        raise UserError(
            f"{name} is missing ({strings.null_count:,} such rows)",
            where=f"{where}, row {row}",
            mend=_AGAIN,
        )
    return strings


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_triplets(record: DataSet, file: pq.ParquetFile, path: Path) -> Rows:
    """Check every row of a file of triplets; return its columns, to be read when asked for.

    A blank text is a text: there is one among the 6.7 million of the Wikipedia sections.
    """
    row = 0
    for batch in file.iter_batches(_BATCH, columns=list(record.text_columns)):
        for name, column in zip(record.text_columns, batch.columns, strict=True):
            _texts(pa.chunked_array([column]), name, path, row)
        row += len(batch)
    if row == 0:
        raise UserError("no rows", where=path, mend=_AGAIN)
    return Rows({name: StreamedTexts(path, name) for name in record.text_columns})


class StreamedTexts(Sequence[str]):
    """A text column of a parquet file that is read when asked for, one row group at a time.

    The 1,779,417 training triplets of the Wikipedia sections are 0.7 GB of text, read once on their
    way to the word pieces; so this is made for slices from the first to the last. The rows must
    have been checked.

    Args:
        path: The file.
        column: The column.
        length: Number of rows from the start; ``None`` for all.
    """

    def __init__(self, path: Path, column: str, length: int | None = None) -> None:
        self._path, self._column = path, column
        groups = pq.read_metadata(path)
        sizes = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
        self._starts = [0, *accumulate(sizes)]
        self._length = min(self._starts[-1], self._starts[-1] if length is None else length)
        self._number, self._group = -1, pa.chunked_array([], pa.large_string())

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._length

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Read a row, or the rows of a slice."""
        if isinstance(index, int | np.integer):
            row = range(self._length)[index]
            return self._between(row, row + 1)[0]
        start, stop, step = index.indices(self._length)
        if step > 0:
            return self._between(start, stop)[::step]
        return [self[row] for row in range(start, stop, step)]

    def first(self, count: int) -> StreamedTexts:
        """Return the first ``count`` rows as a column of their own."""
        return StreamedTexts(self._path, self._column, min(count, self._length))

    def _between(self, start: int, stop: int) -> list[str]:
        found: list[str] = []
        while start < stop:
            number = bisect.bisect_right(self._starts, start) - 1
            offset, end = self._starts[number], min(stop, self._starts[number + 1])
            found += self._row_group(number).slice(start - offset, end - start).to_pylist()
            start = end
        return found

    def _row_group(self, number: int) -> pa.ChunkedArray:
        if number != self._number:
            with pq.ParquetFile(self._path) as file:
                self._group = file.read_row_group(number, columns=[self._column])[self._column]
            self._number = number
        return self._group
