"""Folders that the project makes itself: whole or not there, and never in place of somebody else's.

Such a folder holds ``MANIFEST.json``, which says that its content is synthetic, what made it, and
which files belong to it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sbert_repro.errors import UserError
from sbert_repro.storage import lock, unwritable, write_file

MANIFEST = "MANIFEST.json"


def make_folder(
    folder: Path, stamp: Mapping[str, Any], fill: Callable[[Path], list[dict[str, Any]]]
) -> bool:
    """Make a folder unless it is there already as ``stamp`` says.

    It is filled under another name and renamed, so nobody meets half of it. Processes that want the
    same folder wait for one another.

    Args:
        folder: Where.
        stamp: What the content depends on; another stamp makes the folder anew.
        fill: Writes the files into an empty folder and describes them, each with its name as
            ``file``.

    Returns:
        bool: Whether it had to be made.

    Raises:
        UserError: If something else lies there, or it cannot be written.
    """
    if _is_current(folder, stamp):
        return False
    with lock(folder.parent / f".{folder.name}.lock", f"{folder}, being made,"):
        if _is_current(folder, stamp):  # somebody else made it meanwhile
            return False
        _refuse_foreign(folder)
        try:
            _replace(folder, stamp, fill)
        except OSError as problem:
            raise unwritable(folder, problem) from problem
    return True


def _replace(
    folder: Path, stamp: Mapping[str, Any], fill: Callable[[Path], list[dict[str, Any]]]
) -> None:
    # Fixed names: under the lock nobody else uses them, and what a killed process left is removed.
    fresh, old = (folder.parent / f".{folder.name}.{what}" for what in ("fresh", "old"))
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir(parents=True)
    manifest = {"synthetic": True, **stamp, "files": fill(fresh)}
    write_file(fresh / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_current(folder: Path, stamp: Mapping[str, Any]) -> bool:
    manifest = _manifest(folder)
    return all(manifest.get(key) == value for key, value in stamp.items()) and all(
        (folder / entry["file"]).is_file() for entry in manifest["files"]
    )


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: expected a folder, or nothing, to write demo data to")
    if folder.is_dir() and any(folder.iterdir()) and not _manifest(folder).get("synthetic"):
        raise UserError(
            f"{folder} holds files that are not the demo's: point paths.data and paths.models of "
            f"the demo profile at folders of their own, or remove it"
        )
