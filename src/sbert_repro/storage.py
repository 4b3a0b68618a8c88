"""Files and folders that are whole or absent, locks between processes, and digests of content.

Everything that must not be half there is made in a hidden folder beside its place and then renamed:
a file by `replacing`, `write_file` or `write_once`, a folder by `filling` or `make_folder`. What a
killed process left behind is recognised by its lock, which the kernel frees when its owner dies,
and is removed by the next process that writes to the same folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NotRequired

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.errors import UserError

MANIFEST = "MANIFEST.json"
"""In a folder of `make_folder`: that its content is synthetic, what made it, and its files."""

_UNFINISHED = ".unfinished"
"""Ends the names of temporary files and folders."""
_CHUNK = 1 << 20
_LONG_NAME = 300
_POLL = 0.05
"""Seconds between two looks at a lock that somebody else holds."""
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_ADVICE = {
    errno.ENOSPC: ("no space left on the device", "free some, or move paths.results / paths.cache"),
    errno.EDQUOT: ("the disk quota is used up", "free some, or move paths.results / paths.cache"),
    errno.EACCES: ("permission denied", "choose a folder you may write to"),
    errno.EROFS: ("the file system is read-only", "choose a folder you may write to"),
    errno.ENOENT: ("its folder cannot be made", "choose a folder you may write to"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "choose another folder"),
    errno.EISDIR: ("a folder stands where a file is needed", "choose another name"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
}
_log = logging.getLogger(__name__)


def unwritable(path: Path, problem: OSError) -> UserError:
    """Turn the system's refusal to write into one line that says what to do.

    Args:
        path: The file or folder that could not be written.
        problem: The system's error.

    Returns:
        UserError: The error to raise.
    """
    why, mend = _ADVICE.get(problem.errno or 0, (problem.strerror or str(problem), ""))
    return UserError(f"cannot be written: {why}", where=path, mend=mend)


def refused_by_system(problem: OSError, where: object = "") -> UserError:
    """Turn what the system refuses, where nobody expected it, into one line.

    Args:
        problem: The system's error.
        where: What it is about; "" for the file that the error names.

    Returns:
        UserError: The error to raise.
    """
    names = [str(name) for name in (problem.filename, problem.filename2) if name is not None]
    place = str(where) or " → ".join(names)
    why, mend = _ADVICE.get(problem.errno or 0, (problem.strerror or str(problem), ""))
    if problem.errno == errno.ENOENT:
        why, mend = "there is no such file or folder", "look at its name"
    shown = place if len(place) <= _LONG_NAME else f"{place[:_LONG_NAME]}…"
    return UserError(f"refused by the system: {why}", where=shown, mend=mend)


@contextlib.contextmanager
def as_system_errors() -> Iterator[None]:
    """Raise what torch and safetensors raise on a full disk as an `OSError`, inside `replacing`.

    Yields:
        Nothing.

    Raises:
        OSError: In place of their errors.
    """
    try:
        yield
    except (RuntimeError, SafetensorError) as problem:
        line = " ".join(str(problem).split())
        raise OSError(f"{line}; is the disk full?") from problem


@contextlib.contextmanager
def _beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield an empty temporary file or folder beside ``path``, and remove what is left of it."""
    own = handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(path.parent)
        own, handle = _temporary(path, folder)
        yield own
    except OSError as problem:
        raise unwritable(path, problem) from problem
    finally:
        if own is not None:
            _remove(own)
        if handle is not None:
            os.close(handle)


def _temporary(path: Path, folder: bool) -> tuple[Path, int | None]:
    """Make an empty temporary file or folder and lock it."""
    while True:
        if folder:
            own = Path(tempfile.mkdtemp(_UNFINISHED, f".{path.name}.", path.parent))
        else:
            made, name = tempfile.mkstemp(_UNFINISHED, f".{path.name}.", path.parent)
            os.close(made)
            own = Path(name)
        # Until it is locked, another process may take it for abandoned and remove it.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            handle = _locked(own)
            if own.exists():
                return own, handle
            if handle is not None:
                os.close(handle)


