"""``metrics.json`` of a run: its dev scores, and the test scores of its model as they come."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sbert_repro.storage import lock, write_file

FILE = "metrics.json"


def add(folder: Path, scores: Mapping[str, Any]) -> None:
    """Put scores into a run's file beside those that are there.

    Args:
        folder: The run's folder, ``results/runs/<key>``.
        scores: Name → score × 100; what is no finite number is written as null, since JSON has no
            NaN.

    Raises:
        UserError: If the file cannot be written.
    """
    path = folder / FILE
    # Two commands may score one model on different tasks at the same time; none may be lost.
    with lock(folder.parent / ".locks" / f"{folder.name}.metrics", str(path)):
        there = _read(path)
        whole = {"key": folder.name, **there, **{name: _finite(s) for name, s in scores.items()}}
        if whole != there:
            write_file(path, json.dumps(whole, indent=1, allow_nan=False) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """What is there; a file that a killed machine left damaged, or with NaN, is made anew."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found = content if isinstance(content, dict) else {}
    return {name: _finite(value) for name, value in found.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
