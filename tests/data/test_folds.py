"""Folds and topics cut out of a set that is published in one piece."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.data.read import read
from sbert_repro.data.schema import (
    FOLDS,
    dataset,
    fold_of,
    names,
    parse_part,
    part_names,
    part_rows,
    spelled,
)
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences

TOPICS = st.lists(st.sampled_from(["DP", "GC", "Gun control"]), min_size=1, max_size=80)


def columns(count: int) -> list[list[str]]:
    return [[f"one {row}" for row in range(count)], [f"two {row}" for row in range(count)]]


@given(TOPICS)
def test_every_row_is_tested_once_and_trained_on_nine_times(topics):
    array, texts = np.array(topics), columns(len(topics))
    tested, trained = np.zeros(len(topics), int), np.zeros(len(topics), int)
    for fold in range(FOLDS):
        tested[part_rows(parse_part(f"test_fold_{fold}"), array, texts)] += 1
        trained[part_rows(parse_part(f"train_fold_{fold}"), array, texts)] += 1
    assert (tested == 1).all() and (trained == FOLDS - 1).all()


@given(TOPICS)
def test_folds_are_of_one_size_and_hold_their_share_of_each_topic(topics):
    folds = fold_of(np.array(topics), columns(len(topics)))
    sizes = np.bincount(folds, minlength=FOLDS)
    assert sizes.max() - sizes.min() <= 1
    for topic in set(topics):
        share = np.bincount(folds[np.array(topics) == topic], minlength=FOLDS)
        assert share.max() - share.min() <= 1


@given(TOPICS, st.randoms())
def test_folds_do_not_depend_on_the_order_of_the_rows(topics, random):
    texts = columns(len(topics))
    order = list(range(len(topics)))
    random.shuffle(order)
    shuffled = fold_of(np.array(topics)[order], [[column[i] for i in order] for column in texts])
    np.testing.assert_array_equal(shuffled, fold_of(np.array(topics), texts)[order])


PINNED = [0, 1, 4, 5, 2, 3, 6, 7, 1, 8, 9, 0]


def test_folds_stay_what_they_are():
    # Records in a ledger rest on them: when this changes, VERSION of the evaluation must.
    assert fold_of(np.array(["a"] * 6 + ["b"] * 6), columns(12)).tolist() == PINNED


@given(TOPICS)
def test_a_topic_is_tested_on_what_the_others_do_not_hold(topics):
    array, texts = np.array(topics), columns(len(topics))
    for topic in topics:
        name = f"topic_{spelled(topic)}"
        test, train = (
            part_rows(parse_part(f"{side}_{name}"), array, texts) for side in ("test", "train")
        )
        assert set(array[test]) == {topic} and topic not in set(array[train])
        assert len(test) + len(train) == len(topics)


@pytest.mark.parametrize("name", ["all", "test", "train_fold_10", "dev_fold_1", "test_fold_x"])
def test_other_names_are_names_of_files(name):
    assert parse_part(name) is None


def test_topics_are_spelled_for_the_command_line():
    assert spelled("Gun control") == "gun_control"
    assert part_names(["DP", "Gun control"])["topics"] == ("topic_dp", "topic_gun_control")
    assert len(part_names([])["folds"]) == FOLDS


@pytest.mark.parametrize("name", [name for name in names() if dataset(name).topics])
def test_no_two_topics_are_spelled_alike(name):
    topics = part_names(dataset(name).topics)["topics"]
    assert len(set(topics)) == len(topics)


def test_the_real_arguments_are_cut_as_they_should_be(data_root):
    record = dataset("bws")
    test = read(record, data_root, "test_fold_3")
    train = read(record, data_root, "train_fold_3")
    assert (len(test), len(train)) == (340, 3060) and sentences(test.facts) == sentences(
        train.facts
    ) == []
    assert set(test.subset) == set(record.topics)
    topic = read(record, data_root, "test_topic_gun_control")
    assert len(topic) == topic.rows_expected == 425 and set(topic.subset) == {"Gun control"}
    assert len(read(record, data_root, "train_topic_gun_control")) == 3400 - 425


def test_a_limit_on_a_part_is_noted(data_root):
    limited = read(dataset("bws"), data_root, "train_fold_3", limit=100)
    assert len(limited) == 100
    assert sentences(limited.facts) == ["BWS argument similarity: 100 of 3,060 pairs"]
    assert len(set(limited.subset)) == 8, "a limit takes a fair sample of a file sorted by topic"


def test_a_topic_that_is_not_there_lists_those_that_are(data_root):
    with pytest.raises(UserError, match=r"its topics are abortion, cloning, .*, its folds 0 to 9"):
        read(dataset("bws"), data_root, "test_topic_cats")


def test_a_set_of_several_files_is_not_cut(data_root):
    with pytest.raises(UserError, match="stsb has no split 'test_fold_3'; it has dev, test, train"):
        read(dataset("stsb"), data_root, "test_fold_3")
