"""Data without dev rows: nothing is watched, and nothing pretends to have been chosen by them."""

from __future__ import annotations

import pytest

from sbert_repro.compose import check_training, compose
from sbert_repro.errors import UserError


def test_an_experiment_on_afs_keeps_the_last_weights():
    config = compose(["experiment=afs", "data.split=train_fold_3"])
    assert (config.data.name, config.data.dev, config.checkpoint.name) == ("afs", None, "last")
    check_training(config)


def test_choosing_by_dev_rows_that_are_not_there_is_one_line():
    config = compose(["experiment=afs", "checkpoint=best_dev"])
    with pytest.raises(UserError, match=r"checkpoint=best_dev: needs dev rows, and data=afs"):
        check_training(config)


def test_sections_are_triplets_with_the_papers_margin():
    config = compose(["experiment=wikisections"])
    assert (config.data.name, config.data.epochs, config.data.dev_limit) == (
        "wikisections",
        1,
        1000,
    )
    assert (config.loss.margin, config.loss.distance) == (1.0, "euclidean")
    check_training(config)
