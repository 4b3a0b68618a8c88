"""The words a data set is described in: what it is, how big, where from, under which terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sbert_repro.data.folds import Part, part

Kind = Literal["labelled_pairs", "scored_pairs", "triplets", "labelled_texts"]
Format = Literal["hub_table", "tsv", "sts_folder", "lines", "by_hand"]


@dataclass(frozen=True)
class Source:
    """Where rows of one split come from, and how they become ours.

    Attributes:
        split: Our split.
        place: Id of a data set on the Hugging Face Hub, or the URL of a file.
        format: ``hub_table`` (through ``datasets``), ``tsv`` (tab-separated, a header line, a
            quote is a plain character), ``sts_folder`` (``STS.input.*.txt``, ``STS.gs.*.txt``),
            ``lines`` (each line is a row, cut by ``pattern``) or ``by_hand``: a CSV ``part`` that
            the user fetches from the page ``place`` and puts into the data set's folder.
        part: The Hub's split; or the file or folder to take, inside ``archive`` where there is one.
        config: The Hub's configuration of the data set.
        revision: Commit on the Hub; ``None``: the newest, which the download then writes down.
        archive: A tar file on the Hub that holds ``part``.
        sha256: Of the file or archive, where it is known.
        columns: Our column → theirs.
        labels: What the Hub's class ids 0, 1, 2 … stand for; a negative id is "no gold label".
            With ``lines``: the label of each file in ``subsets``.
        constants: Our column → a text that all these rows get.
        subsets: Names between ``STS.input.`` and ``.txt``; files in the folder ``part``, one after
            the other, with ``lines``.
        pattern: Regular expression of a line; its named groups are our columns.
        width: Columns of a CSV whose columns are known by their places, not by their names.
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


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set without reading it.

    Attributes:
        name: Folder in the data root, and the file of this package that holds the record.
        title: As the paper writes it.
        unit: What a row is, in the plural.
        kind: What an objective gets from it.
        splits: Split → rows of the complete set, rows without a gold label not counted.
        text_columns: The sentences of a row, in their order.
        target_column: Labels or scores; ``None`` for triplets.
        score_range: Lowest and highest gold score, for scored pairs.
        labels: The labels in the order of their class ids, for labelled sets.
        dropped_labels: Labels that mean "no gold label"; such rows are dropped and counted.
        source_column: Names the corpus that a row comes from, where a file has such a column.
        corpora: How the names of the set's own corpora begin; other rows are not counted as part of
            the complete set.
        subset_column: Names the part of a year, or the topic, that a pair comes from.
        topics: The topics, for a set in one piece that is cut into folds or by topic (`folds`).
        round_number: Its size is known as a round number only, so no other count is refused.
        sources: Where ``make data`` gets it.
        licence: Licence, or where its terms stand.
        citation: Whom to cite.
        note: What a reader of a number must know.
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
    corpora: tuple[str, ...] = ()
    subset_column: str | None = None
    topics: tuple[str, ...] = ()
    round_number: bool = False

    def part(self, split: str) -> Part | None:
        """Tell whether a split is cut out of the whole set, and how.

        Args:
            split: A split's name, such as ``test_fold_3``.

        Returns:
            Part | None: ``None`` for a split that is a file of its own.
        """
        return part(split) if self.topics else None

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that a file of this data set must have."""
        extra = (self.target_column, self.subset_column)
        return self.text_columns + tuple(name for name in extra if name is not None)

    def scaled(self, scores: np.ndarray) -> np.ndarray:
        """Bring raw gold scores to 0..1, where the regression objective compares them with cosine.

        For STSb this is score / 5, as in section 3.1's regression objective.

        Args:
            scores: Raw scores ``[N]``.

        Returns:
            np.ndarray: ``[N]``, float32, 0 at the lowest and 1 at the highest possible score.
        """
        low, high = self.score_range or (0.0, 1.0)
        return ((scores - low) / (high - low)).astype(np.float32)
