"""Pre-trained word vectors: the published files, finding them, and a memory-mapped copy.

A text file is read once. Its numbers are then kept in one ``.npy`` file that is mapped, not loaded,
so that 2,000,000 words of 300 numbers need the memory of the words and of the vectors looked at.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import json
import logging
import lzma
import re
import sys
import warnings
import zipfile
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from pyarrow.parquet import read_table
from rich.progress import wrap_file
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.data.download import fetch, on_the_hub
from sbert_repro.data.npy import AppendedArray
from sbert_repro.data.packages import GLOVE_50D, Package
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.json_files import set_aside
from sbert_repro.storage import filling, lock, sha256_of, write_file

FOLDER = "word_vectors"
"""Where the files lie in the data root."""
FORMAT = 2
"""Part of the cache key: raise it when the same file would give other vectors."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A published file of word vectors.

    Attributes:
        name: The text file.
        archive: What it is downloaded as; it need not be unpacked.
        url: Where from.
        licence: Its terms.
        citation: Whom to cite.
        note: What a reader of a number must know.
        hub: A repository on the Hub that has the archive too, asked second; "" for none.
        width: Numbers of a word.
    """

    name: str
    archive: str
    url: str
    licence: str
    citation: str
    note: str
    hub: str = ""
    width: int = 300


_GLOVE_LICENCE = "Public Domain Dedication and License 1.0"
_GLOVE_CITATION = "Pennington et al. 2014, GloVe: Global vectors for word representation"
PUBLISHED = (
    Published(
        name="glove.6B.300d.txt",
        archive="glove.6B.zip",
        url="https://nlp.stanford.edu/data/glove.6B.zip",
        hub="stanfordnlp/glove",
        note=(
            "The paper does not say which GloVe file it averages; this is the one that the "
            "authors' own averaging model loads. 400,000 words, lower-cased."
        ),
        licence=_GLOVE_LICENCE,
        citation=_GLOVE_CITATION,
    ),
    Published(
        name="glove.840B.300d.txt",
        archive="glove.840B.300d.zip",
        url="https://nlp.stanford.edu/data/glove.840B.300d.zip",
        hub="stanfordnlp/glove",
        note="The file that SentEval and InferSent use: 2,196,017 words, with upper case.",
        licence=_GLOVE_LICENCE,
        citation=_GLOVE_CITATION,
    ),
    Published(
        name="crawl-300d-2M.vec",
        archive="crawl-300d-2M.vec.zip",
        url="https://dl.fbaipublicfiles.com/fasttext/vectors-english/crawl-300d-2M.vec.zip",
        licence="CC BY-SA 3.0",
        citation="Mikolov et al. 2018, Advances in pre-training distributed word representations",
        note="Words only, no sub-word units: a word that is not in the file has no vector.",
    ),
)
"""Files that have a known source; any other file is found by its path."""

PACKAGED: dict[str, Package] = {"glove.6B.50d": GLOVE_50D}
"""Names of vectors that a package holds as an array ``[V, D]`` and a column of its ``V`` words."""


@dataclass(frozen=True)
class Place:
    """Where some word vectors lie: a text, or an array with its words beside it.

    Attributes:
        file: The file on the disk.
        member: The text's name in it, if it is a zip archive.
        words: The Parquet file of the words, if ``file`` is an array.
    """

    file: Path
    member: str | None = None
    words: Path | None = None

    @property
    def name(self) -> str:
        """The name of the text, without folders."""
        return Path(str(self)).name

    def __str__(self) -> str:
        """Return the path of the text, that of its archive included."""
        return str(self.file if self.member is None else self.file / self.member)


def find(path: str, folders: list[Path]) -> Place:
    """Find a file of word vectors, packed or not.

    Args:
        path: A file (``.txt``, ``.vec``, each also with ``.gz``), ``ARCHIVE.zip`` that holds one
            such file, ``ARCHIVE.zip/MEMBER``, the name of any of these in one of ``folders``, or a
            name from ``PACKAGED``.
        folders: Where to look for what is no path by itself.

    Returns:
        The text.

    Raises:
        UserError: If it is nowhere (code ``missing``); says where to get it.
    """
    if path in PACKAGED:
        array, words = PACKAGED[path].files()
        return Place(array, words=words)
    given = Path(path).expanduser()
    published = next((known for known in PUBLISHED if known.name == given.name), None)
    for folder in [Path(), *folders]:
        wanted = folder / given
        for file in (wanted, wanted.with_name(f"{wanted.name}.gz")):
            if file.is_file():
                return _inside(file, None)
        if wanted.parent.suffix == ".zip" and wanted.parent.is_file():
            return _inside(wanted.parent, wanted.name)
        if published and (archive := wanted.with_name(published.archive)).is_file():
            return _inside(archive, published.name)
    mend = "name a text file of word vectors (.txt, .vec, .gz or .zip)"
    if published:
        mend = (
            f"download {published.url} to {FOLDER}/ of the data root (it need not be unpacked); "
            "`make data` does so"
        )
    raise UserError(
        f"the word vectors {given.name} are not on this machine",
        where=folders[0] if published and folders else f"encoder.path={path}",
        mend=mend,
        code="missing",
    )


def download(published: Published, root: Path) -> str:
    """Download a published file into the data root, packed as it is.

    Args:
        published: The file.
        root: The data root.

    Returns:
        A line that says what was done.

    Raises:
        UserError: If the network fails, or what came is damaged or another file.
    """
    folder = root / FOLDER
    unpacked = [folder / published.name, folder / f"{published.name}.gz"]
    if found := next((file for file in unpacked if file.is_file()), None):
        return f"{found}: already there"
    archive = folder / published.archive
    if archive.is_file():
        _inside(archive, published.name)
        return f"{archive}: {published.name}, already there"
    try:
        _fetch(published, archive)
        width = _width(_inside(archive, published.name))
        if width != published.width:
            raise UserError(
                f"{published.name} has {width} numbers a word, expected {published.width}",
                where=archive,
                mend="get it again",
            )
    except UserError:
        archive.unlink(missing_ok=True)
        raise
    return f"{archive}: {published.name}"


def _fetch(published: Published, archive: Path) -> None:
    try:
        fetch(published.url, archive)
    except UserError as first:
        if not published.hub:
            raise
        _log.warning("%s; asking the Hub for %s", first.found, published.hub)
        url, sha256 = on_the_hub(published.hub, published.archive, None, "model")
        fetch(url, archive, sha256)


def _width(place: Place) -> int:
    """Count the numbers of a word, and read to the end, where an archive's checksum is compared."""
    with _opened(place, progress=True) as stream:
        _, values = next(read_text(stream, str(place)))
        while stream.read(1 << 20):
            pass
    return int(values.shape[1])


