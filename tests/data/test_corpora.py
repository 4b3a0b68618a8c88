"""Rows that are not the data set's own are not counted as part of it."""

import pandas as pd
import pytest

from sbert_repro.data.read import read
from sbert_repro.data.schema import dataset
from sbert_repro.facts import sentences

SOURCES = ["snli_train", "lingnli", "mnli_nyu_train", "cad_combined_train", "taxinli10k", "snli"]


@pytest.fixture
def root(tmp_path):
    def of(**more):
        frame = {"premise": list("abcdef"), "hypothesis": list("uvwxyz"), "label": ["neutral"] * 6}
        (tmp_path / "nli").mkdir()
        pd.DataFrame({**frame, **more}).to_parquet(tmp_path / "nli" / "train.parquet")
        return tmp_path

    return of


def notes(root, limit=None):
    return sentences(read(dataset("nli"), root, "train", limit=limit, allow_partial=True).facts)


def test_other_corpora_are_told_apart(root):
    folder = root(source=SOURCES)
    assert notes(folder) == ["NLI: 6 pairs, 4 of them of the complete set's 942,069"]
    assert notes(folder, 3) == ["NLI: 3 pairs, 2 of them of the complete set's 942,069"]
    assert notes(folder, 1) == ["NLI: 1 of 942,069 pairs"]


def test_rows_without_a_gold_label_count_nowhere(root):
    labels = ["-", "neutral", "neutral", "neutral", "neutral", "neutral"]
    folder = root(source=SOURCES, label=labels)
    assert notes(folder, 2)[0] == "NLI: 2 pairs, 1 of them of the complete set's 942,069"


@pytest.mark.parametrize("more", [{}, {"source": ["snli"] * 6}, {"source": ["mnli_train"] * 6}])
def test_where_all_are_its_own_or_nothing_says_so_the_note_is_short(root, more):
    assert notes(root(**more)) == ["NLI: 6 of 942,069 pairs"]


def test_a_missing_source_is_no_source(root):
    folder = root(source=["snli", None, "snli", "snli", "snli", "snli"])
    assert notes(folder) == ["NLI: 6 pairs, 5 of them of the complete set's 942,069"]
