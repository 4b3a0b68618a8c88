"""Finding records, scaling scores, and the folds and topics of a set in one piece."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.data.schema import (
    FOLDS,
    Part,
    dataset,
    fold_of,
    names,
    parse_part,
    part_names,
    part_rows,
    spelled,
)
from sbert_repro.errors import UserError

TOPICS = st.lists(st.sampled_from(["DP", "GC", "Gun control"]), min_size=1, max_size=80)


def columns(count: int) -> list[list[str]]:
    return [[f"one {row}" for row in range(count)], [f"two {row}" for row in range(count)]]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no data set 'sts17'.*sts12.*stsb"):
        dataset("sts17")
    assert "__init__" not in names()


def test_scores_are_scaled_to_the_range_of_cosine() -> None:
    assert dataset("stsb").scaled(np.array([0.0, 2.5, 5.0])).tolist() == [0.0, 0.5, 1.0]
    assert dataset("sickr").scaled(np.array([1.0, 5.0])).tolist() == [0.0, 1.0]


@given(TOPICS)
def test_every_row_is_tested_once_and_trained_on_nine_times(topics):
    array, texts = np.array(topics), columns(len(topics))
    tested, trained = np.zeros(len(topics), int), np.zeros(len(topics), int)
    for fold in range(FOLDS):
        tested[part_rows(parse_part(f"test_fold_{fold}"), array, texts)] += 1
        trained[part_rows(parse_part(f"train_fold_{fold}"), array, texts)] += 1
    assert (tested == 1).all() and (trained == FOLDS - 1).all()


@given(TOPICS)
def test_within_a_topic_every_row_is_tested_once_by_a_model_of_that_topics_other_folds(topics):
    array, texts = np.array(topics), columns(len(topics))
    tested = np.zeros(len(topics), int)
    for name in part_names(list(dict.fromkeys(topics)))["within_topic"]:
        part, (test, train) = (
            parse_part(f"test_{name}"),
            (part_rows(parse_part(f"{side}_{name}"), array, texts) for side in ("test", "train")),
        )
        of_topic = {row for row, topic in enumerate(topics) if spelled(topic) == part.topic}
        assert not set(test) & set(train) and set(test) | set(train) == of_topic
        assert set(test) <= set(part_rows(parse_part(f"test_fold_{part.fold}"), array, texts))
        tested[test] += 1
    assert (tested == 1).all()


@given(TOPICS)
def test_folds_are_of_one_size_and_hold_their_share_of_each_topic(topics):
    folds = fold_of(np.array(topics), columns(len(topics)))
    for rows in (slice(None), *(np.array(topics) == topic for topic in set(topics))):
        sizes = np.bincount(folds[rows], minlength=FOLDS)
        assert sizes.max() - sizes.min() <= 1


@given(TOPICS, st.randoms())
def test_folds_do_not_depend_on_the_order_of_the_rows(topics, random):
    texts = columns(len(topics))
    order = list(range(len(topics)))
    random.shuffle(order)
    shuffled = fold_of(np.array(topics)[order], [[column[i] for i in order] for column in texts])
    np.testing.assert_array_equal(shuffled, fold_of(np.array(topics), texts)[order])


def test_folds_stay_what_they_are():
    # Records in a ledger rest on them: when this changes, FOLDS_VERSION must.
    pinned = [0, 1, 4, 5, 2, 3, 6, 7, 1, 8, 9, 0]
    assert fold_of(np.array(["a"] * 6 + ["b"] * 6), columns(12)).tolist() == pinned


@given(TOPICS)
def test_a_topic_is_tested_on_what_the_others_do_not_hold(topics):
    array, texts = np.array(topics), columns(len(topics))
    for topic in topics:
        test, train = (
            part_rows(parse_part(f"{side}_topic_{spelled(topic)}"), array, texts)
            for side in ("test", "train")
        )
        assert set(array[test]) == {topic} and topic not in set(array[train])
        assert len(test) + len(train) == len(topics)


@pytest.mark.parametrize("name", ["all", "test", "train_fold_10", "dev_fold_1", "test_fold_x"])
def test_other_names_are_names_of_files(name):
    assert parse_part(name) is None


def test_topics_are_spelled_for_the_command_line():
    found = part_names(["DP", "Gun control"])
    assert found["topics"] == ("topic_dp", "topic_gun_control")
    assert len(found["all_topics"]) == FOLDS and len(found["within_topic"]) == 2 * FOLDS
    assert found["within_topic"][:2] == ("within_dp_fold_0", "within_gun_control_fold_0")
    assert parse_part("train_within_gun_control_fold_7") == Part(True, 7, "gun_control")
