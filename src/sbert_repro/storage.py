"""Files and folders that are whole or not there, locks between processes, and digests of content.

One mechanism for each need: `replacing` and `write_file` for files, `filling` for folders, `lock`
for work that only one process may do at a time, `sha256_of` for what a file is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sbert_repro.errors import UserError

_CHUNK = 1 << 20


def unwritable(path: Path, problem: OSError) -> UserError:
    """Turn the system's refusal to write ``path`` into one line that says what to do.

    Args:
        path: The file or folder that could not be written.
        problem: The system's error.

    Returns:
        UserError: The error to raise.
    """
    elsewhere = "free some, or point paths.results / paths.cache elsewhere"
    advice = {
        errno.ENOSPC: f"no space left on the device: {elsewhere}",
        errno.EDQUOT: f"the disk quota is used up: {elsewhere}",
        errno.EACCES: "permission denied: choose a folder you may write to",
        errno.EROFS: "the file system is read-only: choose a folder you may write to",
    }
    why = advice.get(problem.errno or 0, problem.strerror or str(problem))
    return UserError(f"cannot write {path}: {why}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place when the block ends well.

    A reader sees the old file or the new one, never half of one; when the block fails nothing of it
    is left, and what a killed process left of this file is removed.

    Args:
        path: The file to write.

    Yields:
        Path: Where to write.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _forget_dead(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as problem:
        raise unwritable(path, problem) from problem
    temporary = Path(name)
    try:
        _lock(handle)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as problem:
        raise unwritable(path, problem) from problem
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _lock(handle: int) -> bool:
    """Lock a file that is being written; the kernel frees it when the writer dies, however."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody holds it, or the file system knows no locks
        return False
    return True


def _forget_dead(path: Path) -> None:
    """Remove what was written for ``path`` by processes that did not live to put it in place."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        # Between its making and its lock a file of a living process is empty, so that one stays.
        with contextlib.suppress(OSError), left.open("rb") as file:
            if os.fstat(file.fileno()).st_size and _lock(file.fileno()):
                left.unlink(missing_ok=True)


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


@cache
def _sha256_of(path: Path, _size: int, _modified: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Give the sha256 of a file's bytes; a file read once is not read again while it is unchanged.

    Args:
        path: The file.

    Returns:
        str: 64 hex digits.
    """
    state = path.stat()
    return _sha256_of(path.resolve(), state.st_size, state.st_mtime_ns)


def folder_sha256(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Give one sha256 over the files below a folder: their relative names and their bytes.

    Args:
        folder: The folder; where it lies does not count.
        suffixes: Only files whose name ends in one of these count; a README changes nothing.

    Returns:
        str: 64 hex digits.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.endswith(suffixes):
            digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


_MARK = ".making"


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of ``folder`` when the block ends well.

    Two processes may fill the same one at once: each has a folder of its own, the first to finish
    puts it in place, the other's is thrown away. What killed processes left is removed first.

    Args:
        folder: What is made.

    Yields:
        Path: Where to write.

    Raises:
        OSError: If the disk is full or the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    forget_dead(folder.parent)
    own = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    # The kernel frees this when its owner dies, however it dies: so the next one can tell.
    mark = os.open(own / _MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield own
        (own / _MARK).unlink()
        own.chmod(0o755)
        own.rename(folder)
    except OSError:
        # A folder cannot take the place of one with files in it: then another process was first.
        if not folder.is_dir():
            raise
    finally:
        os.close(mark)
        shutil.rmtree(own, ignore_errors=True)


def forget_dead(parent: Path) -> None:
    """Remove hidden folders whose makers died while they filled them.

    Args:
        parent: Where to look.
    """
    for mark in parent.glob(f".*/{_MARK}"):
        with contextlib.suppress(OSError), mark.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(mark.parent, ignore_errors=True)


def remove_leftovers(folder: Path, *patterns: str) -> None:
    """Remove what killed processes left in a folder that only the caller may write to.

    Args:
        folder: The folder.
        *patterns: Of names that are only ever temporary.
    """
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


_log = logging.getLogger(__name__)
_held: set[int] = set()


@contextlib.contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Hold a lock while the block runs; who has to wait says so once.

    The file stays: to remove a lock file while others wait on it would let two in. Not re-entrant.

    Args:
        path: the lock file; missing folders are made.
        what: what is locked, for the message.

    Yields:
        Nothing.

    Raises:
        UserError: the file cannot be written or its file system knows no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise unwritable(path, error) from error
    _held.add(handle)
    try:
        _acquire(handle, path, what)
        yield
    finally:
        _held.discard(handle)
        os.close(handle)


def _acquire(handle: int, path: Path, what: str) -> None:
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 200, 0).decode("utf-8", "replace").strip()
            _log.warning("%s is held by %s; waiting for it", what, owner or "another process")
            fcntl.flock(handle, fcntl.LOCK_EX)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError as error:
        raise UserError(f"{path}: cannot be locked ({error.strerror})") from error


def _leave_locks_to_parent() -> None:
    """A forked worker that outlives its parent must not keep the parent's locks."""
    for handle in _held:
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_leave_locks_to_parent)
