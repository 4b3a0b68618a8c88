"""Scores as a table on the screen and as a file."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from sbert_repro.errors import UserError
from sbert_repro.evaluation.sts import main_score
from sbert_repro.evaluation.tasks import GROUPS
from sbert_repro.storage import unwritable


def table(scores: Mapping[str, Any]) -> Table:
    """Lay scores out for the screen, one row a task, with the paper's two digits.

    Args:
        scores: What `evaluate` gives.

    Returns:
        Table: Notes stand below it.
    """
    tasks = {name: found for name, found in scores.items() if not name.startswith("_")}
    notes = [*scores["_meta"]["notes"], *(n for f in tasks.values() for n in f.get("notes", []))]
    only_pairs = not any("accuracy" in found for found in tasks.values())
    vectors = scores["_meta"]["encoder"].get("encoder") != "cross_encoder"
    ranked = "cosine" if vectors else "score of each pair"
    what = f"correlation of the {ranked} × 100" if only_pairs else "scores × 100"
    shown = Table(
        title=f"{scores['_meta']['label']}: {what}",
        caption="\n".join(dict.fromkeys(notes)) or None,
        box=None,
        padding=(0, 1, 0, 0),
    )
    others = list(dict.fromkeys(o for f in tasks.values() for o in f.get("similarities", [])))
    main = "Spearman" if only_pairs else "score"
    columns = ("n", main, "95 %", "mean", "wmean", "Pearson", *(o[:4] for o in others))
    shown.add_column("task", no_wrap=True)
    for column in columns:
        shown.add_column(column, justify="right", no_wrap=True)
    for name, found in tasks.items():
        rest = [found.get("similarities", {}).get(other, "") for other in others]
        cells = [*(found.get(key, "") for key in ("mean", "wmean", "pearson")), *rest]
        ends = [_number(found.get(key), 1) for key in ("ci_low", "ci_high")]
        shown.add_row(
            name,
            f"{found['n']:,}",
            _number(main_score(found)),
            "–".join(ends) if "ci_low" in found else "",
            *("" if cell == "" else _number(cell) for cell in cells),
        )
    return shown


def _number(value: float | None, digits: int = 2) -> str:
    return "—" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def as_json(scores: Mapping[str, Any]) -> str:
    """Write scores as the JSON of ``output=…``, not rounded.

    Args:
        scores: What `evaluate` gives.

    Returns:
        str: JSON; an undefined score is null; SentEval's tasks stand together.
    """
    grouped = {name: found for name, found in scores.items() if name not in GROUPS["senteval"]}
    if transfer := {name: scores[name] for name in GROUPS["senteval"] if name in scores}:
        grouped = {"senteval": transfer, **grouped}
    return json.dumps(grouped, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def check_writable(path: Path) -> None:
    """Refuse an output that could not be written, before the work and not after it.

    Args:
        path: The file to be written later; its folder is made.

    Raises:
        UserError: If it is a folder, or its folder cannot be written.
    """
    if path.is_dir():
        raise UserError(f"output={path}: this is a folder, expected a file such as {path}/e.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as problem:
        raise unwritable(path, problem) from problem
