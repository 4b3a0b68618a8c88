"""Which rows of a file belong to the corpora that the paper's set is made of, and which do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from sbert_repro.data import columns
from sbert_repro.data.description import DataSet
from sbert_repro.data.table import opened


def rows_of_the_set(record: DataSet, path: Path, first: int) -> int | None:
    """Count, among the first usable rows of a file, those from the data set's own corpora.

    Args:
        record: The data set.
        path: A file of it.
        first: How many usable rows count.

    Returns:
        int | None: ``None`` where nothing says which corpus a row is from.

    Raises:
        UserError: If the file is missing, damaged or lacks a column.
    """
    where, target = record.source_column, record.target_column
    if where is None or target is None:
        return None
    with opened(record, path) as file:
        if where not in file.schema_arrow.names:
            return None
        table = file.read(columns=[where, target])
    ids = columns.class_ids(table[target], target, path, record.labels or (), record.dropped_labels)
    own = np.zeros(len(table), bool)
    for corpus in record.corpora:
        own |= pc.fill_null(pc.starts_with(table[where], corpus), False).to_numpy()
    return int(own[ids >= 0][:first].sum())
