"""What a record of a data set says, how to find one, and the folds and topics of sets in one piece.

A data set is one file in ``data/sets`` that holds a ``RECORD``; nothing lists them.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sbert_repro.errors import UserError

Kind = Literal["labelled_pairs", "scored_pairs", "triplets", "labelled_texts"]
Format = Literal["hub_table", "tsv", "sts_folder", "lines", "by_hand"]

FOLDS = 10
FOLDS_VERSION = 1
"""Part of the key of every number that rests on folds: raised when rows would change their fold."""
WHOLE = "all"
"""The split of a data set that is published in one piece; folds and topics are cut out of it."""


@dataclass(frozen=True)
class Source:
    """Where the rows of a split come from, and how they become ours.

    Attributes:
        split: Our split.
        place: Id of a data set on the Hugging Face Hub, or the URL of a file.
        format: ``hub_table`` (loaded with ``datasets``), ``tsv`` (tab-separated with a header line;
            quotes are ordinary characters), ``sts_folder`` (``STS.input.*.txt`` and
            ``STS.gs.*.txt``), ``lines`` (one row per line, parsed by ``pattern``) or ``by_hand``: a
            CSV ``part`` that the user downloads from the page ``place`` into the data set's folder.
        part: The Hub's split; or the file or folder to take, inside ``archive`` if there is one.
        config: The Hub's configuration of the data set.
        revision: Commit on the Hub; ``None``: the newest, which the download records.
        archive: A tar file on the Hub that contains ``part``.
        sha256: Of the file or archive, where it is known.
        columns: Our column → theirs.
        labels: What the Hub's class ids 0, 1, 2 … stand for; a negative id means "no gold label".
            With ``lines``: the label of each file in ``subsets``.
        constants: Our column → a text that all these rows get.
        subsets: Names between ``STS.input.`` and ``.txt``; with ``lines``, the files of the folder
            ``part``, in order.
        pattern: Regular expression of a line; its named groups are our columns.
        width: Number of columns of a CSV whose columns are identified by position, not by name.
        encoding: Of a CSV, or of lines.
    """

    split: str
    place: str
    format: Format
    part: str
    config: str | None = None
    revision: str | None = None
    archive: str | None = None
    sha256: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    constants: Mapping[str, str] = field(default_factory=dict)
    subsets: tuple[str, ...] = ()
    width: int | None = None
    encoding: str = "utf-8"
    pattern: str = "(?P<text>.*)"


# The one bundle that has SentEval's pairs and texts exactly: the copies of single tasks on the Hub
# have lost the subsets of a year (STS12-16) or the splits (SICK).
senteval = partial(
    Source,
    place="princeton-nlp/datasets-for-simcse",
    revision="e145e8bb659b2aa2669f32ef79cb4cdef6c58fef",
    archive="senteval.tar",
)
"""A `Source` in SentEval's bundle; ``split``, ``format`` and ``part`` are left to give."""


KOR_NLU = "0df0fe7d496eb61b092e022e238c2230b29f1cbc"
"""Commit of the repository that holds the Korean data sets; pull requests there add quotes."""


def kor_nlu(split: str, part: str, columns: Mapping[str, str]) -> Source:
    """Describe a tab-separated file of the repository that holds the Korean data sets.

    Args:
        split: Our split.
        part: The file in the repository.
        columns: Our column → theirs.

    Returns:
        Source: Pinned to the commit.
    """
    repository = "https://raw.githubusercontent.com/kakaobrain/kor-nlu-datasets"
    place = f"{repository}/{KOR_NLU}/{part}"
    return Source(split, place, "tsv", part, revision=KOR_NLU, columns=columns)


