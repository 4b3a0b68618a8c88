"""The one path from an encoder to scores, on made-up pairs; scores on the screen and as JSON."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from sbert_repro.errors import UserError
from sbert_repro.evaluation.evaluate import as_json, evaluate, notes, table
from sbert_repro.facts import sentences


def shown(scores):
    console = Console(file=io.StringIO(), width=80)
    console.print(table(scores))
    return console.file.getvalue()


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
    assert sentences(year["facts"]) == ["STS12: 40 of 3,108 test pairs"]
    assert scores["_meta"] == {"label": "hashes", "encoder": encoder.identity, "facts": []}
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


def test_a_collapsed_encoder_is_a_result(small_root, hashes):
    encoder = hashes()
    encoder.encode = lambda sentences: np.ones((len(sentences), 4), np.float32)
    scores = evaluate(encoder, "stsb", small_root, allow_partial=True)
    assert scores["stsb"]["spearman"] is None
    assert {"code": "no_correlation", "task": "stsb"} in scores["stsb"]["facts"]
    assert "—" in shown(scores)
    assert json.loads(as_json(scores))["stsb"]["spearman"] is None


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


def test_a_row_a_task_within_80_columns_and_notes_of_each(small_root, hashes):
    scores = evaluate(hashes(), "sts12,sickr_all", small_root, allow_partial=True)
    text = shown(scores)
    for number in (
        scores["sts12"]["all"],
        scores["sts12"]["wmean"],
        scores["sickr_all"]["pearson"],
    ):
        assert f"{number:.2f}" in text
    assert "sickr_all" in text and "hashes" in text and "…" not in text
    scores["_meta"]["facts"] = [{"code": "unknown_file", "file": "w.pkl", "sha256": "0"}]
    assert notes(scores)[:2] == [
        "w.pkl: sha256 0, compared with none",
        "STS12: 40 of 3,108 test pairs",
    ]


def test_the_json_keeps_its_shape_whatever_the_facts(small_root, hashes):
    encoder = hashes()
    encoder.facts = [{"code": "unknown_file", "file": "w.pkl", "sha256": "0"}]
    written = json.loads(as_json(evaluate(encoder, "stsb", small_root, allow_partial=True)))
    assert written["stsb"]["notes"] == ["STSb: 30 of 1,379 test pairs"]
    assert written["_meta"]["notes"] == ["w.pkl: sha256 0, compared with none"]
    assert written["_meta"]["label"] == "hashes"


def test_the_screen_does_not_call_a_pairs_score_a_cosine(small_root, lengths):
    scores = evaluate(lengths, "stsb", small_root, allow_partial=True)
    assert "the cosine" in str(table(scores).title)
    scores["_meta"]["encoder"] = {"encoder": "cross_encoder"}
    assert "correlation of the score of each pair" in str(table(scores).title)
