"""The one path from an encoder to scores, on made-up pairs."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import evaluate


def test_scores_are_those_of_the_contract_and_right(small_root, hashes):
    encoder = hashes()
    scores = evaluate(encoder, "sts12,stsb", small_root, allow_partial=True)
    assert list(scores) == ["sts12", "stsb", "_meta"]
    frame = pd.read_parquet(small_root / "stsb" / "test.parquet")
    u, v = hashes().encode(frame["sentence1"]), hashes().encode(frame["sentence2"])
    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    expected = {
        "spearman": cosine,
        "manhattan": -np.abs(u - v).sum(1),
        "euclidean": -np.linalg.norm(u - v, axis=1),
        "dot": (u * v).sum(1),
    }
    found = {**scores["stsb"], **scores["stsb"]["similarities"]}
    for name, values in expected.items():
        assert found[name] == pytest.approx(100 * stats.spearmanr(values, frame["score"])[0])
    year = scores["sts12"]
    assert {name: part["n"] for name, part in year["subsets"].items()} == {
        "MSRpar": 12, "MSRvid": 20, "SMTeuroparl": 8,
    }  # fmt: skip
    assert {"all", "mean", "wmean", "pearson", "n", "ci_low", "ci_high"} <= set(year)
    assert year["notes"] == ["STS12: 40 of 3,108 pairs"]
    assert scores["_meta"] == {"label": "hashes", "encoder": encoder.identity, "notes": []}
    json.dumps(scores, allow_nan=False)


def test_each_text_is_embedded_once_for_all_tasks(small_root, hashes, tmp_path):
    encoder = hashes()
    evaluate(encoder, "all", small_root, allow_partial=True)
    assert len(encoder.asked) == 1 and len(set(encoder.texts)) == len(encoder.texts)
    first, second = hashes(), hashes()
    a = evaluate(first, "stsb", small_root, allow_partial=True, cache=tmp_path / "cache")
    b = evaluate(second, "stsb,sts12", small_root, allow_partial=True, cache=tmp_path / "cache")
    assert not set(second.texts) & set(first.texts) and a["stsb"] == b["stsb"]


def test_a_pair_scorer_is_scored_by_its_own_scores(small_root, lengths):
    scores = evaluate(lengths, "stsb", small_root, allow_partial=True)
    frame = pd.read_parquet(small_root / "stsb" / "test.parquet")
    predicted = -(frame["sentence1"].str.len() - frame["sentence2"].str.len()).abs()
    expected = 100 * stats.spearmanr(predicted, frame["score"])[0]
    assert scores["stsb"]["spearman"] == pytest.approx(expected)
    assert scores["stsb"]["similarities"] == {}


def test_a_collapsed_encoder_is_shown_with_a_note(small_root, hashes):
    encoder = hashes()
    encoder.encode = lambda sentences: np.ones((len(sentences), 4), np.float32)
    scores = evaluate(encoder, "stsb", small_root, allow_partial=True)
    assert scores["stsb"]["spearman"] is None
    assert "stsb: all similarities are equal, no correlation is defined" in scores["stsb"]["notes"]


def test_zero_vectors_are_a_score_of_zero_similarity(small_root, hashes):
    encoder = hashes()
    whole = encoder.encode
    encoder.encode = lambda sentences: (
        whole(sentences) * (np.arange(len(sentences)) % 3 > 0)[:, None]
    )
    assert np.isfinite(
        evaluate(encoder, "stsb", small_root, allow_partial=True)["stsb"]["spearman"]
    )


@pytest.mark.parametrize(
    ("task", "says"), [("stsb", "30 of 1,379"), ("korsts", "korsts/test.parquet")]
)
def test_incomplete_and_missing_data_are_one_line(small_root, hashes, task, says):
    encoder = hashes()
    with pytest.raises(UserError, match=says):
        evaluate(encoder, task, small_root)
    assert encoder.asked == []
