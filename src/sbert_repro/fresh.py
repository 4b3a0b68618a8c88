"""Folders filled under a hidden name and put in place whole; the dead leave none behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MARK = ".making"


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[Path]:
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


def forget_temporaries(folder: Path, *patterns: str) -> None:
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
