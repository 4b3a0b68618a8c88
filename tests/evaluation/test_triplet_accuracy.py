"""Triplet accuracy, by hand and streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.data.sets import wikisections
from sbert_repro.errors import UserError
from sbert_repro.evaluation import triplet_accuracy
from sbert_repro.evaluation.evaluate import evaluate
from sbert_repro.evaluation.tasks import TASKS
from sbert_repro.evaluation.triplet_accuracy import Triplets, score
from sbert_repro.facts import sentences


class Points:
    """Embeds "x y" as the point (x, y) and counts what it was asked."""

    label, identity = "points", {"kind": "points"}

    def __init__(self) -> None:
        self.facts: list = []
        self.batches: list[int] = []

    def encode(self, sentences: Sequence[str]) -> np.ndarray:
        self.batches.append(len(sentences))
        return np.array([[float(n) for n in text.split()] for text in sentences], np.float32)


def triplets(*rows: tuple[str, str, str]) -> Triplets:
    return Triplets(TASKS["wikisections"], tuple(zip(*rows, strict=True)), [], "")


def test_each_distance_by_hand():
    rows = [
        ("1 0", "2 0", "1 5"),  # closer by all three
        ("1 0", "9 0", "1 1"),  # closer by angle only
        (
            "0 0",
            "2 2",
            "3 0",
        ),  # closer by Euclidean distance (2.8 < 3), further by Manhattan (4 > 3)
        ("1 0", "2 1", "2 1"),  # a tie is wrong
    ]
    scores = score(Points(), triplets(*rows), None)
    assert scores["accuracy"] == 50.0 and scores["n"] == 4
    assert scores["similarities"] == {"cosine": 50.0, "manhattan": 25.0}
    assert 0 < scores["ci_low"] < 50 < scores["ci_high"] < 100


@given(st.lists(st.tuples(*[st.sampled_from(["0 1", "1 0", "2 3", "5 5"])] * 3), min_size=1))
def test_pieces_give_what_the_whole_gives(rows):
    whole = score(Points(), triplets(*rows), None)
    before = triplet_accuracy._BLOCK
    try:
        triplet_accuracy._BLOCK = 2
        pieces = score(Points(), triplets(*rows), None)
    finally:
        triplet_accuracy._BLOCK = before
    right, all_right = (found.pop("predictions")["correct"] for found in (pieces, whole))
    assert right.tolist() == all_right.tolist() and pieces == whole
    assert 100 * right.mean() == pytest.approx(whole["accuracy"])


def test_a_sentence_is_embedded_once_in_a_piece():
    points = Points()
    score(points, triplets(("0 0", "1 1", "2 2"), ("0 0", "1 1", "3 3")), None)
    assert points.batches == [4]


def test_a_certain_score_has_an_interval_within_bounds():
    scores = score(Points(), triplets(*[("0 0", "1 1", "2 2")] * 100), None)
    assert scores["accuracy"] == scores["ci_high"] == pytest.approx(100)
    assert scores["ci_low"] == pytest.approx(96.3, abs=0.1)


def test_a_pair_scorer_is_refused_in_one_line():
    class Scorer:
        label, facts, identity = "cross-encoder", (), {}

        def score(self, pairs):
            return np.zeros(len(pairs))

    with pytest.raises(UserError, match=r"task=wikisections: compares distances .* cross-encoder"):
        score(Scorer(), triplets(("0 0", "1 1", "2 2")), None)


def test_through_the_one_path_of_evaluation(tmp_path, monkeypatch):
    small = replace(wikisections.RECORD, splits={"test": 3, "dev": 3})
    monkeypatch.setattr(wikisections, "RECORD", small)
    folder = tmp_path / "wikisections"
    folder.mkdir()
    columns = {"anchor": ["0 0"] * 2, "positive": ["1 1"] * 2, "negative": ["2 2", "0.5 0"]}
    pq.write_table(pa.table(columns), folder / "test.parquet")
    with pytest.raises(UserError, match="2 of 3 triplets"):
        evaluate(Points(), "wikisections", tmp_path)
    found = evaluate(Points(), "wikisections", tmp_path, allow_partial=True)["wikisections"]
    assert found["accuracy"] == 50.0
    assert sentences(found["facts"]) == ["Wikipedia sections: 2 of 3 test triplets"]
