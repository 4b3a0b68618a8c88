"""The command that gives a row's numbers again, outside of any table."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sbert_repro.tables.request import is_neutral
from sbert_repro.tables.subject import Subject


def command(subjects: Sequence[Subject]) -> str:
    """Write the command of one model and all its seeds.

    Args:
        subjects: The same columns of the same row, one a seed and part.

    Returns:
        The line; "" when there are no options that could be composed.
    """
    first = subjects[0]
    if first.config is None:
        return ""
    words = [word for word in first.overrides if not is_neutral(word)]
    tasks = ",".join(first.tasks)
    if not first.stages:
        return _line("python scripts/evaluate.py", [*words, f"task={tasks}"])
    words = [word for word in words if not word.startswith(("seed=", "data.split="))]
    seeds = list(dict.fromkeys(subject.seed for subject in subjects))
    if first.part:
        # experiment=afs scores each model on the part that it was not trained on.
        splits = ",".join(dict.fromkeys(f"train_{subject.part}" for subject in subjects))
        words += [f"data.split={splits}", f"seed={','.join(map(str, seeds))}"]
        return _line("python train.py -m", words)
    many = len(seeds) > 1
    choice = f"seed=range({seeds[0]},{seeds[-1] + 1})" if many else f"seed={seeds[0]}"
    start = "python train.py -m" if many else "python train.py"
    return _line(start, [*words, choice, f"evaluate=[{tasks}]"])


def _line(start: str, words: Sequence[str]) -> str:
    return " ".join([start, *(shlex.quote(word) for word in words)])
