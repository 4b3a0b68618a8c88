"""What a run reads: its training batches in their order, and the dev rows it is scored on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from sbert_repro.backbone.packed import PackedTokens, pack
from sbert_repro.batch import Batch
from sbert_repro.compose import declaration
from sbert_repro.config import plain
from sbert_repro.data.batches import BatchStream, Column, Prefetched
from sbert_repro.data.read import Split, read, split_path
from sbert_repro.data.schema import DataSet, dataset
from sbert_repro.data.tokens import PairColumn, PairTemplate, cache_key, tokenise
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.training.callbacks import DevSet

Prepare = Callable[[Batch], Batch]


@dataclass(frozen=True)
class Examples:
    """The rows of a run, tokenised.

    Attributes:
        stream: Training batches, epoch after epoch.
        dev: The rows that choose the best checkpoint, if there are any.
        facts: What is true of every number that rests on these rows.
        max_length: Word pieces of a sentence, special tokens not counted.
    """

    stream: BatchStream
    dev: DevSet | None
    facts: list[Fact]
    max_length: int


def load_examples(config: DictConfig, tokenizer: Any, positions: int) -> Examples:
    """Read, check and tokenise what a run needs; word pieces are kept on disk for the next run.

    Args:
        config: The composed options.
        tokenizer: The backbone's tokenizer.
        positions: Positions of the backbone, special tokens counted.

    Returns:
        Training batches, dev rows and the facts of both.

    Raises:
        UserError: If a file is missing or damaged; also if there are no dev rows for
            ``checkpoint=best_dev``.
    """
    max_length = min(config.data.max_length, positions - tokenizer.num_special_tokens_to_add())
    record = dataset(config.data.name)
    data = config.data
    split = _read(config, record, data.split, data.limit, data.sources)
    lengths = (max_length, min(data.pair_length or positions, positions))
    swapped = bool(data.swapped)
    columns, facts = _tokenise(config, record, split, tokenizer, *lengths, swapped=swapped)
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
    dev, dev_facts = _load_dev(config, tokenizer, *lengths)
    return Examples(stream, dev, [*facts, *(f for f in dev_facts if f not in facts)], max_length)


def _load_dev(
    config: DictConfig, tokenizer: Any, max_length: int, pair_length: int
) -> tuple[DevSet | None, list[Fact]]:
    data = config.data
    if data.dev is None:
        return None, []
    record = dataset(data.dev)
    path = split_path(record, Path(config.paths.data), data.dev_split)
    if not path.exists():
        if plain(config.checkpoint) == "best_dev":
            raise UserError(
                f"there is no {record.name}/{data.dev_split}, which checkpoint=best_dev needs",
                where=path,
                mend="get it with `make data`, or use checkpoint=last",
                code="missing",
            )
        return None, [fact("no_dev", dataset=record.name, split=data.dev_split)]
    split = _read(config, record, data.dev_split, data.dev_limit)
    columns, facts = _tokenise(config, record, split, tokenizer, max_length, pair_length)
    labelled = record.kind == "labelled_pairs"
    return DevSet(columns, split.target, tokenizer.pad_token_id, labelled=labelled), facts


def _read(
    config: DictConfig,
    record: DataSet,
    split: str,
    limit: int | None,
    sources: list[str] | None = None,
) -> Split:
    root, partial = Path(config.paths.data), config.data.allow_partial
    return read(record, root, split, limit=limit, allow_partial=partial, sources=sources)


def _tokenise(
    config: DictConfig,
    record: DataSet,
    split: Split,
    tokenizer: Any,
    max_length: int,
    pair_length: int,
    *,
    swapped: bool = False,
) -> tuple[Sequence[Column], list[Fact]]:
    """Return the columns of a split, one of pairs for a cross-encoder, and what is true of them."""
    key = cache_key(split, None, tokenizer, max_length)
    folder = Path(config.paths.cache) / "tokens"
    columns = list(tokenise(split.texts, tokenizer, max_length, folder, key).values())
    facts = list(split.facts)

    def count_cut(count: int, unit: str, length: int) -> None:
        if count:
            of = {"title": record.title, "dataset": record.name, "split": split.name}
            facts.append(fact("texts_cut", **of, count=count, unit=unit, length=length))

    count_cut(sum(column.truncated for column in columns), "texts", max_length)
    if declaration(config.loss).constants["columns"] > 1:
        return columns, facts
    pairs = PairColumn(columns[0], columns[1], PairTemplate(tokenizer), pair_length, swapped)
    count_cut(pairs.cut, "pairs", pair_length)
    if swapped:
        facts.append(fact("swapped", title=record.title, dataset=record.name, unit=record.unit))
    return [pairs], facts


class TrainLoader:
    """All batches of a run, one after another, from any step on.

    To Lightning the whole run is one epoch. A step is then the only position there is, and resuming
    at an epoch's last step or ending in the middle of one are no special cases. Lightning saves and
    loads the loader's state by itself.

    The next batch is made in a thread while this one is trained on: rows looked up, padded, and
    whatever `prepare` does. The state counts only batches that were handed out.

    Attributes:
        epoch_steps: Steps of an epoch.
        steps: Steps of the run.
        prepare: Turns a batch into what the network takes; called in that thread.

    Args:
        stream: The batches of an epoch.
        epochs: Number of epochs.
        max_steps: Stop after so many steps, if that is earlier.
    """

    def __init__(self, stream: BatchStream, epochs: int, max_steps: int | None = None) -> None:
        self.epoch_steps = len(stream)
        self.steps = min(epochs * len(stream), max_steps or epochs * len(stream))
        self.prepare: Prepare = _unchanged
        self._stream, self._step = stream, 0
        self._prefetched: Prefetched[Batch] | None = None

    def __len__(self) -> int:
        """Return the number of steps of the run."""
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches that are left."""
        # Worth 1.0 ms a step on one core (16 NLI pairs: 0.4 made, 0.6 packed), 0.2 % of a step of
        # BERT-base on a CPU. On a GPU, where a step takes milliseconds, it was never measured.
        self.close()
        self._prefetched = Prefetched(self._make_batches(self._step))
        for batch in self._prefetched:
            epoch, position = divmod(self._step, self.epoch_steps)
            state = self._stream.state_dict()
            # Counted before it leaves: by the time a state is saved, it has been trained on.
            self._stream.load_state_dict({**state, "epoch": epoch, "position": position + 1})
            self._step += 1
            yield batch

    def close(self) -> None:
        """Stop the thread, even if the run was left in the middle."""
        if self._prefetched is not None:
            self._prefetched.close()

    def _make_batches(self, step: int) -> Iterator[Batch]:
        """Make the batches from a step on; runs in the thread and changes no state."""
        while step < self.steps:
            epoch, position = divmod(step, self.epoch_steps)
            for batch in islice(self._stream.batches(epoch, position), self.steps - step):
                yield self.prepare(batch)
            step = (epoch + 1) * self.epoch_steps

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the run."""
        return {"step": self._step, "stream": self._stream.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a position that `state_dict` returned."""
        self._stream.load_state_dict(state["stream"])
        self._step = state["step"]


def prepare_for(device: torch.device, packs: bool) -> Prepare:
    """Choose what can be done to a batch ahead of its step; draws no random number.

    Args:
        device: Where the network is.
        packs: Whether the network computes a packed row there.

    Returns:
        For `TrainLoader.prepare`.
    """
    if device.type == "cuda":
        return partial(_pin, device=device)
    return _pack if packs else _unchanged


def _unchanged(batch: Batch) -> Batch:
    return batch


def _pack(batch: Batch) -> Batch:
    tokens = batch.tokens
    packed = PackedTokens(tokens.ids, tokens.mask, tokens.types, packing=pack(tokens))
    return replace(batch, tokens=packed)


def _pin(batch: Batch, device: torch.device) -> Batch:
    # A thread starts on the first GPU, and pinning would take memory there.
    with torch.cuda.device(device):
        return batch.pinned()
