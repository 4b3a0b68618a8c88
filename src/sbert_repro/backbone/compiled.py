"""Training through torch.compile: one graph for each of a few padded lengths.

At batch 16 a GPU waits for a network's launches more than it computes; a CUDA graph is one launch.
A graph has fixed shapes, so a batch is padded on to the next of a few lengths, which the attention
mask hides: what is trained, in which order and at which rate, is the same. Dropout draws its own
numbers, so bits are not those of the network as it is.

No GPU was at hand when this was written: speed and CUDA graphs are not measured. So before the
first step the graph's states and gradients are compared with the network's own, dropout off
(`sbert_repro.backbone.agreement`), and a run whose graph does not agree ends in one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from sbert_repro.backbone.agreement import disagreement
from sbert_repro.batch import Tokens
from sbert_repro.errors import UserError

BUCKET = 16
"""Padded lengths are multiples of it: with 128 word pieces 9 graphs, an eighth of padding more."""
_MOST = 64
# The first call warms up, the second one records, the third one replays.
_TIMES = 3

States = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""``(ids [N, T], mask [N, T], types [N, T] or None) -> [N, T, D]``."""


class CompiledNetwork:
    """Computes the states of full batches; others are left to the network as it is."""

    def __init__(self, network: nn.Module, states: States, sentences: int, longest: int) -> None:
        """Compile nothing yet.

        Args:
            network: Holds the parameters, under its own names.
            states: Runs it.
            sentences: ``N`` of a full batch.
            longest: Word pieces that the network has positions for.
        """
        self._network, self._plain = network, states
        self._sentences, self._longest = sentences, longest
        self._compiled: States | None = None

    def takes(self, tokens: Tokens) -> bool:
        """Say whether a batch has the shape that graphs are made for.

        Args:
            tokens: A batch; the last one of an epoch may be smaller than the others.

        Returns:
            bool: ``False``: the network as it is computes it.
        """
        return len(tokens.ids) == self._sentences

    def states(self, tokens: Tokens) -> Tensor:
        """Run the graph of a batch's length; it is made when it is first needed.

        Args:
            tokens: ``N`` sentences of up to ``T`` word pieces.

        Returns:
            Tensor: ``[N, T, D]``.

        Raises:
            UserError: If it cannot be made, or does not give what the network gives.
        """
        wide = widened(tokens, self._longest)
        with _in_one_line():
            if self._compiled is None:
                # Only now: a network is moved to a GPU after this object was made.
                self._compiled = self._proved(wide)
            return _run(self._compiled, wide)[:, : tokens.ids.shape[1]]

    def _proved(self, wide: Tokens) -> States:
        # Its stubs leave out the limit, which is 8 and less than there are lengths.
        compiled: States = torch.compile(  # type: ignore[call-overload]
            self._plain,
            fullgraph=True,
            dynamic=False,
            mode="reduce-overhead" if wide.ids.device.type == "cuda" else None,
            recompile_limit=_MOST,
        )
        said = disagreement(
            self._network,
            lambda: self._plain(wide.ids, wide.mask, wide.types),
            lambda: _run(compiled, wide),
            wide.mask,
            _TIMES,
        )
        if said is not None:
            raise UserError(
                f"trainer.compile=true: the compiled network does not agree with the network on "
                f"this machine ({said}): use trainer.compile=false"
            )
        return compiled


def _run(compiled: States, wide: Tokens) -> Tensor:
    if wide.ids.device.type == "cuda":
        # What the step before left in the graphs' memory is not asked for any more.
        torch.compiler.cudagraph_mark_step_begin()
    return compiled(wide.ids, wide.mask, wide.types)


def widened(tokens: Tokens, longest: int) -> Tokens:
    """Pad a batch on, to a multiple of `BUCKET` or to the greatest length there is.

    Args:
        tokens: ``N`` sentences of up to ``T`` word pieces.
        longest: Word pieces that the network has positions for, at least ``T``.

    Returns:
        Tokens: The same sentences.
    """
    length = tokens.ids.shape[1]
    more = max(0, min(-(-length // BUCKET) * BUCKET, longest) - length)

    def on(part: Tensor) -> Tensor:
        return F.pad(part, (0, more))

    types = None if tokens.types is None else on(tokens.types)
    # What stands on padding is hidden by the mask, and stands behind every word piece.
    return Tokens(on(tokens.ids), on(tokens.mask), types)


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except TorchDynamoException as problem:
        said = str(problem).strip().partition("\n")[0]
        raise UserError(
            f"trainer.compile=true: PyTorch could not compile the network "
            f"({type(problem).__name__}: {said}): use trainer.compile=false"
        ) from problem