def _inside(file: Path, member: str | None) -> Place:
    """Name the text that a file holds: the file itself unless it is an archive."""
    if file.suffix != ".zip":
        return Place(file)
    try:
        with zipfile.ZipFile(file) as archive:
            found = [n for n in archive.namelist() if n.endswith((".txt", ".vec"))]
    except (zipfile.BadZipFile, OSError) as problem:
        raise UserError(
            f"not a readable zip archive ({problem})", where=file, mend="get it again"
        ) from problem
    matching = [name for name in found if member is None or Path(name).name == member]
    if len(matching) == 1:
        return Place(file, matching[0])
    raise UserError(
        f"holds {', '.join(found) or 'no .txt or .vec file'}",
        where=file,
        mend=f"say which as encoder.path={file}/NAME",
    )


@dataclass(frozen=True)
class WordVectors:
    """Vectors of ``V`` words.

    Attributes:
        index: Word → row.
        values: Vectors ``[V, D]``, mapped from the disk.
        sha256: Of the text, unpacked, so that an archive and its content are the same vectors; of
            the files' own sha256 where a package holds them.
        facts: Rows that were left out, and why.
    """

    index: dict[str, int]
    values: NDArray[np.float32]
    sha256: str
    facts: list[Fact]

    @functools.cached_property
    def lowercase(self) -> bool:
        """Whether no word has a capital letter."""
        return all(word == word.lower() for word in self.index)


def load(place: Place, cache: Path, *, progress: bool = True) -> WordVectors:
    """Open word vectors, after converting their file when it is met for the first time.

    Args:
        place: The file.
        cache: Folder of all caches.
        progress: Draw a bar while converting, where there is a terminal.

    Returns:
        All words of the file.

    Raises:
        UserError: If the file is not what it should be or the cache cannot be written.
    """
    if place.words is not None:
        return _of_package(place.file, place.words)
    settings = f"{FORMAT} {sha256_of(place.file)} {place.member}"
    folder = cache / "word_vectors" / hashlib.sha256(settings.encode()).hexdigest()[:16]
    if (found := _kept(place, folder)) is None:
        with lock(folder.with_suffix(".lock"), f"the conversion of {place}"):
            if (found := _kept(place, folder)) is None:
                _log.info("%s: read once, then kept in %s", place, folder)
                with filling(folder) as unfinished:
                    _convert(place, unfinished, progress)
                found = _kept(place, folder)
    assert found is not None, "what was just written can be read"
    return found


