"""The two protocols of section 4.3, on a toy encoder and on real arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sbert_repro.data.schema import FOLDS
from sbert_repro.encoders.tfidf import TfidfEncoder
from sbert_repro.encoders.word_average import WordAverageEncoder
from sbert_repro.errors import UserError
from sbert_repro.evaluation.afs import Arguments, score
from sbert_repro.evaluation.evaluate import evaluate
from sbert_repro.evaluation.tasks import TASKS, resolve
from sbert_repro.similarity import pearson, spearman

N = 240


class Scorer:
    """Scores pairs by the number that they end in; remembers what it was asked."""

    label, facts, identity = "scorer", (), {"kind": "scorer"}

    def score(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return np.array([float(first.split()[-1]) % 7 for first, _ in pairs])


class Recorder:
    """Is fitted; notes which sentences it learnt from and which it embedded afterwards."""

    label, facts, identity = "recorder", (), {"kind": "recorder"}

    def __init__(self) -> None:
        self.seen: list[tuple[set[str], set[str]]] = []

    def fitted(self, sentences: Sequence[str]) -> Recorder:
        self.seen.append((set(sentences), set()))
        return self

    def encode(self, sentences: Sequence[str]) -> np.ndarray:
        self.seen[-1][1].update(sentences)
        return np.array([[1, float(text.split()[-1])] for text in sentences], np.float32)


@pytest.fixture(params=["within_topic", "all_topics"])
def arguments(request) -> Arguments:
    return Arguments(
        task=TASKS["afs"],
        first=[f"one {row}" for row in range(N)],
        second=[f"two {row}" for row in range(N)],
        gold=np.random.default_rng(3).uniform(0, 5, N),
        topics=np.array([("DP", "GC", "GM")[row % 3] for row in range(N)]),
        facts=[],
        sha256="",
        folds=request.param,
    )


def test_scores_are_means_over_the_parts(arguments):
    scores = score(Scorer(), arguments, None)
    predicted = Scorer().score(list(zip(arguments.first, arguments.second, strict=True)))
    for protocol, parts in arguments.parts().items():
        expected = [
            (
                100 * pearson(predicted[rows], arguments.gold[rows]),
                100 * spearman(predicted[rows], arguments.gold[rows]),
            )
            for rows, _ in parts.values()
        ]
        found = scores[protocol]
        assert (found["pearson"], found["spearman"]) == pytest.approx(np.mean(expected, axis=0))
        tested = [len(rows) for rows, _ in parts.values()]
        assert [part["n"] for part in found["parts"].values()] == tested and sum(tested) == N
    assert scores["pearson"] == scores["folds"]["pearson"] and scores["n"] == N
    assert list(scores["topics"]["parts"]) == ["topic_dp", "topic_gc", "topic_gm"]


def test_what_is_fitted_never_sees_the_pairs_it_is_tested_on(arguments):
    recorder = Recorder()
    score(recorder, arguments, None)
    within = arguments.folds == "within_topic"
    assert len(recorder.seen) == FOLDS * (3 if within else 1) + 3
    topic_of = dict(
        zip([*arguments.first, *arguments.second], [*arguments.topics] * 2, strict=True)
    )
    for number, (learnt, tested) in enumerate(recorder.seen):
        assert learnt and tested and not learnt & tested
        topics = {topic_of[text] for text in tested}
        own = {text for text in topic_of if not within or topic_of[text] in topics}
        assert learnt | tested == (own if number < len(recorder.seen) - 3 else set(topic_of))


def test_a_part_that_is_not_defined_leaves_the_mean_undefined(arguments):
    arguments.gold[arguments.topics == "GM"] = 1.0
    scores = score(Scorer(), arguments, None)
    assert scores["topics"]["parts"]["topic_gm"]["spearman"] is None
    assert scores["topics"]["spearman"] is None and scores["topics"]["parts"]["topic_dp"]["pearson"]


def test_parts_are_tasks_of_their_own(data_root):
    names = "afs_fold_9,bws_topic_gun_control,afs_within_gm_fold_2"
    assert [(task.dataset, task.splits) for task in resolve(names, data_root)] == [
        ("afs", ("test_fold_9",)),
        ("bws", ("test_topic_gun_control",)),
        ("afs", ("test_within_gm_fold_2",)),
    ]
    with pytest.raises(UserError, match="there is no such task"):
        resolve("stsb_fold_1", data_root)


def glove(data_root: Path, cache: Path) -> WordAverageEncoder:
    path = data_root / "word_vectors" / "glove10k.100d.txt"
    return WordAverageEncoder(str(path), cache=str(cache))


def test_a_part_alone_scores_as_it_does_within_the_whole(data_root, tmp_path):
    encoder = glove(data_root, tmp_path)
    parts = {"folds": "within_cloning_fold_3", "topics": "topic_cloning"}
    scores = evaluate(encoder, ["bws", *(f"bws_{part}" for part in parts.values())], data_root)
    for protocol, part in parts.items():
        whole, alone = scores["bws"][protocol]["parts"][part], scores[f"bws_{part}"]
        assert {key: alone[key] for key in whole} == pytest.approx(whole)
        assert "subsets" not in alone


def test_real_arguments(data_root, tmp_path):
    # Measured, then fixed; not the AFS corpus, so not Table 3's numbers.
    found = evaluate(glove(data_root, tmp_path), "bws", data_root, folds="all_topics")["bws"]
    assert (found["pearson"], found["spearman"]) == pytest.approx((38.988, 45.135), abs=0.01)
    found = evaluate(TfidfEncoder(), "bws", data_root, folds="all_topics")["bws"]
    assert (found["pearson"], found["spearman"]) == pytest.approx((46.634, 48.761), abs=0.05)
    topics = found["topics"]
    assert (topics["pearson"], topics["spearman"]) == pytest.approx((43.153, 44.701), abs=0.05)


def test_what_has_to_be_fitted_is_refused_elsewhere_in_one_line(data_root):
    with pytest.raises(UserError, match=r"task=stsb: tf-idf has to be fitted .*: use task=afs"):
        evaluate(TfidfEncoder(), "stsb", data_root)
