"""Fill a data root from the sources of each data set, and tell what state a data root is in.

Every split is checked row by row before it is put in place. Beside the files of a data set lies
``SOURCE.json``: where each split came from (with the commit that was taken), under which licence,
how many rows it has, of how many, and the sha256 of our file. A split that is there and is what
``SOURCE.json`` says is not downloaded again.

``HF_ENDPOINT`` names another address of the Hub. ``SBERT_MIRROR=http://…`` does the same for every
other site: ``https://HOST/PATH`` is then asked for as ``<mirror>/HOST/PATH``.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import lzma
import os
import re
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NoReturn, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tenacity
from rich.progress import Progress
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.data.read import check, read, split_path
from sbert_repro.data.schema import DataSet, Source, dataset, names
from sbert_repro.errors import UserError
from sbert_repro.storage import replacing, sha256_of, write_file

SOURCE_FILE = "SOURCE.json"
MIRROR = "SBERT_MIRROR"
BY_HAND = "by_hand"
"""The code of the error that says: nobody but the user can fetch this."""
_HUB = "https://huggingface.co"
_DOWNLOADS = ".downloads"
_SHA256 = re.compile("[0-9a-f]{64}")
_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds
_DAMAGED_TAR = (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error)
"""What tarfile and the three kinds of compression raise for a damaged file."""
# Text is stored with 64-bit offsets: NLI's texts together come near what 32 bits can count.
_TEXT = pa.large_string()

Status = Literal["complete", "partial", "missing", "unreadable", "changed"]
BROKEN: tuple[Status, ...] = ("unreadable", "changed")
T = TypeVar("T")
_log = logging.getLogger(__name__)


def download(record: DataSet, root: Path, *, allow_partial: bool = False) -> Iterator[str]:
    """Bring every split of a data set into the data root.

    Args:
        record: The data set.
        root: The data root; archives are kept in ``<root>/.downloads`` for the next data set.
        allow_partial: Keep a split with another number of rows than the record's.

    Yields:
        str: One line per split: what was done.

    Raises:
        UserError: If the network fails, or what came is not what the record says; nothing of that
            split is then written. Code ``by_hand`` where files have to be fetched by the user.
    """
    for split, expected in record.splits.items():
        path = split_path(record, root, split)
        if is_complete(record, root, split, allow_partial=allow_partial):
            written = written_down(path).get(split)  # nothing for a file from elsewhere
            counted = f"{_counted(record, split, written['rows'])}, " if written else ""
            yield f"{path}: {counted}already there"
            continue
        sources = [source for source in record.sources if source.split == split]
        by_hand = [source for source in sources if source.format == "by_hand"]
        if absent := [s.part for s in by_hand if not path.with_name(s.part).is_file()]:
            raise UserError(
                f"{record.title} has to be fetched by hand",
                mend=f"put {', '.join(absent)} from {by_hand[0].place} into {path.parent}, as "
                "published, then run `make data` again",
                code=BY_HAND,
            )
        sources = [_pinned(source) for source in sources]
        table = _mixed([_rows(source, path.parent, root / _DOWNLOADS) for source in sources])
        place = sources[0].place
        rows = check(record, table, f"{record.name} {split} from {place}")
        if len(rows) != expected and not (record.round_number or allow_partial):
            raise UserError(
                f"{place} gives {len(rows):,} of {expected:,} {record.unit}; it was changed at its "
                f"source, nothing was written",
                where=f"{record.name} {split}",
                mend="use allow_partial=true to keep it all the same",
            )
        kept = ""
        if path.is_file():  # not the complete set, but it may be someone's own choice of rows
            aside = path.replace(path.with_name(f"{path.name}.old"))
            kept = f", what was there is now {aside.name}"
        with replacing(path) as temporary:
            pq.write_table(table, temporary)
            # Before the file is in its place: killed in between, it is seen that it is not there.
            _write_down(record, path, sources, len(rows), rows.dropped, sha256_of(temporary))
        yield f"{path}: {_counted(record, split, len(rows))}{kept}"


def _counted(record: DataSet, split: str, rows: int) -> str:
    """Say how many rows there are, and of how many where these are not all."""
    expected = record.splits[split]
    if rows == expected or record.round_number:
        return f"{rows:,} {record.unit}"
    return f"{rows:,} of {expected:,} {record.unit}, a part of the set"


def is_complete(record: DataSet, root: Path, split: str, *, allow_partial: bool = False) -> bool:
    """Tell whether a split is there, complete, and unchanged since it was downloaded.

    A file that cannot be read is not; it is then replaced.

    Args:
        record: The data set.
        root: The data root.
        split: The split.
        allow_partial: Be content with another number of rows than the record's.

    Returns:
        bool: Whether it need not be downloaded.
    """
    path = split_path(record, root, split)
    if not path.is_file():
        return False
    written = written_down(path).get(split)
    if written is not None:
        enough = record.round_number or allow_partial or written["rows"] == record.splits[split]
        return bool(enough and written["sha256"] == sha256_of(path))
    try:
        read(record, root, split, allow_partial=allow_partial)
    except UserError:
        return False
    return True


class _Split(TypedDict):
    rows: int
    sha256: str


class _SourceFile(TypedDict):
    splits: dict[str, _Split]


def written_down(path: Path) -> dict[str, Any]:
    """Read what ``SOURCE.json`` says about the files beside a split.

    Args:
        path: The split's file.

    Returns:
        dict[str, Any]: Split → rows, sha256, sources; empty where nothing was downloaded.
    """
    try:
        return dict(json_files.read(path.with_name(SOURCE_FILE), _SourceFile)["splits"])
    except UserError as problem:
        if problem.code != "missing":  # it may be somebody else's
            _log.warning("%s; the files beside it are looked at one by one", problem)
        return {}


def _write_down(
    record: DataSet, path: Path, sources: list[Source], rows: int, dropped: int, sha256: str
) -> None:
    splits = written_down(path)
    splits[path.stem] = {
        "rows": rows,
        "rows_expected": record.splits[path.stem],
        "without_gold_label": dropped,
        "sha256": sha256,
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

_PAUSES = (1.0, 2.0, 4.0)
"""Seconds before the next attempts; the last one is for a host that answers, if only "busy"."""
_AWAY = 300.0
"""Seconds for which a host that was found away is not waited for again."""
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
_found_away: dict[str, float] = {}
"""Host → when it was found away; what is not an address is asked of the Hub."""


def retried(action: Callable[[], T], what: str) -> T:
    """Do something over the network in a few attempts, with growing pauses between them.

    A host that answers has four attempts, any other three; one that was found away is not waited
    for again within five minutes: a table asks for the same model once for each row and seed.

    Args:
        action: What to do.
        what: What is asked for: an address, or an id on the Hub.

    Returns:
        T: What the action returns.

    Raises:
        Exception: What the last attempt raised; at once what another attempt would not mend.
    """
    host = urlsplit(what).hostname or "the Hub"

    def is_away() -> bool:
        return time.monotonic() - _found_away.get(host, -_AWAY) < _AWAY

    def pause(state: tenacity.RetryCallState) -> float:
        planned = _PAUSES[min(state.attempt_number, len(_PAUSES)) - 1]
        return max(planned, _asked_to_wait(_exception(state)))

    def log(state: tenacity.RetryCallState) -> None:
        problem = _exception(state)
        first_line = next(iter(str(problem).splitlines()), "")[:200]
        seconds = state.next_action.sleep if state.next_action else 0.0
        _log.warning("%s: %s: %s; again in %g s", what, type(problem).__name__, first_line, seconds)

    def give_up(state: tenacity.RetryCallState) -> NoReturn:
        problem = _exception(state)
        assert problem is not None
        if not (is_away() or _answered(problem)):
            _found_away[host] = time.monotonic()
        raise problem

    def stop(state: tenacity.RetryCallState) -> bool:
        answered = _answered(_exception(state))
        return is_away() or state.attempt_number > len(_PAUSES) - (0 if answered else 1)

    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_passing),
        wait=pause,
        stop=stop,
        before_sleep=log,
        retry_error_callback=give_up,
    )
    return attempts(action)


def _exception(state: tenacity.RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _answered(problem: BaseException | None) -> bool:
    """Tell whether a host is there, whatever it answers."""
    chain = [] if problem is None else _chain(problem)
    return any(isinstance(one, CutShort) or _status(one) for one in chain)


class CutShort(ConnectionError):
    """An answer that ends too early; urllib takes it for a whole one."""


def _asked_to_wait(problem: BaseException | None) -> float:
    """Return the seconds that a busy server asked for, 0 where it did not."""
    seconds = problem.headers.get("Retry-After", "") if isinstance(problem, HTTPError) else ""
    return min(float(seconds), _AWAY) if seconds.isdecimal() else 0.0


def _chain(problem: BaseException) -> list[BaseException]:
    """Return an exception and what it was raised from."""
    found: list[BaseException] = []
    below: BaseException | None = problem
    while below is not None:
        found.append(below)
        below = below.__cause__ or below.__context__
    return found


def is_passing(problem: BaseException) -> bool:
    """Tell whether a network error may pass, so that another attempt may succeed."""
    chain = _chain(problem)
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


def mirrored(url: str) -> str:
    """Return the address in the mirror that ``SBERT_MIRROR`` names, if it names one.

    Args:
        url: Any address; the Hub's own stay, since ``HF_ENDPOINT`` moves those.

    Returns:
        str: ``<mirror>/HOST/PATH`` for ``https://HOST/PATH``.
    """
    mirror, hub = os.environ.get(MIRROR), os.environ.get("HF_ENDPOINT") or _HUB
    if not mirror or not url.startswith("https://") or url.startswith(f"{hub.rstrip('/')}/"):
        return url
    return f"{mirror.rstrip('/')}/{url.removeprefix('https://')}"


def fetch(url: str, target: Path, sha256: str | None = None) -> Path:
    """Download a file unless it is there already, and compare its sha256.

    Args:
        url: ``http``, ``https`` or ``file``; see `mirrored`.
        target: Where to put it.
        sha256: What it must have; ``None``: not known.

    Returns:
        Path: ``target``.

    Raises:
        UserError: If the network fails or the file is another one; nothing is then written.
    """
    if target.is_file() and (sha256 is None or sha256_of(target) == sha256):
        return target
    if not url.startswith(("https://", "http://", "file://")):
        raise UserError(f"cannot download {url}: expected http(s)://")
    with replacing(target) as temporary:
        try:
            retried(lambda: _stream(mirrored(url), temporary), url)
        # What can go wrong is open-ended: name look-up, proxies, certificates, HTTP status.
        except Exception as problem:
            raise _unreachable(url, problem) from problem
        if sha256 is not None and (found := sha256_of(temporary)) != sha256:
            raise UserError(
                f"{url} has sha256 {found}, expected {sha256}: it was changed at its source"
            )
    return target


def _stream(url: str, target: Path) -> None:
    """Download to ``target``, going on from what an earlier attempt left there."""
    there = target.stat().st_size if target.is_file() else 0
    wanted = {"Range": f"bytes={there}-"} if there else {}
    # The scheme was checked: only http, https and file come this far.
    request = Request(url, headers={"User-Agent": "sbert_repro", **wanted})  # noqa: S310
    with (
        urlopen(request, timeout=_TIMEOUT) as answer,  # noqa: S310
        Progress(transient=True, disable=not sys.stdout.isatty()) as bar,
    ):
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            there = 0
        size = answer.headers.get("Content-Length")
        total = there + int(size) if size else None
        task = bar.add_task(url.rpartition("/")[2], total=total, completed=there)
        with target.open("ab" if there else "wb") as out:
            while chunk := answer.read(_CHUNK):
                out.write(chunk)
                bar.advance(task, len(chunk))
            found = out.tell()
    if total is not None and found != total:
        raise CutShort(f"{found:,} of {total:,} bytes came")


def on_the_hub(
    place: str, file: str, revision: str | None, kind: Literal["dataset", "model"] = "dataset"
) -> tuple[str, str | None]:
    """Ask the Hub for the address of a file and for its sha256.

    Args:
        place: Id of the repository.
        file: The file in it.
        revision: The commit.
        kind: What the repository holds.

    Returns:
        tuple[str, str | None]: The sha256 is that of a large file; of a small one none is known.

    Raises:
        UserError: If the Hub does not answer, or has no such file.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(place, file, repo_type=kind, revision=revision)
    try:
        etag = retried(lambda: get_hf_file_metadata(url), url).etag or ""
    # The Hub's client raises its own, its HTTP library's and the system's errors.
    except Exception as problem:
        raise _unreachable(url, problem) from problem
    return url, etag if _SHA256.fullmatch(etag) else None


