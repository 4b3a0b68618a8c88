"""Fill a data root from the sources of each data set, and tell what state a data root is in.

Every split is checked row by row before it is put in place. Beside the files of a data set lies
``SOURCE.json``: where each split came from (with the commit that was taken), under which licence,
how many rows it has and the sha256 of our file. A split that is there and is what ``SOURCE.json``
says is not downloaded again.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NoReturn, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tenacity
from rich.progress import Progress

from sbert_repro.data.read import check, read, split_path
from sbert_repro.data.schema import DataSet, Source, dataset, names
from sbert_repro.errors import UserError
from sbert_repro.storage import replacing, sha256_of, write_file

SOURCE_FILE = "SOURCE.json"
_DOWNLOADS = ".downloads"
_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds
# Text is stored with 64-bit offsets: NLI's texts together come near what 32 bits can count.
_TEXT = pa.large_string()

Status = Literal["complete", "partial", "missing", "unreadable", "changed"]
BROKEN: tuple[Status, ...] = ("unreadable", "changed")
T = TypeVar("T")
_log = logging.getLogger(__name__)


def download(record: DataSet, root: Path) -> Iterator[str]:
    """Bring every split of a data set into the data root.

    Args:
        record: The data set.
        root: The data root; archives are kept in ``<root>/.downloads`` for the next data set.

    Yields:
        str: One line per split: what was done.

    Raises:
        UserError: If the network fails, or what came is not what the record says; nothing of that
            split is then written.
    """
    for split, expected in record.splits.items():
        path = split_path(record, root, split)
        if is_complete(record, root, split):
            there = written_down(path).get(split, {}).get("rows", expected)
            yield f"{path}: {there:,} {record.unit}, already there"
            continue
        sources = [source for source in record.sources if source.split == split]
        by_hand = [source for source in sources if source.format == "by_hand"]
        if absent := [s.part for s in by_hand if not path.with_name(s.part).is_file()]:
            yield (
                f"{record.title} has to be downloaded by hand: {', '.join(absent)} from "
                f"{by_hand[0].place} to {path.parent}, then run `make data` again"
            )
            continue
        sources = [_pinned(source) for source in sources]
        table = _mixed([_rows(source, path.parent, root / _DOWNLOADS) for source in sources])
        place = sources[0].place
        rows = check(record, table, f"{record.name} {split} from {place}")
        if len(rows) != expected and not record.round_number:
            raise UserError(
                f"{place} gives {len(rows):,} of {expected:,} {record.unit}; it was changed at its "
                f"source, nothing was written",
                where=f"{record.name} {split}",
            )
        kept = ""
        if path.is_file():  # not the complete set, but it may be someone's own choice of rows
            aside = path.replace(path.with_name(f"{path.name}.old"))
            kept = f", what was there is now {aside.name}"
        with replacing(path) as temporary:
            pq.write_table(table, temporary)
        _write_down(record, path, sources, len(rows), rows.dropped)
        yield f"{path}: {len(rows):,} {record.unit}{kept}"


def is_complete(record: DataSet, root: Path, split: str) -> bool:
    """Tell whether a split is there, complete, and unchanged since it was downloaded.

    A file that cannot be read is not; it is then replaced.
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
    """Read what ``SOURCE.json`` says about the files beside a split.

    Args:
        path: The split's file.

    Returns:
        dict[str, Any]: Split → rows, sha256, sources; empty where nothing was downloaded.
    """
    file = path.with_name(SOURCE_FILE)
    try:
        splits: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, KeyError):
        return {}
    return splits


def _write_down(
    record: DataSet, path: Path, sources: list[Source], rows: int, dropped: int
) -> None:
    splits = written_down(path)
    splits[path.stem] = {
        "rows": rows,
        "without_gold_label": dropped,
        "sha256": sha256_of(path),
        "sources": [
            {"place": s.place, "part": s.part, "revision": s.revision, "sha256": s.sha256}
            for s in sources
        ],
    }
    about = {"data_set": record.name, "licence": record.licence, "citation": record.citation}
    text = json.dumps({**about, "splits": splits}, indent=1, ensure_ascii=False)
    write_file(path.with_name(SOURCE_FILE), f"{text}\n")


def _mixed(tables: list[pa.Table]) -> pa.Table:
    table = pa.concat_tables(tables)
    if len(tables) == 1:
        return table
    # Several corpora in one split are mixed, always alike, so that a limit takes a fair sample.
    return table.take(np.random.default_rng(0).permutation(len(table)))


