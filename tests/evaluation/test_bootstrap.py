"""Differences of systems over the same test items are known better than each of them."""

import json

import numpy as np
import pytest

from sbert_repro.evaluation import bootstrap, run
from sbert_repro.evaluation.bootstrap import intervals, keep, resampled
from sbert_repro.evaluation.tasks import load, resolve
from sbert_repro.ledger import Ledger, Published

NONE = Published(None)
RANDOM = np.random.default_rng(1)
GOLD = RANDOM.uniform(0, 5, 300)
GOOD = GOLD + RANDOM.normal(0, 2, 300)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "runs")


def kept(ledger, **predictions):
    """Keep predictions: name → (predicted, gold)."""
    for name, (predicted, gold) in predictions.items():
        keep({"predicted": predicted, "gold": gold}, ledger, f"key_{name}")


def difference(first, second, metric="spearman"):
    return [[(1.0, metric, (first,)), (-1.0, metric, (second,))]]


def test_a_system_does_not_differ_from_itself(ledger):
    kept(ledger, one=(GOOD, GOLD), same=(2 * GOOD + 1, GOLD))
    (found,), record = intervals(difference("key_one", "key_same"), ledger, NONE)
    assert found == pytest.approx((0, 0), abs=1e-9)
    assert (record["kind"], ledger.keys()) == ("bootstrap", [record["key"]])


def test_systems_that_err_alike_are_told_apart(ledger):
    better = 0.9 * GOOD + 0.1 * GOLD
    kept(ledger, good=(GOOD, GOLD), better=(better, GOLD))
    for metric in ("spearman", "pearson", "all"):
        sums = [*difference("key_better", "key_good", metric), [(1.0, metric, ("key_good",))]]
        (apart, alone), _ = intervals(sums, ledger, NONE)
        assert 0 < apart[0] and apart[1] - apart[0] < (alone[1] - alone[0]) / 4


def test_the_interval_surrounds_the_score_and_knows_seeds_and_weights(ledger):
    other = GOLD + np.random.default_rng(2).normal(0, 2, 300)
    kept(ledger, a=(GOOD, GOLD), b=(other, GOLD))
    mean, half = [(1.0, "pearson", ("key_a", "key_b"))], [(0.5, "pearson", ("key_a", "key_b"))]
    (whole, halved), _ = intervals([mean, half], ledger, NONE)
    scores = [100 * np.corrcoef(said, GOLD)[0, 1] for said in (GOOD, other)]
    assert whole[0] < np.mean(scores) < whole[1]
    assert halved == pytest.approx([end / 2 for end in whole])


def test_folds_are_drawn_one_by_one():
    part = np.repeat([0, 1], 150)
    found = resampled({"predicted": GOOD, "gold": GOLD, "part": part}, "spearman")
    first, second = (
        resampled({"predicted": GOOD[part == p], "gold": GOLD[part == p]}, "spearman")
        for p in (0, 1)
    )
    assert found == pytest.approx((first + second) / 2)


def test_right_and_wrong_are_counted():
    correct = RANDOM.random(400) < 0.8
    found = resampled({"correct": correct}, "accuracy")
    assert found.mean() == pytest.approx(100 * correct.mean(), abs=0.3)
    assert found.std() == pytest.approx(100 * correct.std() / 20, rel=0.15)


def test_without_predictions_nothing_is_known_unless_it_was_published(ledger, tmp_path):
    sums = difference("key_one", "key_two")
    kept(ledger, one=(GOOD, GOLD))
    assert intervals(sums, ledger, NONE) is None
    (ledger.folder("key_two") / bootstrap.FILE).parent.mkdir()
    (ledger.folder("key_two") / bootstrap.FILE).write_bytes(b"cut off")
    assert intervals(sums, ledger, NONE) is None
    kept(ledger, two=(-GOOD, GOLD))
    found, record = intervals(sums, ledger, NONE)
    (tmp_path / "claims.json").write_text(json.dumps({"records": {record["key"]: record}}))
    elsewhere = Ledger(tmp_path / "elsewhere")
    assert intervals(sums, elsewhere, Published(tmp_path)) == (found, record)
    assert elsewhere.keys() == []


def test_a_collapsed_system_has_no_interval(ledger):
    kept(ledger, flat=(np.ones(300), GOLD))
    assert intervals([[(1.0, "spearman", ("key_flat",))]], ledger, NONE) is None


def test_an_evaluation_keeps_what_was_said(small_root, hashes, ledger):
    tasks = [load(task, small_root, allow_partial=True) for task in resolve("stsb", small_root)]
    record = run.evaluate_once(hashes(), tasks, ledger)["stsb"]
    assert "predictions" not in record
    (interval,), _ = intervals([[(1.0, "spearman", (record["key"],))]], ledger, NONE)
    assert interval[0] < record["scores"]["spearman"] < interval[1]