@dataclass(frozen=True)
class Part:
    """A fold of all topics, a topic, or a fold of one topic, of a data set in one piece.

    Attributes:
        train: Whether these are the rows to train on, rather than those to test on.
        fold: Number of the fold, from 0, or ``None``.
        topic: The topic as options spell it, or ``None``.
    """

    train: bool
    fold: int | None
    topic: str | None

    def holds(self, topic: str, fold: int) -> bool:
        """Tell whether the part has the rows of a topic and fold.

        Args:
            topic: As options spell it.
            fold: Its number.

        Returns:
            bool: For a fold of one topic, a model is trained on that topic's other folds alone; for
            any other part, on all rows that are not tested.
        """
        in_topic = self.topic is None or topic == self.topic
        tested = in_topic and (self.fold is None or fold == self.fold)
        if not self.train:
            return tested
        return not tested and (in_topic or self.fold is None)


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set without reading it.

    Attributes:
        name: Folder in the data root, and the file in ``data/sets`` that holds the record.
        title: As the paper writes it.
        unit: What a row is, in the plural.
        kind: What an objective gets from it.
        splits: Split → rows of the complete set, not counting rows without a gold label.
        text_columns: The sentences of a row, in order.
        target_column: Labels or scores; ``None`` for triplets.
        sources: Where ``make data`` gets it.
        licence: Licence, or where its terms are found.
        citation: Whom to cite.
        note: What a reader of a number must know.
        score_range: Lowest and highest gold score, for scored pairs.
        labels: The labels in the order of their class ids, for labelled sets.
        dropped_labels: Labels that mean "no gold label"; such rows are dropped and counted.
        source_column: Names the corpus a row comes from, where a file has such a column.
        corpora: The data set's own corpora, as in ``data.sources`` → what their names in the source
            column begin with; rows of other corpora do not count as rows of the complete set.
        subset_column: Names the subset of a year, or the topic, that a pair comes from.
        topics: The topics, for a set in one piece that is cut into folds or by topic.
        round_number: Only a round number is known of its size, so any number of rows is accepted.
        in_tables: A table of the paper rests on it, so `make data` gets it without being told.
    """

    name: str
    title: str
    unit: str
    kind: Kind
    splits: Mapping[str, int]
    text_columns: tuple[str, ...]
    target_column: str | None
    sources: tuple[Source, ...]
    licence: str
    citation: str
    note: str
    score_range: tuple[float, float] | None = None
    labels: tuple[str, ...] | None = None
    dropped_labels: tuple[str, ...] = ()
    source_column: str | None = None
    corpora: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    subset_column: str | None = None
    topics: tuple[str, ...] = ()
    round_number: bool = False
    in_tables: bool = True

    def part(self, split: str) -> Part | None:
        """Parse a split's name such as ``test_fold_3``; ``None`` for a split with its own file."""
        return parse_part(split) if self.topics else None

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that a file of this data set must have."""
        extra = (self.target_column, self.subset_column)
        return self.text_columns + tuple(name for name in extra if name is not None)

    def scaled(self, scores: np.ndarray) -> np.ndarray:
        """Scale raw gold scores to 0..1, where the regression objective compares them with cosine.

        For STSb this is score / 5, as in section 3.1's regression objective.

        Args:
            scores: Raw scores ``[N]``.

        Returns:
            np.ndarray: ``[N]``, float32, 0 at the lowest and 1 at the highest possible score.
        """
        low, high = self.score_range or (0.0, 1.0)
        return ((scores - low) / (high - low)).astype(np.float32)


def names() -> list[str]:
    """List the data sets: the files in ``data/sets``, sorted."""
    files = (Path(__file__).parent / "sets").glob("*.py")
    return sorted(path.stem for path in files if path.stem != "__init__")


def dataset(name: str) -> DataSet:
    """Return the record of a data set.

    Args:
        name: Its name, which is that of its file in ``data/sets``.

    Returns:
        DataSet: The record.

    Raises:
        UserError: If there is no data set of this name; the message lists those that exist.
    """
    if name not in (known := names()):
        raise UserError(f"there is no data set {name!r}; there are {', '.join(known)}")
    record: DataSet = importlib.import_module(f"sbert_repro.data.sets.{name}").RECORD
    return record


def parse_part(split: str) -> Part | None:
    """Parse the name of a fold or topic of a set that is published in one piece (section 4.3).

    ``train_within_gun_control_fold_3`` and ``test_within_gun_control_fold_3`` belong to 10-fold
    cross-validation within a topic; ``train_fold_3`` and ``test_fold_3`` to that over all topics,
    where every fold has its share of each; ``train_topic_gun_control`` and
    ``test_topic_gun_control`` to training on all topics but the one that is tested.

    Args:
        split: The name.

    Returns:
        Part | None: ``None`` for any other name.
    """
    found = re.fullmatch(r"(train|test)_(?:(?:within_(\w+)_)?fold_(\d)|topic_(\w+))", split)
    if found is None:
        return None
    side, within, fold, topic = found.groups()
    return Part(side == "train", None if fold is None else int(fold), within or topic)


def part_names(topics: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name the parts of each protocol, without the ``train_`` or ``test_`` before each.

    Args:
        topics: The data set's topics.

    Returns:
        dict[str, tuple[str, ...]]: ``within_topic`` and ``all_topics``, the two readings of
        10-fold cross-validation, and ``topics``; the first folds of all topics come first, so that
        the first few parts are a fair sample.
    """
    words = [spelled(topic) for topic in topics]
    return {
        "within_topic": tuple(
            f"within_{word}_fold_{number}" for number in range(FOLDS) for word in words
        ),
        "all_topics": tuple(f"fold_{number}" for number in range(FOLDS)),
        "topics": tuple(f"topic_{word}" for word in words),
    }


