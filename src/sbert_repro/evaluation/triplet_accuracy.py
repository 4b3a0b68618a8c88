"""Triplets: is the sentence of the same section closer? (section 4.4, Table 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.sts import LEVEL
from sbert_repro.evaluation.tasks import Task
from sbert_repro.evaluation.vectors import rows_of
from sbert_repro.facts import Fact
from sbert_repro.similarity import paired

VERSION = 1
"""Raised when a score changes its meaning, so that no older record passes for a newer one."""

_BLOCK = 4096
"""Triplets that are embedded together."""
_DISTANCES = ("euclidean", "cosine", "manhattan")
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Triplets:
    """Test triplets; their texts are read when asked for.

    Attributes:
        task: Which task.
        columns: Anchors, positives and negatives, ``N`` each.
        facts: What a reader of the score must know.
        sha256: Of the file.
    """

    task: Task
    columns: tuple[Sequence[str], ...]
    facts: list[Fact]
    sha256: str


def load(task: Task, data_root: Path, *, allow_partial: bool = False) -> Triplets:
    """Open and check the triplets of a task.

    Args:
        task: The task.
        data_root: Where the data sets lie.
        allow_partial: Accept fewer triplets than the data set has.

    Returns:
        Triplets: All of them; their texts are not read yet.

    Raises:
        UserError: If the file is missing or damaged.
    """
    record = dataset(task.dataset)
    split = read(record, data_root, task.splits[0], allow_partial=allow_partial)
    columns = tuple(split.texts[name] for name in record.text_columns)
    return Triplets(task, columns, split.facts, split.sha256)


def score(encoder: Any, data: Triplets, cache: Path | None) -> dict[str, Any]:
    """Count the triplets whose positive is closer to the anchor than the negative.

    # paper: accuracy, without naming the distance; the authors' evaluator took the best of three
    # here: the Euclidean distance, which the model is trained with; the others stand beside it
    # effect: table 4

    Args:
        encoder: A sentence encoder.
        data: The triplets.
        cache: Not used: 222,957 triplets would leave gigabytes that are never needed again.

    Returns:
        dict[str, Any]: ``accuracy`` × 100 (Euclidean; a tie is wrong), ``n``, ``ci_low`` and
        ``ci_high`` (95 %, over the triplets), ``similarities``: the accuracy by cosine and by
        Manhattan distance; and ``predictions``: which triplets are right.

    Raises:
        UserError: If the model has no sentence vectors.
    """
    if not isinstance(encoder, SentenceEncoder):
        raise UserError(
            f"compares distances between sentence vectors, and {encoder.label} has none",
            where=f"task={data.task.name}",
            mend="use an encoder of single sentences",
        )
    total = len(data.columns[0])
    correct = dict.fromkeys(_DISTANCES, 0)
    right: list[NDArray[np.bool_]] = []
    for start in range(0, total, _BLOCK):
        texts = [column[start : start + _BLOCK] for column in data.columns]
        for name, hits in _hits(encoder, texts).items():
            correct[name] += int(hits.sum())
            right += [hits] if name == "euclidean" else []
    low, high = _interval(correct["euclidean"], total)
    shares = {name: 100 * hits / total for name, hits in correct.items()}
    return {
        "accuracy": shares.pop("euclidean"),
        "n": total,
        "ci_low": 100 * low,
        "ci_high": 100 * high,
        "similarities": shares,
        "predictions": {"correct": np.concatenate(right)},
    }


def _hits(
    encoder: SentenceEncoder, texts: Sequence[Sequence[str]]
) -> Mapping[str, NDArray[np.bool_]]:
    """Return which triplets each similarity gets right; each sentence is embedded once."""
    distinct = list(dict.fromkeys(text for column in texts for text in column))
    anchor, positive, negative = rows_of(encoder.encode(distinct), distinct, *texts)
    near, far = paired(anchor, positive), paired(anchor, negative)
    return {name: near[name] > far[name] for name in _DISTANCES}


def _interval(hits: int, total: int) -> tuple[float, float]:
    """Return Wilson's interval of a share; with this many triplets, a bootstrap would agree."""
    from scipy.stats import norm

    z = float(norm.ppf((1 + LEVEL) / 2))
    share, weight = hits / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    half = z * np.sqrt(share * (1 - share) / total + weight / (4 * total)) / (1 + weight)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