def check_hub_cache(place: str, kind: Literal["dataset", "model"]) -> None:
    """Compare the large files that came from a repository of the Hub with their sha256.

    The Hub's cache names each by the sha256 that the Hub gave for it, and never looks again.

    Args:
        place: Id of the repository.
        kind: What the repository holds.

    Raises:
        UserError: If one is not what its name says; it is deleted.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    blobs = Path(HF_HUB_CACHE) / f"{kind}s--{place.replace('/', '--')}" / "blobs"
    for blob in sorted(blobs.glob("*")):
        if _SHA256.fullmatch(blob.name) and (found := sha256_of(blob)) != blob.name:
            blob.unlink()
            raise UserError(
                f"a file of {place} has sha256 {found}, expected {blob.name}; it was deleted",
                mend="run `make data` again",
            )


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
    except _DAMAGED_TAR as problem:
        raise UserError(
            f"not a readable tar file ({problem})", where=path, mend="delete it and download again"
        ) from problem
    raise UserError(
        f"no file {name} in the archive", where=path, mend="delete it and download again"
    )


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
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()

    def load() -> Any:
        return datasets.load_dataset(
            source.place, source.config, split=source.part, revision=source.revision
        )

    try:
        loaded = retried(load, source.place)
    # The library raises its own, its HTTP library's and the system's errors.
    except Exception as problem:
        check_hub_cache(source.place, "dataset")  # a file of other bytes could not be read
        raise _unreachable(source.place, problem) from problem
    check_hub_cache(source.place, "dataset")
    return loaded


def _fetch_file(source: Source, downloads: Path) -> Path:
    file = source.archive or source.part
    # A name for each place and commit, so that a new pin is never answered with an old file.
    target = downloads / f"{(source.revision or 'unpinned')[:12]}-{file.rpartition('/')[2]}"
    if "://" in source.place:
        return fetch(source.place, target, source.sha256)
    if target.is_file():
        return target
    url, promised = on_the_hub(source.place, file, source.revision)
    return fetch(url, target, source.sha256 or promised)


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
    header, *lines = _lines(read_file(source.part), source.part) or [""]
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
    # Not strict: AFS has quotes inside quoted texts. A line that they break has another width.
    reader = csv.reader(io.StringIO(_csv_text(path, source.encoding), newline=""))
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
