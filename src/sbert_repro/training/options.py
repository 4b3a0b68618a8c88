"""Options that each are right but do not fit each other, refused before anything is read."""

from __future__ import annotations

import importlib
from pathlib import Path

from hydra.utils import get_object
from omegaconf import DictConfig

import sbert_repro.losses
from sbert_repro.config import plain
from sbert_repro.data.schema import DataSet, dataset, names
from sbert_repro.errors import UserError
from sbert_repro.losses.objective import Objective
from sbert_repro.training.optimizer_options import check_optimizer

KINDS = {"labels": "labelled_pairs", "scores": "scored_pairs", "triplets": "triplets"}
"""What an objective needs → the kind of data that has it."""

_AT_LEAST_ONE = ("epochs", "batch_size", "evaluate_every", "save_every", "max_steps", "devices")


def check_options(config: DictConfig) -> None:
    """Refuse options that cannot make a run.

    Args:
        config: The composed options.

    Raises:
        UserError: If the data are of another kind than the objective needs, have another number of
            labels or no dev rows to choose a checkpoint with, or a number is out of range; says
            what fits.
    """
    _check_numbers(config)
    _check_compile(config)
    _check_watched(config)
    if config.data.dev is None and plain(config.checkpoint) == "best_dev":
        raise UserError(
            f"checkpoint=best_dev needs dev rows, and data={config.data.name} has none: use "
            "checkpoint=last, or name some with data.dev=…"
        )
    record, loss = dataset(config.data.name), get_object(config.loss["_target_"])
    _check_dev(config, loss)
    if record.kind != KINDS[loss.needs]:
        raise UserError(_mismatch(record, config.loss["_target_"].split(".")[-2], loss))
    labels = record.labels or ()
    if "num_labels" in config.loss and config.loss.num_labels != len(labels):
        raise UserError(
            f"loss.num_labels={config.loss.num_labels}; data={record.name} has {len(labels)} "
            f"labels ({', '.join(labels)}); use loss.num_labels={len(labels)}"
        )


def _check_compile(config: DictConfig) -> None:
    if config.trainer.compile and config.trainer.devices > 1:
        raise UserError(
            f"trainer.compile=true trainer.devices={config.trainer.devices}: graphs are made for "
            "whole batches, and processes share one; use one of the two"
        )
    kind = config.encoder["_target_"].rpartition(".")[2]
    if config.trainer.compile and kind == "BiLstmEncoder":
        raise UserError(
            f"trainer.compile=true: only transformers are compiled, and encoder is a {kind}; use "
            "trainer.compile=false"
        )


def _check_watched(config: DictConfig) -> None:
    """Refuse to watch the rows that are trained on: their score says nothing."""
    data = config.data
    if (data.name, data.split) == (data.dev, data.dev_split):
        raise UserError(
            f"data.split={data.split} of {data.name} is also what data.dev={data.dev} looks at; "
            "train on another split, or use data.dev=null checkpoint=last"
        )


def _check_dev(config: DictConfig, loss: type[Objective]) -> None:
    """Refuse dev rows that say nothing about what an objective makes."""
    if config.data.dev is None:
        return
    name, kind = config.loss["_target_"].split(".")[-2], dataset(config.data.dev).kind
    if loss.columns > 1:
        if kind == KINDS["labels"] and loss.needs != "labels":
            raise UserError(
                f"data.dev={config.data.dev} holds {in_words(kind)}, and loss={name} gives no "
                "labels; use scored pairs or triplets, such as data.dev=stsb"
            )
        return
    if loss.needs != "scores":
        raise UserError(
            f"data.dev={config.data.dev}: loss={name} gives no score of a pair to compare; use "
            "data.dev=null checkpoint=last"
        )
    if kind != KINDS[loss.needs]:
        raise UserError(
            f"data.dev={config.data.dev} holds {in_words(kind)}; loss={name} is watched on scored "
            "pairs, such as data.dev=stsb"
        )


def in_words(kind: str) -> str:
    """Say a kind of data in words.

    Args:
        kind: As in a data set's record.

    Returns:
        str: Such as "scored pairs".
    """
    return kind.replace("_", " ")


def _mismatch(record: DataSet, name: str, loss: type[Objective]) -> str:
    wanted = KINDS[loss.needs]
    fitting = [f"data={other}" for other in names() if dataset(other).kind == wanted]
    fitting += [f"loss={other}" for other in _losses_for(record)]
    return (
        f"loss={name} needs {in_words(wanted)}; data={record.name} holds {in_words(record.kind)}; "
        f"use {' or '.join(fitting) or 'other data'}"
    )


def _losses_for(record: DataSet) -> list[str]:
    """Find the objectives that this data set can serve, by looking into their folder."""
    found = []
    for path in sorted(Path(sbert_repro.losses.__path__[0]).glob("[!_]*.py")):
        module = importlib.import_module(f"sbert_repro.losses.{path.stem}")
        needs = {str(getattr(kind, "needs", "")) for kind in vars(module).values()}
        found += [path.stem for need in needs if KINDS.get(need) == record.kind]
    return found


def _check_numbers(config: DictConfig) -> None:
    trainer = config.trainer
    for name in _AT_LEAST_ONE:
        if (value := trainer[name]) is not None and value < 1:
            raise UserError(f"trainer.{name}={value}: expected at least 1")
    if not 0 <= trainer.warmup <= 1:
        raise UserError(f"trainer.warmup={trainer.warmup}: expected a share of all steps, 0 to 1")
    if trainer.max_grad_norm is not None and trainer.max_grad_norm <= 0:
        raise UserError(
            f"trainer.max_grad_norm={trainer.max_grad_norm}: expected more than 0, or null for no "
            "clipping"
        )
    check_optimizer(config.optimizer)
    if config.data.max_length < 1:
        raise UserError(f"data.max_length={config.data.max_length}: expected at least 1")
    if not 0 <= config.seed < 2**32:
        raise UserError(f"seed={config.seed}: expected 0 to {2**32 - 1}")