# --- The state of a data root ---------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """What was found of one split of one data set.

    Attributes:
        data_set: Its name.
        split: Its split.
        found: Usable rows; ``None`` where there is no readable file.
        expected: Rows of the complete set.
        sha256: Of the file; empty where there is none to read.
        status: ``unreadable`` includes a file whose rows are not what the record allows;
            ``changed`` means that it is not the file that was downloaded.
        problem: What is wrong, in one line.
    """

    data_set: str
    split: str
    found: int | None
    expected: int
    sha256: str
    status: Status
    problem: str = ""


def states(root: Path) -> Iterator[State]:
    """Check every row of every split of every data set.

    Args:
        root: The data root.

    Yields:
        State: In the order of the names, and of each record's splits.
    """
    for record in map(dataset, names()):
        for split in record.splits:
            yield _state(record, root, split)


def _state(record: DataSet, root: Path, split: str) -> State:
    path, expected = split_path(record, root, split), record.splits[split]
    try:
        examples = read(record, root, split, allow_partial=True)
    except UserError as mistake:
        if mistake.code == "missing":
            return State(record.name, split, None, expected, "", "missing")
        return State(record.name, split, None, expected, "", "unreadable", str(mistake))
    found, sha256 = examples.rows_found, examples.sha256
    if written_down(path).get(split, {"sha256": sha256})["sha256"] != sha256:
        problem = f"{path} is not the file that was downloaded: delete it and run `make data`"
        return State(record.name, split, found, expected, sha256, "changed", problem)
    status: Status = "complete" if found == expected or record.round_number else "partial"
    return State(record.name, split, found, expected, sha256, status)


# --- From the network -----------------------------------------------------------------------------

_PAUSES = (1.0, 4.0)
"""Seconds before the second and the third attempt."""
_AWAY = 300.0
"""Seconds for which a network that was found away is not waited for again."""
_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)
# By name: three HTTP libraries may be behind a client, and none of them is imported here.
_PASSING = {
    "ConnectionError",
    "ConnectError",
    "ConnectTimeout",
    "ReadTimeout",
    "ReadError",
    "RemoteProtocolError",
    "ProxyError",
    "ChunkedEncodingError",
    "IncompleteRead",
    "URLError",
    "gaierror",
}
_found_away: list[float] = []


def retried(action: Callable[[], T], what: str) -> T:
    """Do something over the network in up to three attempts, with growing pauses between them.

    A network that was found away is not waited for again within five minutes: a table asks for the
    same model once for each row and seed.

    Args:
        action: What to do.
        what: What is asked for, for the message.

    Returns:
        T: What the action returns.

    Raises:
        Exception: What the last attempt raised; at once what another attempt would not mend.
    """

    def log(state: tenacity.RetryCallState) -> None:
        problem = _exception(state)
        first_line = next(iter(str(problem).splitlines()), "")[:200]
        pause = state.next_action.sleep if state.next_action else 0.0
        _log.warning("%s: %s: %s; again in %g s", what, type(problem).__name__, first_line, pause)

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_passing),
        wait=tenacity.wait_chain(*map(tenacity.wait_fixed, _PAUSES)),
        stop=lambda state: state.attempt_number > len(_PAUSES) or _is_away(),
        before_sleep=log,
        retry_error_callback=_give_up,
    )
    return attempts(action)


def _exception(state: tenacity.RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _is_away() -> bool:
    return bool(_found_away) and time.monotonic() - _found_away[0] < _AWAY


def _give_up(state: tenacity.RetryCallState) -> NoReturn:
    if not _is_away():
        _found_away[:] = [time.monotonic()]
    problem = _exception(state)
    assert problem is not None
    raise problem


def is_passing(problem: BaseException) -> bool:
    """Tell whether a network error may pass, so that another attempt may succeed."""
    chain: list[BaseException] = []
    below: BaseException | None = problem
    while below is not None:
        chain.append(below)
        below = below.__cause__ or below.__context__
    kinds = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if "OfflineModeIsEnabled" in kinds:
        return False  # the user said so
    codes = [code for code in map(_status, chain) if code is not None]
    if codes:
        return codes[0] in _PASSING_STATUS
    return bool(kinds & {*_PASSING, "TimeoutError"})


def _status(problem: BaseException) -> int | None:
    if isinstance(problem, HTTPError):
        return problem.code
    code = getattr(getattr(problem, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _unreachable(place: str, problem: Exception) -> UserError:
    """Turn whatever a network library raised into one line."""
    first_line = next(iter(str(problem).strip().splitlines()), "")
    return UserError(
        f"cannot get {place} ({type(problem).__name__}: {first_line})",
        mend="`make data` needs the network; run it where there is one, or copy the data root from "
        "such a machine",
    )


def fetch(url: str, target: Path, sha256: str | None = None) -> Path:
    """Download a file unless it is there already, and compare its sha256.

    Args:
        url: ``http``, ``https`` or ``file``.
        target: Where to put it.
        sha256: What it must have; ``None``: not known.

    Returns:
        Path: ``target``.

    Raises:
        UserError: If the network fails or the file is another one.
    """
    if not target.is_file():
        if not url.startswith(("https://", "http://", "file://")):
            raise UserError(f"cannot download {url}: expected http(s)://")
        with replacing(target) as temporary:
            try:
                retried(lambda: _stream(url, temporary), url)
            # What can go wrong is open-ended: name look-up, proxies, certificates, HTTP status.
            except Exception as problem:
                raise _unreachable(url, problem) from problem
    if sha256 is not None and (found := sha256_of(target)) != sha256:
        target.unlink()
        raise UserError(
            f"{url} has sha256 {found}, expected {sha256}: it was changed at its source"
        )
    return target


def _stream(url: str, target: Path) -> None:
    # The scheme was checked: only http, https and file come this far.
    request = Request(url, headers={"User-Agent": "sbert_repro"})  # noqa: S310
    with (
        urlopen(request, timeout=_TIMEOUT) as answer,  # noqa: S310
        target.open("wb") as out,
        Progress(transient=True) as bar,
    ):
        size = answer.headers.get("Content-Length")
        task = bar.add_task(url.rpartition("/")[2], total=int(size) if size else None)
        while chunk := answer.read(_CHUNK):
            out.write(chunk)
            bar.advance(task, len(chunk))


def member(path: Path, name: str) -> bytes:
    """Read one file of a tar archive; nothing of it is unpacked to disk.

    Args:
        path: The archive.
        name: The file in it, with its folders; what comes before those may differ.

    Returns:
        bytes: Its content.

    Raises:
        UserError: If it is not an archive or has no such file.
    """
    wanted = PurePosixPath(name).parts
    try:
        with tarfile.open(path) as archive:
            for info in archive:
                if info.isfile() and PurePosixPath(info.name).parts[-len(wanted) :] == wanted:
                    stream = archive.extractfile(info)
                    return b"" if stream is None else stream.read()
    except (tarfile.TarError, EOFError) as problem:
        raise UserError(
            "not a readable tar file", where=path, mend="delete it and download again"
        ) from problem
    raise UserError(f"no file {name} in the archive", where=path)


def _pinned(source: Source) -> Source:
    """Add the newest commit to a source on the Hub whose record names none."""
    if source.revision is not None or "://" in source.place:
        return source
    from huggingface_hub import HfApi

    try:
        about = retried(lambda: HfApi().dataset_info(source.place), source.place)
    # The Hub's client raises its own, its HTTP library's and the system's errors.
    except Exception as problem:
        raise _unreachable(source.place, problem) from problem
    return replace(source, revision=about.sha)


def _load_from_hub(source: Source) -> Any:
    # Imported here: readers of the data root need neither this library nor its seconds.
    import datasets
    from huggingface_hub.utils import logging as hub_logging

    # Its retries would be six lines before the one that says there is no network.
    hub_logging.set_verbosity_error()
    try:
        return datasets.load_dataset(
            source.place, source.config, split=source.part, revision=source.revision
        )
    # The library raises its own, its HTTP library's and the system's errors.
    except Exception as problem:
        raise _unreachable(source.place, problem) from problem


def _fetch_file(source: Source, downloads: Path) -> Path:
    url = source.place
    if "://" not in url:
        from huggingface_hub import hf_hub_url

        file = source.archive or source.part
        url = hf_hub_url(url, file, repo_type="dataset", revision=source.revision)
    # A name for each place and commit, so that a new pin is never answered with an old file.
    name = f"{(source.revision or 'unpinned')[:12]}-{url.rpartition('/')[2]}"
    return fetch(url, downloads / name, source.sha256)


# --- Other people's rows in our columns -----------------------------------------------------------


def _rows(source: Source, folder: Path, downloads: Path) -> pa.Table:
    if source.format == "by_hand":
        return csv_rows(folder / source.part, source)
    if source.format == "hub_table":
        return hub_rows(_load_from_hub(source), source)
    file = _fetch_file(source, downloads)
    read_file = partial(member, file) if source.archive else lambda _: file.read_bytes()
    convert = {"sts_folder": sts_rows, "lines": line_rows, "tsv": tsv_rows}[source.format]
    return convert(read_file, source)


def hub_rows(loaded: Any, source: Source) -> pa.Table:
    """Take our columns from one split of a data set of the Hub.

    Args:
        loaded: The split, as ``datasets.load_dataset`` returns it.
        source: Which columns, and what the class ids stand for.

    Returns:
        pa.Table: Our columns; class ids as labels, a negative id as ``-``.

    Raises:
        UserError: If a column is missing, or the Hub's class ids stand for something else.
    """
    _need(source, loaded.column_names, source.place)
    table = loaded.select_columns(list(source.columns.values())).with_format("arrow")[:]
    columns = {}
    for name, theirs in source.columns.items():
        column = table[theirs]
        if source.labels and pa.types.is_integer(column.type):
            declared = tuple(getattr(loaded.features[theirs], "names", source.labels))
            if declared != source.labels:
                raise UserError(
                    f"{theirs} stands for {declared}, not {source.labels}", where=source.place
                )
            ids = pc.if_else(pc.less(column, 0), len(declared), column).combine_chunks()
            column = pa.array([*declared, "-"], _TEXT).take(ids)
        columns[name] = column.cast(_TEXT) if pa.types.is_string(column.type) else column
    return _with_constants(columns, source)


def tsv_rows(read_file: Callable[[str], bytes], source: Source) -> pa.Table:
    """Read tab-separated rows below a header line; quotes are characters like any other.

    Args:
        read_file: Returns the bytes of a file by its name.
        source: The file and its columns.

    Returns:
        pa.Table: Our columns; ``score`` as float64, everything else as text.

    Raises:
        UserError: If a column is missing, a line is too short or a score is not a number.
    """
    header, *lines = _lines(read_file(source.part), source.part)
    places = {name: place for place, name in enumerate(header.split("\t"))}
    _need(source, list(places), source.part)
    wanted = {name: places[theirs] for name, theirs in source.columns.items()}
    cells: dict[str, list[str]] = {name: [] for name in wanted}
    for number, line in enumerate(lines, start=2):
        row = line.split("\t")
        if len(row) <= max(wanted.values()):
            raise UserError(
                f"{len(row)} of {len(places)} columns", where=f"{source.part}, line {number}"
            )
        for name, place in wanted.items():
            cells[name].append(row[place])
    return _with_constants(_columns(cells, source.part), source)


def sts_rows(read_file: Callable[[str], bytes], source: Source) -> pa.Table:
    """Read a year of STS: for each subset the pairs, and line by line the gold scores beside them.

    Pairs whose gold line is blank were not scored and are left out, as in SentEval.

    Args:
        read_file: Returns the bytes of a file by its name.
        source: The folder and its subsets.

    Returns:
        pa.Table: subset, sentence1, sentence2, score.

    Raises:
        UserError: If the two files of a subset differ in their number of lines, or a line is not a
            pair.
    """
    cells: dict[str, list[str]] = {"subset": [], "sentence1": [], "sentence2": [], "score": []}
    for subset in source.subsets:
        name = f"{source.part}/STS.input.{subset}.txt"
        pairs = _lines(read_file(name), name)
        gold = _lines(read_file(f"{source.part}/STS.gs.{subset}.txt"), name)
        # A file's last blank gold lines are lost with its final line breaks.
        gold += [""] * (len(pairs) - len(gold))
        if len(pairs) != len(gold):
            raise UserError(f"{len(pairs)} pairs for {len(gold)} gold scores", where=name)
        for number, (pair, score) in enumerate(zip(pairs, gold, strict=True), start=1):
            first, tab, rest = pair.partition("\t")
            if not tab:
                raise UserError("expected two sentences and a tab", where=f"{name}, line {number}")
            if score.strip():
                # Some years have more columns: where the sentences were found.
                row = (subset, first, rest.partition("\t")[0], score)
                for column, cell in zip(cells.values(), row, strict=True):
                    column.append(cell)
    return pa.table(_columns(cells, source.part))


def line_rows(read_file: Callable[[str], bytes], source: Source) -> pa.Table:
    """Read files of which each line is a row; empty lines are rows too.

    Args:
        read_file: Returns the bytes of a file by its name.
        source: The file, or a folder and its files; the pattern of a line.

    Returns:
        pa.Table: The named groups of the pattern, and the ``label`` of each file if files have one.

    Raises:
        UserError: If a line does not match the pattern.
    """
    files = [f"{source.part}/{name}" for name in source.subsets] or [source.part]
    rows: list[dict[str, str]] = []
    for place, name in enumerate(files):
        label = {"label": source.labels[place]} if source.labels else {}
        lines = _all_lines(read_file(name), name, source.encoding)
        for number, line in enumerate(lines, start=1):
            found = re.fullmatch(source.pattern, line)
            if found is None:
                raise UserError(f"expected {source.pattern}", where=f"{name}, line {number}")
            rows.append({key: text.strip() for key, text in found.groupdict().items()} | label)
    columns = {key: [row[key] for row in rows] for key in rows[0]} if rows else {}
    return pa.table({key: pa.array(texts, _TEXT) for key, texts in columns.items()})


def csv_rows(path: Path, source: Source) -> pa.Table:
    """Read a CSV with a header line that the user downloaded by hand.

    Args:
        path: The file.
        source: Its encoding; our column → the name of theirs, or its place where ``width`` is set.

    Returns:
        pa.Table: Our columns; ``score`` as float64, everything else as text without surrounding
        white space.

    Raises:
        UserError: If it has another encoding, lacks a column, or a line has another number of
            columns or a score that is not a number.
    """
    again = f"get the file again from {source.place}"
    reader = csv.reader(io.StringIO(_csv_text(path, source.encoding), newline=""), strict=True)
    cells: dict[str, list[str]] = {name: [] for name in source.columns}
    try:
        header = [name.strip() for name in next(reader, [])]
        if source.width is None:
            _need(source, header, path)
            places = {name: header.index(theirs) for name, theirs in source.columns.items()}
        elif len(header) != source.width:
            found = f"{len(header)} columns, expected {source.width}"
            raise UserError(found, where=path, mend=again)
        else:
            places = {name: int(place) for name, place in source.columns.items()}
        for row in filter(None, reader):
            if len(row) != len(header):
                found = f"{len(row)} columns, expected {len(header)}"
                raise UserError(found, where=f"{path}, line {reader.line_num}", mend=again)
            for name, place in places.items():
                cells[name].append(row[place].strip())
    except csv.Error as problem:
        where = f"{path}, line {reader.line_num}"
        raise UserError(f"not a CSV ({problem})", where=where, mend=again) from problem
    return _with_constants(_columns(cells, path), source)


def _csv_text(path: Path, encoding: str) -> str:
    raw = path.read_bytes()
    utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw
    if utf16 or raw.startswith(b"\xef\xbb\xbf"):
        found = "UTF-16" if utf16 else "UTF-8 with a byte order mark"
        raise UserError(
            f"the file is in {found}, expected {encoding.upper()} as it is published (saved again "
            f"by a spreadsheet?)",
            where=path,
            mend="get the file again",
        )
    try:
        if encoding != "utf-8" and not raw.isascii():
            # Read as ISO-8859-1, each accented letter of a UTF-8 file would become two characters.
            text = raw.decode("utf-8")
            _log.warning("%s is in UTF-8, not %s; read as UTF-8", path, encoding.upper())
            return text
    except UnicodeDecodeError:
        pass
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as problem:
        raise UserError(
            f"the file is not in {encoding.upper()} (byte {problem.start:,})",
            where=path,
            mend="get the file again",
        ) from problem


def _need(source: Source, found: Sequence[str], where: object) -> None:
    if missing := [theirs for theirs in source.columns.values() if theirs not in found]:
        raise UserError(
            f"no column {', '.join(missing)}; it has {', '.join(found) or 'none'}", where=where
        )


def _columns(cells: dict[str, list[str]], where: object) -> dict[str, pa.Array]:
    columns = {}
    for name, texts in cells.items():
        if name == "label":
            columns[name] = pa.array([text.strip().lower() for text in texts], _TEXT)
        elif name == "score":
            try:
                columns[name] = pa.array([float(text) for text in texts], pa.float64())
            except ValueError as problem:
                raise UserError(f"a score is not a number ({problem})", where=where) from problem
        else:
            columns[name] = pa.array(texts, _TEXT)
    return columns


def _with_constants(columns: dict[str, pa.Array], source: Source) -> pa.Table:
    table = pa.table(columns)
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
        raise UserError(f"not {encoding.upper()} text", where=where) from problem
    # Not splitlines: sentences may hold characters that Unicode counts as line breaks.
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
