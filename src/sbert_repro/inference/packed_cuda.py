"""The packed engine for GPUs: no padding, bf16, PyTorch's own variable-length flash attention.

No GPU was at hand when this was written: its arithmetic is tested on a CPU with a plain attention
in the kernel's place; its speed, and whether it gains anything, is not measured. So nobody has to
trust it: before its first vector `disagreement` compares it with the reference engine on the
machine at hand. In fp32 there is no such kernel, and the reference engine computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbert_repro.backbone.transformer import TransformerBackbone
from sbert_repro.inference.batches import Pieces, lengths_of
from sbert_repro.inference.layers import Attend, Pool, Row, pooled, row_of, states
from sbert_repro.inference.plan import Rows, plan_packed
from sbert_repro.inference.products import PlainProduct
from sbert_repro.inference.progress import Advance
from sbert_repro.inference.weights import DTYPES, Network, prepack, why_no_network

BUDGET = 32768
"""Word pieces in a batch: some hundred for each multiprocessor of a large GPU; their widest states
take 200 MB in BERT-base."""


def devices() -> tuple[torch.device, ...]:
    """Give the GPUs of this machine.

    Returns:
        tuple[torch.device, ...]: None where PyTorch sees none.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(torch.device("cuda", number) for number in range(count))


def why_not(config: Any, precision: str) -> str | None:
    """Say what keeps a model from this engine, without reading a weight.

    Args:
        config: The model's transformers configuration.
        precision: ``fp32`` or ``bf16``.

    Returns:
        str | None: A reason in few words, or ``None``: nothing does.
    """
    if precision != "bf16":
        return f"on a GPU it computes in bf16, and this is {precision}"
    return why_no_network(config)


def attend_varlen(qkv: Tensor, row: Row, heads: int, first_only: bool) -> Tensor:
    """Attend within each sentence, all of them in one call; see `Attend`.

    Args:
        qkv: ``[S, 3 D]``, bf16.
        row: ``n`` sentences.
        heads: Heads of the attention.
        first_only: Only from first word pieces.

    Returns:
        Tensor: ``[S, D]``, or ``[n, D]`` of first word pieces.
    """
    # Here, so that a PyTorch without it is a reason for the reference engine and no crash.
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = qkv.unflatten(1, (3, heads, -1)).unbind(1)
    longest = max(length for length, _ in row.groups)
    asking, most = row.bounds, longest
    if first_only:
        q = q.index_select(0, row.bounds[:-1])
        asking, most = torch.arange(len(row.bounds), dtype=torch.int32, device=q.device), 1
    # The root of the head's width is in Q already.
    mixed = varlen_attn(q, k, v, asking, row.bounds, most, longest, scale=1.0)
    assert isinstance(mixed, Tensor)
    return mixed.flatten(1)


@dataclass(frozen=True)
class _Coming:
    """Vectors on their way to the CPU; there once ``ready`` has happened."""

    rows: Rows
    vectors: Tensor
    ready: torch.cuda.Event | None


class PackedCuda:
    """One replica of a network on each GPU, each fed by a thread of its own."""

    def __init__(
        self,
        load: Callable[[], TransformerBackbone],
        places: Sequence[torch.device],
        *,
        layer: str = "last",
        first_only: bool = False,
        precision: str = "bf16",
        attend: Attend = attend_varlen,
    ) -> None:
        """Read nothing yet.

        Args:
            load: Gives the network; called once, and what it gives is moved about.
            places: Where replicas go, at least one.
            layer: Which layer's states are pooled; a name from ``LAYERS``.
            first_only: Give ``pool`` only the first word piece of each sentence; for CLS pooling
                of the last layer.
            precision: ``fp32`` only with an attention that can.
            attend: The attention.
        """
        self._load, self._places, self._precision = load, tuple(places), precision
        self._states = partial(states, layer=layer, first_only=first_only, attend=attend)
        self._first_only = first_only

    @property
    def replicas(self) -> int:
        """Number of GPUs."""
        return len(self._places)

    @cached_property
    def _networks(self) -> list[Network]:
        backbone, dtype = self._load(), DTYPES[self._precision]
        # CUDA's LayerNorm wants weights of its input's type; its sums are in fp32 all the same.
        return [
            prepack(backbone.to(place), self._precision, PlainProduct, norms=dtype)
            for place in self._places
        ]

    def encode(
        self,
        pieces: Pieces,
        pool: Pool,
        *,
        budget: int | None = None,
        advance: Advance = lambda done: None,
    ) -> NDArray[np.float32]:
        """Embed tokenised sentences.

        Args:
            pieces: Word-piece ids of ``N`` sentences, ``N`` at least 1.
            pool: As for the packed engine for CPUs; given states on any of the GPUs.
            budget: Word pieces in a batch; ``None``: ``BUDGET``.
            advance: Told how many sentences are done, from several threads.

        Returns:
            NDArray[np.float32]: ``[N, D]``, in the order of ``pieces``.
        """
        batches = plan_packed(lengths_of(pieces), budget or BUDGET)
        work = list(zip(self._places, self._networks, shards(batches, self.replicas), strict=True))

        def lane(one: tuple[torch.device, Network, list[Rows]]) -> list[_Coming]:
            place, network, some = one
            with torch.inference_mode(), _on(place):
                launched = (self._launch(pieces, rows, network, place, pool) for rows in some)
                return list(_arrived(launched, advance))

        with ThreadPoolExecutor(len(work)) as threads:
            found = [one for of_lane in threads.map(lane, work) for one in of_lane]
        vectors = np.empty((len(pieces), found[0].vectors.shape[1]), np.float32)
        for one in found:
            vectors[one.rows] = one.vectors.numpy()
        return vectors

    def _launch(
        self, pieces: Pieces, rows: Rows, network: Network, place: torch.device, pool: Pool
    ) -> _Coming:
        row = _moved(row_of([pieces[number] for number in rows]), place)
        found = self._states(network, row)
        vectors = pooled(found, row, pool, first_only=self._first_only).float()
        if vectors.device.type != "cuda":
            return _Coming(rows, vectors, None)
        # Where the vectors are: a pool may have its own weights on the first GPU.
        with torch.cuda.device(vectors.device):
            waiting = torch.empty(vectors.shape, pin_memory=True)
            waiting.copy_(vectors, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        return _Coming(rows, waiting, ready)


def shards(batches: Sequence[Rows], count: int) -> list[list[Rows]]:
    """Deal out a plan; its batches are of like cost.

    Args:
        batches: Row numbers of each batch.
        count: GPUs.

    Returns:
        list[list[Rows]]: ``count`` of them, each batch in one.
    """
    return [list(batches[number::count]) for number in range(count)]


def _arrived(launched: Iterator[_Coming], advance: Advance) -> Iterator[_Coming]:
    """Wait for each batch only after the next was launched, so that the GPU never waits."""
    before: _Coming | None = None
    for one in chain(launched, [None]):
        if before is not None:
            if before.ready is not None:
                before.ready.synchronize()
            advance(len(before.rows))
            yield before
        before = one


def _moved(row: Row, place: torch.device) -> Row:
    if place.type != "cuda":
        return row

    def there(part: Tensor) -> Tensor:
        # Pinned, the copy runs beside the computing; PyTorch keeps the memory until it is done.
        return part.pin_memory().to(place, non_blocking=True)

    types = None if row.types is None else there(row.types)
    return replace(
        row, ids=there(row.ids), places=there(row.places), types=types, bounds=there(row.bounds)
    )


def _on(place: torch.device) -> Any:
    return torch.cuda.device(place) if place.type == "cuda" else nullcontext()
