"""Training and test parts of a data set that is published in one piece (section 4.3).

Two ways to cut, named by the split that one asks for:

* ``train_fold_3`` / ``test_fold_3``: 10-fold cross-validation, every fold with its share of each
  topic;
* ``train_topic_gun_control`` / ``test_topic_gun_control``: tested on one topic, trained on all
  others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""Raised when rows would fall into other folds; part of the key of what rests on them."""
FOLDS = 10
WHOLE = "all"
"""The split that is cut."""

_SPLIT = re.compile(r"(train|test)_(?:fold_(\d)|topic_(\w+))")


@dataclass(frozen=True)
class Part:
    """What a split's name asks for.

    Attributes:
        train: The rows to train on, else those to test on.
        fold: Number of the fold, from 0, or ``None``.
        topic: The topic as options spell it, or ``None``.
    """

    train: bool
    fold: int | None
    topic: str | None


def part(split: str) -> Part | None:
    """Read a split's name.

    Args:
        split: The name.

    Returns:
        Part | None: ``None`` for the name of a file.
    """
    found = _SPLIT.fullmatch(split)
    if found is None:
        return None
    side, fold, topic = found.groups()
    return Part(side == "train", None if fold is None else int(fold), topic)


def part_names(topics: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Give the parts of both protocols; before each stands ``train_`` or ``test_``.

    Args:
        topics: The data set's topics.

    Returns:
        dict[str, tuple[str, ...]]: ``{"folds": ("fold_0", …), "topics": ("topic_dp", …)}``.
    """
    return {
        "folds": tuple(f"fold_{number}" for number in range(FOLDS)),
        "topics": tuple(f"topic_{spelled(topic)}" for topic in topics),
    }


def spelled(topic: str) -> str:
    """Give a topic as options spell it: lower case, ``_`` for what is no letter or digit.

    Args:
        topic: "Gun control".

    Returns:
        str: "gun_control".
    """
    return re.sub(r"\W+", "_", topic.lower()).strip("_")


def rows(wanted: Part, topics: NDArray[Any], texts: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Give the rows of a part, in an order that depends on nothing but their texts.

    A file that is sorted by topic would otherwise give its first topics only under a limit.

    Args:
        wanted: The part.
        topics: Topic of each row ``[N]``.
        texts: The text columns, ``N`` texts each.

    Returns:
        NDArray[np.int64]: Row numbers.
    """
    if wanted.fold is None:
        tested = np.array([spelled(topic) == wanted.topic for topic in topics.tolist()], bool)
    else:
        tested = fold_of(topics, texts) == wanted.fold
    chosen = np.flatnonzero(~tested if wanted.train else tested)
    return chosen[np.argsort(_keys(texts)[chosen], kind="stable")]


def fold_of(topics: NDArray[Any], texts: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """Deal the rows of each topic out to the folds.

    The order of dealing comes from a hash of the texts: it depends neither on the order of the rows
    nor on any library's random numbers, so the folds are the same everywhere.

    # paper: "10-fold cross-validation", no word on how the folds are drawn
    # here: drawn once, every fold with a tenth of each topic; all topics are trained on together
    # effect: table 3, upper half

    Args:
        topics: Topic of each row ``[N]``.
        texts: The text columns, ``N`` texts each.

    Returns:
        NDArray[np.int64]: Fold of each row ``[N]``, 0 to 9.
    """
    folds = np.empty(len(topics), np.int64)
    keys = _keys(texts)
    dealt = 0
    for topic in sorted(set(topics.tolist())):
        mine = np.flatnonzero(topics == topic)
        order = mine[np.argsort(keys[mine], kind="stable")]
        # Going on where the last topic stopped keeps the folds equal in size.
        folds[order] = (dealt + np.arange(len(order))) % FOLDS
        dealt += len(order)
    return folds


def _keys(texts: Sequence[Sequence[str]]) -> NDArray[Any]:
    joined = ("\x1f".join(row).encode("utf-8", "surrogatepass") for row in zip(*texts, strict=True))
    return np.array([hashlib.sha256(row).hexdigest() for row in joined])
