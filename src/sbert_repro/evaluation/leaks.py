"""A model may not be scored on rows that it was trained on or chosen by."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from sbert_repro.config import plain
from sbert_repro.data.schema import FOLDS, DataSet, dataset, spelled
from sbert_repro.errors import UserError
from sbert_repro.evaluation.tasks import Task


def refuse_seen(config: DictConfig, tasks: Sequence[Task]) -> None:
    """Refuse to score a run on what it was trained on, or on a test set that chose its checkpoint.

    A dev set that chooses the checkpoint may be scored: Table 6 prints such scores and says so.

    Args:
        config: The composed options of one training stage.
        tasks: What its model will be scored on.

    Raises:
        UserError: If the rows overlap.
    """
    data = config.data
    for task in tasks:
        record = dataset(task.dataset)
        mend = f"score what it has not seen, evaluate=[…] without {task.name}"
        if data.name == record.name and _meet(record, data.split, task.splits):
            raise UserError(
                f"{task.name} would be scored on rows that the model was trained on",
                where=f"data.split={data.split} of {data.name}",
                mend=f"train on another split, or {mend}",
            )
        chosen = plain(config.checkpoint) == "best_dev" and data.dev_split != "dev"
        if chosen and data.dev == record.name and _meet(record, data.dev_split, task.splits):
            raise UserError(
                f"{task.name} would be scored on rows that choose the checkpoint",
                where=f"data.dev_split={data.dev_split} of {data.dev}",
                mend=f"use data.dev_split=dev, or {mend}",
            )


def _meet(record: DataSet, seen: str, scored: Sequence[str]) -> bool:
    return any(_share_rows(record, seen, split) for split in scored)


def _share_rows(record: DataSet, one: str, other: str) -> bool:
    mine, others = record.part(one), record.part(other)
    if mine is None and others is None:
        return one == other
    if mine is None or others is None:
        return True  # a fold or a topic is cut out of the whole
    return any(
        mine.holds(spelled(topic), fold) and others.holds(spelled(topic), fold)
        for topic in record.topics
        for fold in range(FOLDS)
    )
