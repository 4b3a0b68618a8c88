"""The rows a run trains on and the rows it watches, as word pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig

from sbert_repro.config import plain
from sbert_repro.data.batches import BatchStream, Column
from sbert_repro.data.read import Split, read, split_path
from sbert_repro.data.schema import DataSet, dataset
from sbert_repro.data.tokens import PairColumn, PairTemplate, cache_key, tokenise
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.training.validation import DevSet


@dataclass(frozen=True)
class Examples:
    """What a run reads.

    Attributes:
        stream: Training batches, epoch after epoch.
        dev: The rows that are watched, if they are there.
        facts: What a number that rests on these rows must say.
        max_length: Word pieces of a sentence, special tokens not counted.
    """

    stream: BatchStream
    dev: DevSet | None
    facts: tuple[Fact, ...]
    max_length: int


def load_examples(config: DictConfig, tokenizer: Any, positions: int) -> Examples:
    """Read, check and tokenise what a run needs; word pieces are kept on disk for the next run.

    Args:
        config: The composed options.
        tokenizer: The backbone's tokenizer.
        positions: Word pieces the backbone has positions for, special tokens counted.

    Returns:
        Examples: Training batches and the dev rows.

    Raises:
        UserError: If a file is missing or damaged, or dev is missing and ``checkpoint=best_dev``.
    """
    record = dataset(config.data.name)
    split = _read(config, record, config.data.split, config.data.limit)
    columns, facts = _word_pieces(config, record, split, tokenizer, positions)
    target = split.target
    if target is not None and record.kind == "scored_pairs":
        target = record.scaled(target)
    stream = BatchStream(
        columns,
        target,
        batch_size=config.trainer.batch_size,
        seed=config.seed,
        shuffle=True,
        pad_id=tokenizer.pad_token_id,
    )
    dev, dev_facts = _dev(config, tokenizer, positions)
    length = _length(config, tokenizer, positions)
    return Examples(stream, dev, (*facts, *dev_facts), length)


def _length(config: DictConfig, tokenizer: Any, positions: int) -> int:
    length: int = min(config.data.max_length, positions - tokenizer.num_special_tokens_to_add())
    return length


def _dev(config: DictConfig, tokenizer: Any, positions: int) -> tuple[DevSet | None, list[Fact]]:
    if config.data.dev is None:
        return None, []
    record, data = dataset(config.data.dev), config.data
    path = split_path(record, Path(config.paths.data), data.dev_split)
    if not path.exists():
        if plain(config.checkpoint) == "best_dev":
            raise UserError(
                f"there is no {path}, which checkpoint=best_dev needs: get it with `make data`, "
                "or use checkpoint=last"
            )
        return None, [fact("no_dev", dataset=record.name, split=data.dev_split)]
    split = _read(config, record, data.dev_split, data.dev_limit)
    columns, facts = _word_pieces(config, record, split, tokenizer, positions)
    labelled = record.kind == "labelled_pairs"
    return DevSet(columns, split.target, tokenizer.pad_token_id, labelled=labelled), facts


def _read(config: DictConfig, record: DataSet, split: str, limit: int | None) -> Split:
    root = Path(config.paths.data)
    return read(record, root, split, limit=limit, allow_partial=config.data.allow_partial)


def _word_pieces(
    config: DictConfig, record: DataSet, split: Split, tokenizer: Any, positions: int
) -> tuple[Sequence[Column], list[Fact]]:
    length = _length(config, tokenizer, positions)
    key = cache_key(split, None, tokenizer, length)
    folder = Path(config.paths.cache) / "tokens"
    columns = list(tokenise(split.texts, tokenizer, length, folder, key).values())
    cut = sum(column.truncated for column in columns)
    of = {"title": record.title, "dataset": record.name}
    facts = [*split.facts]
    if cut:
        facts.append(fact("texts_cut", **of, count=cut, unit="texts", length=length))
    if get_object(config.loss["_target_"]).columns > 1:
        return columns, facts
    pairs = PairColumn(columns[0], columns[1], PairTemplate(tokenizer), positions)
    if pairs.cut:
        facts.append(fact("texts_cut", **of, count=pairs.cut, unit="pairs", length=positions))
    return [pairs], facts
