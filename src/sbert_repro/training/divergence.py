"""A run whose loss became no number: written down, so that it is shown and not tried each time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from sbert_repro.errors import Diverged
from sbert_repro.provenance import provenance
from sbert_repro.storage import write_file

FILE = "diverged.json"


@contextlib.contextmanager
def recorded(folder: Path, seed: int) -> Iterator[None]:
    """Write down in the run's folder that what is done in the block diverged.

    The same seed on the same machine would diverge again, so trying it with every call of a table
    would only cost hours; and a seed that is left out silently would be a wrong result.

    Args:
        folder: The run's folder.
        seed: Of the run.

    Yields:
        Nothing.

    Raises:
        Diverged: When the loss was no number; as `refuse` says it later.
    """
    try:
        yield
    except Diverged as problem:
        content = {"seed": seed, "said": str(problem), **provenance()}
        write_file(folder / FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        raise _found(folder, seed, str(problem)) from problem


def refuse(folder: Path) -> None:
    """Refuse to train a run again that has diverged.

    Args:
        folder: The run's folder, whether it is there or not.

    Raises:
        Diverged: If it has; says at which step, on which rows, and what to do.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        seed, said = content["seed"], content["said"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        seed, said = "?", f"what was written down in {FILE} cannot be read"
    raise _found(folder, seed, said)


def _found(folder: Path, seed: object, said: str) -> Diverged:
    return Diverged(
        f"seed {seed} diverged: {said}; run {folder.name} is not trained again until {folder} is "
        "removed"
    )