def spelled(topic: str) -> str:
    """Spell a topic as options do: "Gun control" becomes "gun_control"."""
    return re.sub(r"\W+", "_", topic.lower()).strip("_")


def part_rows(
    part: Part, topics: NDArray[Any], texts: Sequence[Sequence[str]]
) -> NDArray[np.int64]:
    """Select the rows of a part, in an order that depends on nothing but their texts.

    In a file sorted by topic, a limit on the number of rows would otherwise take only the first
    topics.

    Args:
        part: The part.
        topics: Topic of each row ``[N]``.
        texts: The text columns, ``N`` texts each.

    Returns:
        NDArray[np.int64]: Row numbers.
    """
    folds = fold_of(topics, texts).tolist()
    words = {topic: spelled(topic) for topic in set(topics.tolist())}
    held = [
        part.holds(words[topic], fold) for topic, fold in zip(topics.tolist(), folds, strict=True)
    ]
    chosen = np.flatnonzero(held)
    return chosen[np.argsort(_sort_keys(texts)[chosen], kind="stable")]


def fold_of(topics: NDArray[Any], texts: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Deal the rows of each topic out to the folds.

    The order of dealing comes from a hash of the texts. It depends neither on the order of the rows
    nor on any library's random numbers, so the folds are the same everywhere.

    # paper: "10-fold cross-validation", not a word on how the folds are drawn
    # here: drawn once, a tenth of each topic; ``profile.afs_folds`` says whether a model is trained
    # on the nine other folds of the tested topic (Misra et al. average over three topics), or of
    # all topics
    # effect: table 3, upper half

    Args:
        topics: Topic of each row ``[N]``.
        texts: The text columns, ``N`` texts each.

    Returns:
        NDArray[np.int64]: Fold of each row ``[N]``, 0 to 9.
    """
    folds = np.empty(len(topics), np.int64)
    keys = _sort_keys(texts)
    dealt = 0
    for topic in sorted(set(topics.tolist())):
        rows = np.flatnonzero(topics == topic)
        order = rows[np.argsort(keys[rows], kind="stable")]
        # Continuing where the last topic stopped keeps the folds equal in size.
        folds[order] = (dealt + np.arange(len(order))) % FOLDS
        dealt += len(order)
    return folds


def _sort_keys(texts: Sequence[Sequence[str]]) -> NDArray[Any]:
    joined = ("\x1f".join(row).encode("utf-8", "surrogatepass") for row in zip(*texts, strict=True))
    return np.array([hashlib.sha256(row).hexdigest() for row in joined])