class _Description(TypedDict):
    sha256: str
    width: int
    words: int
    words_sha256: str
    vectors_repeated: int
    vectors_unreadable: int


def _kept(place: Place, folder: Path) -> WordVectors | None:
    """Open what was converted; what is damaged is set aside and counts as missing."""
    if not folder.is_dir():
        return None
    try:
        said = json_files.read(folder / "description.json", _Description)
        listed, flat = (
            (folder / "words.txt").read_bytes(),
            np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False),
        )
        if hashlib.sha256(listed).hexdigest() != said["words_sha256"]:
            raise ValueError("words.txt was changed")
        # Split at line feeds alone: some words hold what `splitlines` takes for the end of a line.
        words = listed.decode().split("\n")
        if flat.dtype != np.float32 or flat.shape != (len(words) * said["width"],):
            raise ValueError(f"vectors.npy holds {flat.dtype} {flat.shape}")
    except (UserError, OSError, ValueError, EOFError) as problem:
        set_aside(folder, f"not readable ({problem})", f"{place.name} is converted again")
        return None
    return WordVectors(
        index={word: row for row, word in enumerate(words)},
        values=flat.reshape(len(words), said["width"]),
        sha256=said["sha256"],
        facts=[
            fact(code, file=place.name, count=count)
            for code, count in (
                ("vectors_repeated", said["vectors_repeated"]),
                ("vectors_unreadable", said["vectors_unreadable"]),
            )
            if count
        ],
    )


def _of_package(array: Path, words: Path) -> WordVectors:
    digest = hashlib.sha256(f"{sha256_of(array)}{sha256_of(words)}".encode()).hexdigest()
    return _read_package(array, words, digest)


@functools.lru_cache(maxsize=1)  # every run of a table asks for the same ones
def _read_package(array: Path, words: Path, digest: str) -> WordVectors:
    column = read_table(words, columns=["index"])["index"].to_pylist()
    values = np.load(array, mmap_mode="r", allow_pickle=False)
    return WordVectors({word: row for row, word in enumerate(column)}, values, digest, [])


def _convert(place: Place, folder: Path, progress: bool) -> None:
    digest = hashlib.sha256()
    kept: dict[str, None] = {}
    repeated = unreadable = width = 0

    def hashed(stream: IO[bytes]) -> Iterator[bytes]:
        for line in stream:
            digest.update(line)
            yield line

    with (
        AppendedArray(folder / "vectors.npy", np.float32) as out,
        _opened(place, progress) as stream,
    ):
        for words, values in read_text(hashed(stream), str(place)):
            chosen = []
            for row, raw in enumerate(words):
                try:
                    word = raw.decode()
                except UnicodeDecodeError:
                    word = ""  # no sentence could ever hold it
                if not word:
                    unreadable += 1
                elif word in kept:
                    # Files are sorted by frequency: the first row was seen more often in training.
                    repeated += 1
                else:
                    kept[word] = None
                    chosen.append(row)
            out.append(values[chosen].ravel())
            width = values.shape[1]
    if not kept:
        raise UserError("holds no word", where=place, mend="get the file again")
    listed = "\n".join(kept).encode()
    write_file(folder / "words.txt", listed)
    description: _Description = {
        "sha256": digest.hexdigest(),
        "width": width,
        "words": len(kept),
        "words_sha256": hashlib.sha256(listed).hexdigest(),
        "vectors_repeated": repeated,
        "vectors_unreadable": unreadable,
    }
    write_file(folder / "description.json", json.dumps(description))


def _member(raw: BinaryIO, place: Place) -> IO[bytes]:
    try:
        return zipfile.ZipFile(raw).open(str(place.member))
    except (RuntimeError, KeyError) as problem:  # zipfile's kinds, NotImplementedError among them
        raise UserError(
            f"cannot be unpacked ({problem})",
            where=place,
            mend="unpack the archive by hand, and name the text file in it",
        ) from problem


@contextlib.contextmanager
def _opened(place: Place, progress: bool) -> Iterator[IO[bytes]]:
    """Open the text of a file, unpacked."""
    try:
        with contextlib.ExitStack() as stack:
            raw: BinaryIO = stack.enter_context(place.file.open("rb"))
            if progress and sys.stderr.isatty():
                size = place.file.stat().st_size
                raw = stack.enter_context(wrap_file(raw, size, description=place.name))
            if place.member is not None:
                yield stack.enter_context(_member(raw, place))
            elif place.file.suffix == ".gz":
                yield cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=raw)))
            else:
                yield raw
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as problem:
        raise UserError(
            f"the file is damaged ({problem})", where=place, mend="get it again"
        ) from problem
    except (FileNotFoundError, PermissionError, IsADirectoryError) as problem:
        raise UserError(f"cannot be read: {problem.strerror}", where=place) from problem


