"""Locks between processes that the kernel frees when their owner dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from sbert_repro.errors import UserError
from sbert_repro.files import unwritable

_log = logging.getLogger(__name__)
_held: set[int] = set()


@contextlib.contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
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