def _locked(own: Path) -> int | None:
    """Lock a temporary file or folder for as long as its handle is open.

    Args:
        own: The file or folder.

    Returns:
        The handle; None when the file system has no such locks (NFS locks no folders), so that
        what a killed process leaves there stays.

    Raises:
        BlockingIOError: If another process holds it.
    """
    handle = os.open(own, (os.O_RDONLY if own.is_dir() else os.O_RDWR) | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(handle)
        if isinstance(problem, BlockingIOError):
            raise
        return None
    return handle


def _remove(own: Path) -> None:
    if own.is_dir():
        shutil.rmtree(own, ignore_errors=True)
    else:
        own.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what processes were writing to a folder when they died.

    Args:
        folder: Where to look.
    """
    for left in folder.glob(f".*{_UNFINISHED}"):
        with contextlib.suppress(OSError):
            if (handle := _locked(left)) is not None:
                _remove(left)
                os.close(handle)


def _finish(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())
    path.chmod(0o644)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path whose file takes the place of ``path`` when the block ends well.

    A reader sees the old file or the new one, never half of one; a block that fails leaves nothing.

    Args:
        path: The file to write; missing folders are made.

    Yields:
        Path: Where to write.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    with _beside(path) as temporary:
        yield temporary
        _finish(temporary)
        temporary.replace(path)


def write_file(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` so that the file is never half there.

    Args:
        path: The file to write; missing folders are made.
        content: Text (written as UTF-8) or bytes.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_once(path: Path, content: str | bytes) -> bool:
    """Write a file that must not replace another one, such as a record.

    Args:
        path: The file to write; missing folders are made.
        content: Text (written as UTF-8) or bytes.

    Returns:
        bool: False when the file exists already; it is left as it is.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    with _beside(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        _finish(temporary)
        try:
            path.hardlink_to(temporary)  # a rename would replace what is there
        except FileExistsError:
            return False
        except OSError as problem:
            if problem.errno not in _NO_HARD_LINKS:
                raise
            if path.exists():
                return False
            temporary.replace(path)
    return True


@contextlib.contextmanager
def filling(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes ``folder`` when the block ends well.

    Two processes may fill the same folder at once: each has a folder of its own, the first to
    finish puts it in place, and the other's is thrown away.

    Args:
        folder: What is made.
        replace: Replace a folder that is there, instead of keeping that one. Hold a
            `lock` when others may replace it too.

    Yields:
        Path: Where to write.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    with _beside(folder, folder=True) as own:
        yield own
        for path in (own, *own.rglob("*")):
            # Temporary folders, and safetensors' files, are for their owner alone.
            path.chmod(0o755 if path.is_dir() else 0o644)
        if replace and folder.is_dir():
            with _beside(folder, folder=True) as old:
                folder.rename(old)
                own.rename(folder)
            return
        try:
            own.rename(folder)
        except OSError:
            # A folder cannot take the place of one with files in it: another process was first.
            if not folder.is_dir():
                raise


class _File(TypedDict):
    file: str
    sha256: NotRequired[str]


class _Manifest(TypedDict):
    synthetic: bool
    files: list[_File]


def make_folder(
    folder: Path, stamp: Mapping[str, Any], fill: Callable[[Path], list[dict[str, Any]]]
) -> bool:
    """Make a folder of synthetic files unless it is there already, as ``stamp`` says.

    Processes that want the same folder wait for one another. Nobody else's files are replaced.

    Args:
        folder: The folder.
        stamp: What the content depends on; with another stamp the folder is made anew.
        fill: Writes the files into an empty folder and describes them, each with its name as
            ``file`` and its ``sha256``; without these the folder is never replaced again.

    Returns:
        bool: Whether it had to be made.

    Raises:
        UserError: If something else lies there, or it cannot be written.
    """
    if _is_current(folder, stamp):
        return False
    with lock(folder.parent / f".{folder.name}.lock", f"{folder}, being made,"):
        if _is_current(folder, stamp):  # another process made it meanwhile
            return False
        if folder.exists() and not folder.is_dir():
            raise UserError("is a file; expected a folder or nothing, to write to", where=folder)
        if foreign := _foreign(folder):
            raise UserError(
                f"holds files that this program did not make, such as {foreign}",
                where=folder,
                mend="remove it, or choose another paths.cache",
            )
        with filling(folder, replace=True) as own:
            manifest = {"synthetic": True, **stamp, "files": fill(own)}
            (own / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return True


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return dict(json_files.read(folder / MANIFEST, _Manifest))
    except UserError:
        return {}


def _foreign(folder: Path) -> str:
    """Return the name of a file that is not in the manifest, or differs from it; "" if none.

    A manifest that says "synthetic" is no proof: only what it lists, with the content that was
    written, may be replaced.
    """
    if not folder.is_dir():
        return ""
    manifest = _manifest(folder)
    entries = manifest["files"] if manifest.get("synthetic") else []
    listed = {entry["file"]: entry.get("sha256") for entry in entries}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if name == MANIFEST and listed:
            continue
        if path.is_symlink() or listed.get(name) != sha256_of(path):
            return name
    return ""


def _is_current(folder: Path, stamp: Mapping[str, Any]) -> bool:
    manifest = _manifest(folder)
    return (
        bool(manifest)
        and all(manifest.get(key) == value for key, value in stamp.items())
        and all((folder / entry["file"]).is_file() for entry in manifest["files"])
    )


@contextlib.contextmanager
def lock(path: Path, what: str, *, remove: bool = False) -> Iterator[None]:
    """Hold a lock while the block runs; a process that has to wait says once for whom.

    The kernel frees the lock when its owner dies, however it dies, and a forked child that outlives
    its parent does not keep it. Not re-entrant.

    Args:
        path: The lock file; missing folders are made.
        what: What is locked, for the message.
        remove: Remove the file in the end, where it would lie among the user's own. Whoever waits
            for it then finds that it has no name any more, and takes a new one.

    Yields:
        Nothing.

    Raises:
        UserError: If the file cannot be written or its file system has no locks.
    """
    held = FileLock(path, poll_interval=_POLL, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(blocking=False)
        except Timeout:
            owner = path.read_text(encoding="utf-8", errors="replace").strip()
            _log.warning("%s is held by %s; waiting for it", what, owner or "another process")
            held.acquire()
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    except OSError as problem:
        held.release()
        raise unwritable(path, problem) from problem
    try:
        yield
    finally:
        if remove:
            path.unlink(missing_ok=True)
        held.release()


@cache
def _sha256_of(path: Path, _size: int, _modified: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes; an unchanged file is read only once.

    Args:
        path: The file.

    Returns:
        str: 64 hex digits.
    """
    state = path.stat()
    return _sha256_of(path.resolve(), state.st_size, state.st_mtime_ns)


def folder_sha256(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Return one sha256 over the files below a folder: their relative names and their bytes.

    Args:
        folder: The folder; where it lies does not count.
        suffixes: Only files whose names end in one of these count; a README changes nothing.

    Returns:
        str: 64 hex digits.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.endswith(suffixes):
            digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def check_writable(path: Path) -> None:
    """Refuse an output that could not be written, before the work and not after it.

    Args:
        path: The file to be written later; its folder is made.

    Raises:
        UserError: If it is a folder, or its folder cannot be written.
    """
    if path.is_dir():
        raise UserError(f"a folder, expected a file such as {path}/e.json", where=f"output={path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as problem:
        raise unwritable(path, problem) from problem