_AT_ONCE = 4096
_HEADER = re.compile(rb"(\d+) (\d+) ?")
_NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def read_text(
    lines: Iterable[bytes], where: str
) -> Iterator[tuple[list[bytes], NDArray[np.float32]]]:
    """Read the text format of word vectors, a few thousand rows at a time, and check every row.

    A row is a word and its numbers, separated by single spaces. GloVe's files (``.txt``) hold
    nothing else; fastText's (``.vec``) start with a line that gives the number of rows and of
    numbers in a row.

    Args:
        lines: The file's lines.
        where: The file, for messages.

    Yields:
        Words ``[n]`` and their vectors ``[n, D]``, in the order of the file; ``D`` is the same for
        all.

    Raises:
        UserError: If a row is short, long or holds anything but numbers, or if there are more or
            fewer rows than the header says; names the line.
    """
    again = "get the file again"
    numbered = _numbered(lines)
    first = next(numbered, None)
    if first is None:
        raise UserError("the file is empty", where=where, mend=again)
    promised = None
    if header := _HEADER.fullmatch(first[1]):
        promised, width = int(header[1]), int(header[2])
    else:
        # Counted from the right, because a word of GloVe's 840B file may hold spaces itself.
        width = len(list(takewhile(_is_number, reversed(first[1].split(b" ")[1:]))))
        numbered = chain([first], numbered)
    if width == 0:
        raise UserError(
            f"found {_shown(first[1])}, expected a word and its numbers (GloVe's .txt) or two "
            "whole numbers (fastText's .vec)",
            where=f"{where}, line 1",
        )
    found = 0
    while block := list(islice(numbered, _AT_ONCE)):
        found += len(block)
        split = [_word_and_numbers(line, width, where) for line in block]
        values = _parsed(b" ".join(numbers for _, numbers in split))
        if values is None or len(values) != len(block) * width:
            raise _bad_number(block, split, where)
        yield [word for word, _ in split], values.reshape(len(block), width)
    if promised is not None and found != promised:
        raise UserError(
            f"holds {found:,} rows, but its first line says {promised:,} (cut off?)",
            where=where,
            mend=again,
        )


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Number the lines from 1, without their ends; an empty line at the very end is left out."""
    last = None
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(BOM_UTF8)  # else it would be part of the first word
        if last is not None:
            yield last
        last = number, line.rstrip(b" \r\n")
    if last is not None and last[1]:
        yield last


def _word_and_numbers(line: tuple[int, bytes], width: int, where: str) -> tuple[bytes, bytes]:
    number, text = line
    fields = text.rsplit(b" ", width)
    _, space, last = fields[0].rpartition(b" ")
    if len(fields) <= width or (space and _is_number(last)):
        found = text.count(b" ")
        word = text.partition(b" ")[0]
        raise UserError(
            f"{_shown(word)} has {found} numbers, expected {width}",
            where=f"{where}, line {number:,}",
            mend="get the file again",
        )
    return fields[0], text[len(fields[0]) + 1 :]


def _parsed(text: bytes) -> NDArray[np.float32] | None:
    """Parse numbers; ``None`` where one is none. NaN and infinity are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = np.fromstring(text, dtype=np.float32, sep=" ")
        except (ValueError, DeprecationWarning):
            return None
    return values if np.isfinite(values).all() else None


def _bad_number(
    block: list[tuple[int, bytes]], split: list[tuple[bytes, bytes]], where: str
) -> UserError:
    for (number, _), (word, numbers) in zip(block, split, strict=True):
        for place, field in enumerate(numbers.split(b" "), 1):
            if not _is_number(field):
                return UserError(
                    f"value {place} of {_shown(word)} is {_shown(field)}, expected a number",
                    where=f"{where}, line {number:,}",
                    mend="get the file again",
                )
    return UserError(
        "a number is too large",
        where=f"{where}, lines {block[0][0]:,} to {block[-1][0]:,}",
        mend="get the file again",
    )


def _shown(text: bytes) -> str:
    return repr(text[:40].decode(errors="replace"))


def _is_number(field: bytes) -> bool:
    return _NUMBER.fullmatch(field) is not None
