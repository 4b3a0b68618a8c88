"""Files from the network: whole and as expected, or not there."""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath
from urllib.request import Request, urlopen

from rich.progress import Progress

from sbert_repro.errors import UserError
from sbert_repro.retries import retried
from sbert_repro.storage import replacing, sha256_of

_CHUNK = 1 << 20
_SECONDS = 60


def unreachable(place: str, problem: Exception) -> UserError:
    """Turn whatever a network library raised into one line.

    Args:
        place: What was asked for.
        problem: What was raised.

    Returns:
        UserError: The error to raise.
    """
    lines = str(problem).strip().splitlines() or [""]
    return UserError(
        f"cannot get {place} ({type(problem).__name__}: {lines[0]}): `make data` needs the "
        f"network; run it where there is one, or copy the data root from such a machine"
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
                raise unreachable(url, problem) from problem
    if sha256 is not None and (found := sha256_of(target)) != sha256:
        target.unlink()
        raise UserError(
            f"{url} has sha256 {found}, expected {sha256}: it was changed at its source"
        )
    return target


def member(path: Path, name: str) -> bytes:
    """Read one file of an archive; nothing of it is unpacked to disk.

    Args:
        path: A tar file.
        name: The file in it, with its folders; folders before those may differ.

    Returns:
        bytes: Its content.

    Raises:
        UserError: If it is no archive or has no such file.
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
            f"{path} is no readable tar file: delete it and download again"
        ) from problem
    raise UserError(f"{path} holds no file {name}")


def _stream(url: str, target: Path) -> None:
    # The scheme was checked: only http, https and file come this far.
    request = Request(url, headers={"User-Agent": "sbert_repro"})  # noqa: S310
    with (
        urlopen(request, timeout=_SECONDS) as answer,  # noqa: S310
        target.open("wb") as out,
        Progress(transient=True) as bar,
    ):
        size = answer.headers.get("Content-Length")
        task = bar.add_task(url.rpartition("/")[2], total=int(size) if size else None)
        while chunk := answer.read(_CHUNK):
            out.write(chunk)
            bar.advance(task, len(chunk))
