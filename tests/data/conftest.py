"""Small data sets in the project's layout, and a record for each kind of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sbert_repro.data.schema import DataSet, dataset

Write = Callable[..., Path]


@pytest.fixture
def scored() -> DataSet:
    """STSb as if it had three dev pairs."""
    return replace(dataset("stsb"), splits={"dev": 3})


@pytest.fixture
def labelled() -> DataSet:
    """NLI as if it had three training pairs."""
    return replace(dataset("nli"), splits={"train": 3})


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes columns as one split of a data set below tmp_path."""

    def write(record: DataSet, split: str, columns: dict[str, Any] | pa.Table) -> Path:
        path = tmp_path / record.name / f"{split}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)
        return path

    return write


@pytest.fixture
def pairs() -> dict[str, list[Any]]:
    """Three good scored pairs, to be spoilt one column at a time."""
    return {
        "sentence1": ["a dog runs", "", "three"],
        "sentence2": ["a cat sits", "two", "drei"],
        "score": [0.0, 2.5, 5.0],
    }


@pytest.fixture
def nli_pairs() -> dict[str, list[Any]]:
    """Three good labelled pairs."""
    return {
        "premise": ["a", "b", "c"],
        "hypothesis": ["d", "e", "f"],
        "label": ["neutral", "contradiction", "entailment"],
    }
