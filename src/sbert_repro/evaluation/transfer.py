"""SentEval's seven transfer tasks (section 5 of the paper, Table 5).

A logistic regression is trained on sentence vectors that stay as they are; the score is its
accuracy × 100. Texts are taken as the data sets hold them: split into tokens, not lower-cased (an
uncased model does that itself); empty ones are embedded like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbert_repro.data.read import Split, read, split_path
from sbert_repro.data.schema import dataset
from sbert_repro.encoders.base import SentenceEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.logistic import (
    BatchedClassifier,
    Classifier,
    Ints,
    ProtocolName,
    train_and_test,
)
from sbert_repro.evaluation.tasks import Task, combined_sha256
from sbert_repro.evaluation.vectors import encode_sets, rows_of
from sbert_repro.facts import Fact
from sbert_repro.storage import sha256_of

VERSION = 1
"""Raised when a score changes its meaning, so that no older record passes for a newer one."""

PROTOCOLS: dict[tuple[str, ...], ProtocolName] = {
    ("all",): "nested",
    ("train", "test"): "cross",
    ("train", "dev", "test"): "fixed",
}
"""The splits that a task comes in → its protocol."""


@dataclass(frozen=True)
class TransferData:
    """A task's texts and labels, read and checked.

    Attributes:
        task: Which task.
        classifier: The kind of classifier that is trained on it.
        texts: For each text column, the texts of all splits one after the other ``[N]``.
        labels: Class ids ``[N]``.
        parts: Rows of each split.
        facts: What a reader of the score must know.
        sha256: Of what was read.
    """

    task: Task
    classifier: Classifier
    texts: list[list[str]]
    labels: Ints
    parts: list[Ints]
    facts: list[Fact]
    sha256: str

    @property
    def settings(self) -> dict[str, Any]:
        """What the score depends on besides data and vectors."""
        return {"classifier": dict(self.classifier.identity)}

    @cached_property
    def sentences(self) -> list[str]:
        """The distinct texts, in order of appearance."""
        return list(dict.fromkeys(text for column in self.texts for text in column))

    def features(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn sentence vectors into what the classifier sees.

        Args:
            vectors: Vectors of `sentences` ``[n, D]``.

        Returns:
            NDArray[np.float32]: The vectors ``[N, D]``; for pairs (MRPC) ``|u-v|`` and ``u*v`` side
            by side ``[N, 2·D]``.
        """
        u, *others = rows_of(vectors, self.sentences, *self.texts)
        return np.hstack([f for v in others for f in (np.abs(u - v), u * v)]) if others else u


def load(
    task: Task,
    data_root: Path,
    *,
    allow_partial: bool = False,
    classifier: Classifier | None = None,
) -> TransferData:
    """Read a task's texts and labels.

    Args:
        task: One of SentEval's.
        data_root: Where the data sets lie.
        allow_partial: Accept fewer rows than the data set has; the facts then tell.
        classifier: The kind of classifier; ``None``: SentEval's with its defaults.

    Returns:
        TransferData: In SentEval's order, on which the folds depend.

    Raises:
        UserError: If a file is missing, damaged or not the record's, or has one label only.
    """
    record = dataset(task.dataset)
    paths = [split_path(record, data_root, name) for name in task.splits]
    # Asked for again with every row and seed of a table; a file that changes is read again.
    state = tuple(sha256_of(path) if path.is_file() else "" for path in paths)
    read_once = _read(task, data_root, allow_partial, state)
    return replace(read_once, classifier=classifier or BatchedClassifier())


@cache
def _read(
    task: Task, data_root: Path, allow_partial: bool, _state: tuple[str, ...]
) -> TransferData:
    record = dataset(task.dataset)
    splits = [
        _sorted(read(record, data_root, name, allow_partial=allow_partial)) for name in task.splits
    ]
    labels = [split.target for split in splits if split.target is not None]
    if len(found := np.unique(labels[0])) < 2:  # noqa: PLR2004
        only = (record.labels or ())[found[0]]
        raise UserError(
            f"all {len(labels[0]):,} {record.unit} have the label {only}, expected at least two "
            "labels to learn from",
            where=split_path(record, data_root, task.splits[0]),
            mend="get the data again with `make data`",
        )
    ends = np.cumsum([len(split) for split in splits])
    return TransferData(
        task=task,
        classifier=BatchedClassifier(),
        texts=[[t for split in splits for t in split.texts[c]] for c in record.text_columns],
        labels=np.concatenate(labels),
        parts=np.split(np.arange(ends[-1]), ends[:-1]),
        facts=[fact for split in splits for fact in split.facts],
        sha256=combined_sha256(splits),
    )


def _sorted(split: Split) -> Split:
    """Sort as SentEval does, by words and then label; which texts share a fold depends on it."""
    assert split.target is not None
    labels, columns = split.target, list(split.texts.values())

    def key(row: int) -> tuple[int, ...]:
        return (*(len(texts[row].split()) for texts in columns), int(labels[row]))

    order = sorted(range(len(split)), key=key)
    ordered = [[texts[row] for row in order] for texts in columns]
    return replace(split, texts=dict(zip(split.texts, ordered, strict=True)), target=labels[order])


def score(encoder: Any, data: TransferData, cache: Path | None) -> dict[str, Any]:
    """Train and test classifiers on the sentence vectors of a task.

    Args:
        encoder: A sentence encoder.
        data: The task.
        cache: Where sentence vectors are kept, or ``None``.

    Returns:
        dict[str, Any]: ``accuracy`` and ``dev`` (the accuracy that chose the strengths) × 100,
        ``n`` tested texts, the ``strengths`` chosen for each test fold, ``seed``; and
        ``predictions``: which of the tested texts are right, and the ``part`` that tested each.

    Raises:
        UserError: If the model has no sentence vectors, a vector holds NaN, or there are fewer
            texts than folds.
    """
    where = f"task={data.task.name}"
    if not isinstance(encoder, SentenceEncoder):
        raise UserError(
            f"trains a classifier on sentence vectors, and {encoder.label} has none",
            where=where,
            mend="use an encoder of single sentences",
        )
    vectors = encode_sets(encoder, {data.task.name: data.sentences}, cache)[data.task.name]
    features = data.features(vectors)
    if not np.isfinite(features).all():
        raise UserError("the encoder gives vectors with NaN or infinity", where=where)
    tested = train_and_test(
        PROTOCOLS[data.task.splits], data.classifier, features, data.labels, data.parts
    )
    folds = [number for number, right in enumerate(tested.correct) for _ in right]
    return {
        "accuracy": 100 * tested.accuracy,
        "dev": 100 * tested.dev,
        "n": len(data.parts[-1]),
        "strengths": tested.strengths,
        "seed": data.classifier.seed,
        "predictions": {"correct": np.concatenate(tested.correct), "part": np.array(folds)},
    }
