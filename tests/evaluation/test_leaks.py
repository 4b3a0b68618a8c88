"""What a model has seen is not what it is scored on."""

import pytest

from sbert_repro.compose import compose
from sbert_repro.errors import UserError
from sbert_repro.evaluation.leaks import refuse_seen
from sbert_repro.evaluation.run import check_tasks
from sbert_repro.evaluation.tasks import resolve


def checked(tasks, *words):
    refuse_seen(compose(list(words)), resolve(tasks, None))


@pytest.mark.parametrize(
    ("tasks", "words", "said"),
    [
        (
            "stsb",
            ("loss=regression", "data.split=test"),
            r"data\.split=test of stsb: stsb would be",
        ),
        (
            "stsb_dev",
            ("loss=regression", "data.split=dev"),
            "stsb_dev would be scored on rows that",
        ),
        ("sts", ("loss=regression", "data.split=test"), r"evaluate=\[…\] without stsb$"),
        ("sickr_all", ("loss=regression", "data=sickr"), r"data\.split=train of sickr: sickr_all"),
        ("bws", ("loss=regression", "data=bws", "data.split=train_fold_0"), "bws would be scored"),
        ("bws_fold_0", ("loss=regression", "data=bws"), r"data\.split=all of bws: bws_fold_0"),
        (
            "bws_fold_1",
            ("loss=regression", "data=bws", "data.split=train_fold_0"),
            "bws_fold_1 would be scored on rows that the model was trained on",
        ),
        (
            "afs_topic_dp",
            ("experiment=afs", "data.split=train_fold_0"),
            "afs_topic_dp would be scored",
        ),
        (
            "afs_within_gm_fold_1",
            ("experiment=afs", "data.split=train_within_gm_fold_0"),
            "afs_within_gm_fold_1 would be scored",
        ),
        (
            "afs_within_gm_fold_0",
            ("experiment=afs", "data.split=train_topic_dp"),
            "afs_within_gm_fold_0 would be scored",
        ),
        (
            "stsb",
            ("data.dev_split=test",),
            r"dev_split=test of stsb: stsb .* choose the checkpoint",
        ),
    ],
)
def test_rows_that_were_seen_are_refused_in_one_line(tasks, words, said):
    with pytest.raises(UserError, match=said) as refused:
        checked(tasks, *words)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ("stsb", ("loss=regression",)),
        ("stsb_dev", ("loss=regression",)),  # Table 6: the dev set also picks the checkpoint
        ("sts", ("data=nli",)),
        ("sickr", ("loss=regression", "data=sickr")),
        ("korsts", ("loss=regression", "data.split=test", "data=stsb")),
        ("stsb", ("data.dev_split=test", "checkpoint=last")),
        ("bws_fold_0", ("loss=regression", "data=bws", "data.split=train_fold_0")),
        ("bws_topic_cloning", ("loss=regression", "data=bws", "data.split=train_topic_cloning")),
        ("afs_within_gm_fold_0", ("experiment=afs", "data.split=train_within_gm_fold_0")),
        ("afs_topic_dp", ("experiment=afs", "data.split=train_within_gm_fold_0")),
        ("afs_within_gm_fold_0", ("experiment=afs", "data.split=train_fold_0")),
    ],
)
def test_rows_that_were_not_seen_pass(tasks, words):
    checked(tasks, *words)


def test_the_command_looks_at_both_stages():
    words = [
        "experiment=nli_then_stsb",
        "parent=['experiment=stsb','data.split=test','data.dev=null','checkpoint=last']",
    ]
    with pytest.raises(UserError, match=r"data\.split=test of stsb: stsb would be scored"):
        check_tasks(compose(words), words)
