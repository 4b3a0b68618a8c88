"""Argument facet similarity: ways to cut one data set, averaged over the parts (section 4.3).

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
from sbert_repro.data.schema import WHOLE, dataset, fold_of, parse_part, part_names, spelled
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
        folds: Which ten folds the score is averaged over: ``within_topic`` or ``all_topics``.
    """

    task: Task
    first: list[str]
    second: list[str]
    gold: Floats
    topics: NDArray[Any]
    facts: list[Fact]
    sha256: str
    folds: str = "within_topic"

    @property
    def settings(self) -> dict[str, str]:
        """What a score depends on besides the data.

        Folds over all topics came first and are not mentioned: their records keep their keys.
        """
        return {} if self.folds == "all_topics" else {"folds_of": self.folds}

    def parts(self) -> dict[str, dict[str, tuple[Rows, Rows]]]:
        """Return the rows of each part of both protocols.

        Returns:
            dict[str, dict[str, tuple[Rows, Rows]]]: ``folds`` and ``topics`` → part → numbers of
            the rows that are tested, and of those that a model may be fitted on.
        """
        numbers = fold_of(self.topics, [self.first, self.second]).tolist()
        places = list(zip(map(spelled, self.topics.tolist()), numbers, strict=True))
        names = part_names(list(dict.fromkeys(self.topics.tolist())))

        def rows(split: str) -> Rows:
            part = parse_part(split)
            assert part is not None
            return np.flatnonzero([part.holds(topic, fold) for topic, fold in places])

        return {
            protocol: {name: (rows(f"test_{name}"), rows(f"train_{name}")) for name in chosen}
            for protocol, chosen in (("folds", names[self.folds]), ("topics", names["topics"]))
        }


def load(
    task: Task, data_root: Path, *, allow_partial: bool = False, folds: str = "within_topic"
) -> Arguments:
    """Read all pairs.

    Args:
        task: The task.
        data_root: Where the data sets lie.
        allow_partial: Accept fewer pairs than the data set has.
        folds: As in `Arguments`.

    Returns:
        Arguments: All pairs.

    Raises:
        UserError: If the file is missing, damaged or not what the data set's record says.
    """
    record = dataset(task.dataset)
    split = read(record, data_root, WHOLE, allow_partial=allow_partial)
    assert split.target is not None and split.subset is not None
    first, second = (list(split.texts[name]) for name in record.text_columns)
    known = (split.target, split.subset, split.facts, split.sha256)
    return Arguments(task, first, second, *known, folds)


def score(
    encoder: SentenceEncoder | PairScorer | FittedEncoder, data: Arguments, cache: Path | None
) -> dict[str, Any]:
    """Score a model that was not trained on the pairs.

    # paper: tf-idf, GloVe and InferSent stand above both protocols; the average is not specified
    # here: the mean over the same folds as those of trained models is the score; each topic has
    # ten, so it is a mean over topics too. The mean over whole topics stands beside it
    # effect: table 3, first three rows

    Args:
        encoder: A model; if it has to be fitted, then on the training sentences of each part.
        data: The pairs.
        cache: Where sentence vectors are kept, or ``None``.

    Returns:
        dict[str, Any]: ``pearson`` and ``spearman`` × 100, means over the folds; ``n``; and
        ``folds`` and ``topics``, each with its means and its ``parts``; and ``predictions``, those
        of the folds. ``None`` where a part's similarities are all equal.
    """
    scores: dict[str, Any] = {}
    everywhere = None if isinstance(encoder, FittedEncoder) else _similarities(encoder, data, cache)
    predictions: dict[str, dict[str, NDArray[Any]]] = {}
    for protocol, parts in data.parts().items():
        found, said = {}, []
        for number, (name, (tested, others)) in enumerate(parts.items()):
            if everywhere is None:
                assert isinstance(encoder, FittedEncoder)
                predicted = _fitted(encoder, data, tested, others)
            else:
                predicted = everywhere[tested]
            found[name] = _correlations(predicted, data.gold[tested])
            said.append((predicted, data.gold[tested], np.full(len(tested), number)))
        columns = (np.concatenate(column) for column in zip(*said, strict=True))
        predictions[protocol] = dict(zip(("predicted", "gold", "part"), columns, strict=True))
        scores[protocol] = {**_means(found), "parts": found}
    return {
        **_means(scores["folds"]["parts"]),
        "n": len(data.gold),
        **scores,
        "predictions": predictions["folds"],
    }


def _similarities(
    encoder: SentenceEncoder | PairScorer, data: Arguments, cache: Path | None
) -> Floats:
    """Return a model's similarity of every pair ``[N]``."""
    if isinstance(encoder, PairScorer):
        return encoder.score(list(zip(data.first, data.second, strict=True)))
    sentences = list(dict.fromkeys([*data.first, *data.second]))
    vectors = encode_sets(encoder, {data.task.name: sentences}, cache)[data.task.name]
    return cosine(*rows_of(vectors, sentences, data.first, data.second))


def _fitted(encoder: FittedEncoder, data: Arguments, tested: Rows, others: Rows) -> Floats:
    """Return the similarities of the tested pairs by an encoder fitted on the part's others."""
    fitted = encoder.fitted([text for side in _sides(data, others) for text in side])
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
