"""Which word vectors the paper used, where to get them, and finding them on the disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sbert_repro.data.download import fetch
from sbert_repro.errors import UserError

FOLDER = "word_vectors"
"""Where they lie in the data root."""


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
        in_tables: A row of the paper's tables is run with it, so `make data` gets it.
    """

    name: str
    archive: str
    url: str
    licence: str
    citation: str
    note: str
    in_tables: bool = True


_GLOVE_LICENCE = "Public Domain Dedication and License 1.0"
_GLOVE_CITATION = "Pennington et al. 2014, GloVe: Global vectors for word representation"
PUBLISHED = (
    Published(
        name="glove.6B.300d.txt",
        archive="glove.6B.zip",
        url="https://nlp.stanford.edu/data/glove.6B.zip",
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
        note="The file that SentEval and InferSent use: 2,196,017 words, with upper case.",
        in_tables=False,
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


@dataclass(frozen=True)
class Place:
    """Where the text of some word vectors lies.

    Attributes:
        file: The file on the disk.
        member: The text's name in it, if it is a zip archive.
    """

    file: Path
    member: str | None = None

    @property
    def shown(self) -> Path:
        """The text as messages name it."""
        return self.file if self.member is None else self.file / self.member

    def __str__(self) -> str:
        """Give the path that messages name."""
        return str(self.shown)


def find(path: str, folders: list[Path]) -> Place:
    """Find a file of word vectors, packed or not.

    Args:
        path: A file (``.txt``, ``.vec``, each also with ``.gz``), ``ARCHIVE.zip`` that holds one
            such file, ``ARCHIVE.zip/MEMBER``, or the name of any of these in one of ``folders``.
        folders: Where to look for what is no path by itself.

    Returns:
        Place: The text.

    Raises:
        UserError: If it is nowhere; says where it was looked for and where to download it.
    """
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
    searched = ", ".join(str(folder) for folder in folders) or "no other folder"
    if published is None:
        raise UserError(
            f"encoder.path={path}: no such file, nor in {searched}; expected word vectors as text "
            "(.txt, .vec, .gz or .zip)"
        )
    raise UserError(
        f"word vectors {path} are not there, nor in {searched}: download {published.url} to "
        f"{folders[0] if folders else '.'}/{published.archive} (it need not be unpacked); `make "
        "data` does that for those of the paper's tables"
    )


def download(root: Path) -> Iterator[str]:
    """Bring the files that rows of the tables need into the data root, packed as they are.

    Args:
        root: The data root.

    Yields:
        str: One line a file: what was done.

    Raises:
        UserError: If the network fails, or what came does not hold the file.
    """
    folder = root / FOLDER
    for published in PUBLISHED:
        if not published.in_tables:
            continue
        known = [folder / published.name, folder / f"{published.name}.gz"]
        if found := next((file for file in known if file.is_file()), None):
            yield f"{found}, already there"
            continue
        archive = folder / published.archive
        there = archive.is_file()
        try:
            _inside(fetch(published.url, archive), published.name)
        except UserError:
            if not there:
                archive.unlink(missing_ok=True)
            raise
        yield f"{archive}: {published.name}{', already there' if there else ''}"


def _inside(file: Path, member: str | None) -> Place:
    """Name the text that a file holds, which is the file itself unless it is an archive."""
    if file.suffix != ".zip":
        return Place(file)
    try:
        with zipfile.ZipFile(file) as archive:
            found = [n for n in archive.namelist() if n.endswith((".txt", ".vec"))]
    except (zipfile.BadZipFile, OSError) as problem:
        raise UserError(f"{file} is no readable zip archive ({problem}): get it again") from problem
    matching = [name for name in found if member is None or Path(name).name == member]
    if len(matching) == 1:
        return Place(file, matching[0])
    raise UserError(
        f"{file} holds {', '.join(found) or 'no .txt or .vec file'}: say which as "
        f"encoder.path={file}/NAME"
    )
