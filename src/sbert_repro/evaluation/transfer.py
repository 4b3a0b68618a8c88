"""SentEval's seven transfer tasks (section 5 of the paper, Table 5).

A logistic regression is trained on sentence vectors that stay as they are; the score is its
accuracy × 100. Texts are taken as the data sets hold them: split into tokens, not lower-cased (an
uncased model does that itself); empty ones are embedded like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbert_repro.data.record import Split, dataset, read
from sbert_repro.errors import UserError
from sbert_repro.evaluation.classifiers.fold import Classifier, IntArray, ProtocolName
from sbert_repro.evaluation.classifiers.protocols import SPLITS, run

VERSION = 1
"""Raised when a score changes its meaning, so that no older record passes for a newer one."""

PROTOCOLS: dict[str, ProtocolName] = {
    "mr": "nested",
    "cr": "nested",
    "subj": "nested",
    "mpqa": "nested",
    "sst2": "fixed",
    "trec": "cross",
    "mrpc": "cross",
}
"""Task → how its data are cut, in the order of Table 5; a task's data set has its name."""

Encode = Callable[[list[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class TransferData:
    """A task's texts and labels, read and checked.

    Attributes:
        name: The task.
        texts: For each text column, the texts of all splits one after the other ``[N]``.
        labels: Class ids ``[N]``.
        parts: Rows of each split.
        notes: What a reader of the score must know, such as missing texts.
        sha256: Of what was read, for each split.
    """

    name: str
    texts: list[list[str]]
    labels: IntArray
    parts: list[IntArray]
    notes: list[str]
    sha256: list[str]

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
        assert vectors.shape[0] == len(self.sentences) and vectors.ndim == 2, vectors.shape  # noqa: PLR2004
        row = {text: number for number, text in enumerate(self.sentences)}
        u, *others = (vectors[[row[text] for text in column]] for column in self.texts)
        return np.hstack([f for v in others for f in (np.abs(u - v), u * v)]) if others else u


def load(name: str, data_root: Path, *, allow_partial: bool = False) -> TransferData:
    """Read a task's texts and labels.

    Args:
        name: One of `PROTOCOLS`.
        data_root: Where the data sets lie.
        allow_partial: Accept fewer rows than the data set has; the score then carries a note.

    Returns:
        TransferData: In SentEval's order, on which the folds depend.

    Raises:
        UserError: If a file is missing, damaged or not what the data set's record says, or if all
            texts that a classifier would learn from have one label.
    """
    record = dataset(name)
    names = SPLITS[PROTOCOLS[name]]
    splits = [
        _sorted(read(record, data_root, split, allow_partial=allow_partial)) for split in names
    ]
    labels = [split.target for split in splits if split.target is not None]
    if len(found := np.unique(labels[0])) < 2:  # noqa: PLR2004
        raise UserError(
            f"{name}: all {len(labels[0]):,} {record.unit} of {names[0]} have the label "
            f"{(record.labels or ())[found[0]]}; a classifier needs two labels"
        )
    ends = np.cumsum([len(split) for split in splits])
    columns = record.text_columns
    return TransferData(
        name=name,
        texts=[[text for split in splits for text in split.texts[name]] for name in columns],
        labels=np.concatenate(labels),
        parts=np.split(np.arange(ends[-1]), ends[:-1]),
        notes=list(dict.fromkeys(note for split in splits for note in split.notes)),
        sha256=[split.sha256 for split in splits],
    )


def score(
    data: TransferData, vectors: NDArray[np.float32], classifier: Classifier
) -> dict[str, Any]:
    """Train and test classifiers on the vectors of a task.

    Args:
        data: The task.
        vectors: Vectors of ``data.sentences`` ``[n, D]``.
        classifier: A kind of classifier.

    Returns:
        dict[str, Any]: ``accuracy`` and ``dev`` (the accuracy that chose the strengths) × 100,
        ``n`` tested texts, ``strengths`` chosen for each test fold, ``seed``.

    Raises:
        UserError: If a vector holds NaN, or a class has fewer texts than there are folds.
    """
    features = data.features(vectors)
    if not np.isfinite(features).all():
        raise UserError(f"{data.name}: the encoder gives vectors that hold NaN or infinity")
    protocol = PROTOCOLS[data.name]
    outcome = run(protocol, classifier, features, data.labels, data.parts)
    return {
        "accuracy": 100 * outcome.accuracy,
        "dev": 100 * outcome.dev,
        "n": len(data.parts[-1]),
        "strengths": outcome.strengths,
        "seed": classifier.seed,
    }


def score_transfer(
    task: str,
    encode: Encode,
    data_root: Path,
    classifier: Classifier,
    *,
    allow_partial: bool = False,
) -> dict[str, Any]:
    """Read a task, embed its texts, train and test.

    Args:
        task: One of `PROTOCOLS`.
        encode: Gives the vectors ``[n, D]`` of distinct texts.
        data_root: Where the data sets lie.
        classifier: A kind of classifier.
        allow_partial: Accept fewer rows than the data set has.

    Returns:
        dict[str, Any]: What `score` gives, and ``notes`` where the data have some.

    Raises:
        UserError: As `load` and `score` do.
    """
    data = load(task, data_root, allow_partial=allow_partial)
    scores = score(data, encode(data.sentences), classifier)
    return {**scores, "notes": data.notes} if data.notes else scores


def _sorted(split: Split) -> Split:
    """Sort as SentEval does, by words and then label: which texts share a fold hangs on it."""
    assert split.target is not None
    labels, columns = split.target, list(split.texts.values())

    def key(row: int) -> tuple[int, ...]:
        return (*(len(texts[row].split()) for texts in columns), int(labels[row]))

    order = sorted(range(len(split)), key=key)
    ordered = [[texts[row] for row in order] for texts in columns]
    return replace(split, texts=dict(zip(split.texts, ordered, strict=True)), target=labels[order])
