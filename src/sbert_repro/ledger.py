"""Content-addressed, write-once records: one JSON file for each trained model and each score.

The key says what was computed (kind, settings, data, versions of components), so "is it done?" is
a question about one file, and a stale result cannot pass as a fresh one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sbert_repro.errors import UserError
from sbert_repro.provenance import provenance
from sbert_repro.storage import lock, unwritable

__all__ = ["SCHEMA", "Ledger", "provenance"]

SCHEMA = 1
"""Raised whenever the meaning of a stored field changes; older records must go on loading."""

_REQUIRED = ("kind", "settings", "scores", "seed")
_KEY = re.compile(r"[0-9A-Za-z_-]{4,64}")
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_log = logging.getLogger(__name__)


class Ledger:
    """The folder of all records, `<root>/<key>/record.json`.

    Args:
        root: the folder, usually `results/runs`; made when the first record is put.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def folder(self, key: str) -> Path:
        """Folder of a run, where its record, checkpoints and model lie (not made here).

        Args:
            key: the run key.

        Returns:
            `<root>/<key>`.

        Raises:
            UserError: the key holds anything that is no key, such as a path.
        """
        if not _KEY.fullmatch(key):
            raise UserError(f"{key!r} is no run key; expected 16 hex digits as in {self.root}")
        return self.root / key

    def get(self, key: str) -> dict[str, Any] | None:
        """Read a record; one that cannot be read is set aside and counts as missing.

        Args:
            key: the run key.

        Returns:
            The record, or None when the work has not been finished.

        Raises:
            UserError: the record was written by a later schema than this program knows.
        """
        path = self.folder(key) / "record.json"
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        record = _parse(text, key)
        if record is None:
            _set_aside(path, text)
        elif record["schema"] > SCHEMA:
            raise UserError(
                f"{path}: record of schema {record['schema']}, this program knows up to {SCHEMA}; "
                "update the program"
            )
        return record

    def put(self, key: str, record: dict[str, Any]) -> dict[str, Any]:
        """Write a record once; the same content again is accepted, other content is refused.

        Schema, key and `provenance()` are added where the caller gives none. A score that is not
        a finite number is stored as null: JSON has no NaN, and a degenerate seed must be shown.

        Args:
            key: the run key.
            record: at least `kind`, `settings`, `scores`, `seed`.

        Returns:
            The record as stored.

        Raises:
            UserError: the key holds another record, or the disk refused it.
            ValueError: a required field is missing.
        """
        missing = [name for name in _REQUIRED if name not in record]
        if missing:
            raise ValueError(f"record of {key}: no {', '.join(missing)}")
        given = _plain(record)
        stored = self.get(key)
        if stored is None:
            whole = {"schema": SCHEMA, "key": key, **_plain(provenance()), **given}
            if self._write(self.folder(key), whole):
                return whole
            stored = self.get(key) or {}
        differing = [name for name, value in given.items() if stored.get(name) != value]
        if differing:
            raise UserError(
                f"{self.folder(key) / 'record.json'}: already there with other "
                f"{', '.join(differing)}; a record is written once, remove its folder to redo it"
            )
        return stored

    def keys(self) -> list[str]:
        """Keys of all finished runs, sorted."""
        return sorted(path.parent.name for path in self.root.glob("*/record.json"))

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold a run for one process; another one waits, and says so once.

        The kernel frees the lock when its owner dies, however it dies. Not re-entrant.

        Args:
            key: the run key.

        Yields:
            Nothing; ask `get` again inside, since the former owner may have finished the run.

        Raises:
            UserError: the folder cannot be written or its file system knows no locks.
        """
        with lock(self.root / ".locks" / self.folder(key).name, f"run {key}"):
            yield

    def _write(self, folder: Path, record: dict[str, Any]) -> bool:
        """Put the finished file in place in one step; False when another process was first."""
        text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        temporary: Path | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "wb", prefix=".record.", dir=folder, delete=False
            ) as file:
                temporary = Path(file.name)
                file.write(f"{text}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            return _place(temporary, folder / "record.json")
        except OSError as error:
            raise unwritable(folder / "record.json", error) from error
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)


def _place(temporary: Path, path: Path) -> bool:
    """Give the file its name, unless the name is taken (a plain rename would replace it)."""
    temporary.chmod(0o644)
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            return False
        temporary.replace(path)
    return True


def _parse(text: bytes, key: str) -> dict[str, Any] | None:
    """The record in the bytes, or None when they hold no whole record of this key."""
    try:
        record = json.loads(text)
    except ValueError:
        return None
    whole = isinstance(record, dict) and record.get("key") == key
    known = whole and isinstance(record.get("schema"), int)
    return record if known and all(name in record for name in _REQUIRED) else None


def _set_aside(path: Path, text: bytes) -> None:
    """Rename a broken record, unless somebody has put a good one there in the meantime."""
    broken = path.with_name("record.json.broken")
    try:
        if path.read_bytes() == text:
            path.replace(broken)
            _log.warning("%s: not a whole record, set aside as %s; it will be redone", path, broken)
    except OSError as error:
        _log.warning("%s: not a whole record and not movable (%s)", path, error.strerror)


def _plain(value: Any) -> Any:
    """The value as JSON would give it back: numpy numbers plain, NaN null, tuples lists."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)
