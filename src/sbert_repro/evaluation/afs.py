"""Argument facet similarity: two ways to cut one data set, averaged over the parts (section 4.3).

For a model that is not trained on the pairs, every pair could be a test pair; it is scored part by
part nevertheless, so that each number of Table 3 is an average over the same parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbert_repro.data.read import read
from sbert_repro.data.schema import FOLDS, WHOLE, dataset, fold_of, spelled
from sbert_repro.encoders.base import FittedEncoder, PairScorer, SentenceEncoder
from sbert_repro.evaluation.sts import percent
from sbert_repro.evaluation.tasks import Task
from sbert_repro.evaluation.vectors import encode_sets, rows_of
from sbert_repro.facts import Fact
from sbert_repro.similarity import cosine, pearson, spearman

VERSION = 1
"""Raised when a score changes its meaning, so that no older record passes for a newer one."""

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Arguments:
    """The whole set of argument pairs, read and checked.

    Attributes:
        task: Which task.
        first: First argument of each pair ``[N]``.
        second: Second argument ``[N]``.
        gold: Gold scores ``[N]``.
        topics: Topic of each pair ``[N]``.
        facts: What a reader of the score must know.
        sha256: Of the file.
    """

    task: Task
    first: list[str]
    second: list[str]
    gold: Floats
    topics: NDArray[Any]
    facts: list[Fact]
    sha256: str

    def parts(self) -> dict[str, dict[str, Rows]]:
        """Return the test rows of each part of both protocols.

        Returns:
            dict[str, dict[str, Rows]]: ``folds`` and ``topics`` → part → row numbers.
        """
        numbers = fold_of(self.topics, [self.first, self.second])
        by_topic = dict.fromkeys(self.topics.tolist())
        return {
            "folds": {
                f"fold_{number}": np.flatnonzero(numbers == number) for number in range(FOLDS)
            },
            "topics": {
                f"topic_{spelled(topic)}": np.flatnonzero(self.topics == topic)
                for topic in by_topic
            },
        }


def load(task: Task, data_root: Path, *, allow_partial: bool = False) -> Arguments:
    """Read all pairs.

    Args:
        task: The task.
        data_root: Where the data sets lie.
        allow_partial: Accept fewer pairs than the data set has.

    Returns:
        Arguments: All pairs.

    Raises:
        UserError: If the file is missing, damaged or not what the data set's record says.
    """
    record = dataset(task.dataset)
    split = read(record, data_root, WHOLE, allow_partial=allow_partial)
    assert split.target is not None and split.subset is not None
    first, second = (list(split.texts[name]) for name in record.text_columns)
    return Arguments(task, first, second, split.target, split.subset, split.facts, split.sha256)


def score(
    encoder: SentenceEncoder | PairScorer | FittedEncoder, data: Arguments, cache: Path | None
) -> dict[str, Any]:
    """Score a model that was not trained on the pairs.

    # paper: tf-idf, GloVe and InferSent stand above both protocols; the average is not specified
    # here: the mean over the ten folds is the score; the mean over the topics stands beside it
    # effect: table 3, first three rows

    Args:
        encoder: A model; if it has to be fitted, then on the training sentences of each part.
        data: The pairs.
        cache: Where sentence vectors are kept, or ``None``.

    Returns:
        dict[str, Any]: ``pearson`` and ``spearman`` × 100, means over the folds; ``n``; and
        ``folds`` and ``topics``, each with its means and its ``parts``. ``None`` where a part's
        similarities are all equal.
    """
    scores: dict[str, Any] = {}
    everywhere = None if isinstance(encoder, FittedEncoder) else _similarities(encoder, data, cache)
    for protocol, parts in data.parts().items():
        found = {}
        for name, tested in parts.items():
            if everywhere is None:
                assert isinstance(encoder, FittedEncoder)
                predicted = _fitted(encoder, data, tested)
            else:
                predicted = everywhere[tested]
            found[name] = _correlations(predicted, data.gold[tested])
        scores[protocol] = {**_means(found), "parts": found}
    return {**_means(scores["folds"]["parts"]), "n": len(data.gold), **scores}


def _similarities(
    encoder: SentenceEncoder | PairScorer, data: Arguments, cache: Path | None
) -> Floats:
    """Return a model's similarity of every pair ``[N]``."""
    if isinstance(encoder, PairScorer):
        return encoder.score(list(zip(data.first, data.second, strict=True)))
    sentences = list(dict.fromkeys([*data.first, *data.second]))
    vectors = encode_sets(encoder, {data.task.name: sentences}, cache)[data.task.name]
    return cosine(*rows_of(vectors, sentences, data.first, data.second))


def _fitted(encoder: FittedEncoder, data: Arguments, tested: Rows) -> Floats:
    """Return the similarities of the tested pairs by an encoder fitted on all others."""
    trained = np.setdiff1d(np.arange(len(data.gold)), tested)
    fitted = encoder.fitted([text for side in _sides(data, trained) for text in side])
    u, v = (fitted.encode(side) for side in _sides(data, tested))
    return cosine(u, v)


def _sides(data: Arguments, rows: Rows) -> Iterator[list[str]]:
    for side in (data.first, data.second):
        yield [side[row] for row in rows]


def _correlations(predicted: Floats, gold: Floats) -> dict[str, Any]:
    return {
        "n": len(gold),
        "pearson": percent(pearson(predicted, gold)),
        "spearman": percent(spearman(predicted, gold)),
    }


def _means(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for metric in ("pearson", "spearman"):
        values = [part[metric] for part in parts.values()]
        # One undefined part leaves the mean undefined: leaving it out would flatter the model.
        means[metric] = None if None in values else float(np.mean(values))
    return means
