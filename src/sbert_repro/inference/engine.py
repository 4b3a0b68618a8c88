"""From word pieces to vectors: which engine computes, and in which batches.

Two engines give the same vectors. ``reference`` runs padded batches through transformers' network
as it stands, slow and plain on purpose. ``packed`` runs rows without padding through prepacked
weights (`sbert_repro.backbone.packed`): on a CPU in fp32, where its vectors are those of the
reference up to rounding (at most 1e-5), in bf16 (a cosine of at least 0.9995 with them) and with
8-bit products (0.99); on a GPU in bf16 alone.

No GPU has run the packed engine yet, and 8-bit products rest on instructions that differ between
processors, so nobody has to trust either: before the first vector they are compared with the
reference on the machine at hand, and where they do not agree the reference computes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sbert_repro.backbone import packed
from sbert_repro.backbone.find_model import model_name
from sbert_repro.backbone.packed import Packing, Pieces, Pool, lengths_of
from sbert_repro.backbone.transformer import (
    LAYERS,
    TransformerBackbone,
    check_layer,
    load,
    load_config,
    load_tokenizer,
)
from sbert_repro.batch import Tokens
from sbert_repro.data.batches import pad
from sbert_repro.data.tokens import WordPieces
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.inference.choice import check_engine
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.progress import Advance
from sbert_repro.similarity import cosine

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Types of products in floating point; ``int8`` has states in fp32 around its products."""
BUDGET = {
    # Enough for the products to run at full speed, few enough for the caches of a CPU to hold what
    # passes from one to the next.
    "packed": 1024,
    # States in fp32 around 8-bit products are twice as wide.
    "packed in int8": 512,
    "reference": 2048,
    # Some hundred for each multiprocessor of a large GPU; the widest states of BERT-base take
    # 200 MB. Not measured.
    "packed on a GPU": 32768,
    "reference on a GPU": 65536,
}
"""Word pieces in a batch."""
LEAST_COSINE = 0.9995
"""Of bf16 vectors with the reference's in fp32."""
LEAST_COSINE_INT8 = 0.99
"""Of vectors from 8-bit products with the reference's; MiniLM's on STSb have 0.998 or more, on
processors that add in 32 bits and in 16."""
FOR_CPUS = "8-bit products are for CPUs"
"""Why int8 is not computed on a GPU."""

Rows = NDArray[np.int64]
"""Numbers of the sentences in a batch."""

_log = logging.getLogger(__name__)


class Engine:
    """The engine of one model; no weight is read before it must be.

    Attributes:
        VERSION: Raised when an engine has become faster or slower; a time is kept under it.
        ROUNDING: Raised when the packed engine rounds at other places in bf16 or int8; vectors are
            kept under it.
    """

    VERSION: ClassVar[int] = 2
    ROUNDING: ClassVar[int] = 2

    def __init__(
        self, engine: str, folder: Path, pooling: nn.Module, *, layer: str, precision: str
    ) -> None:
        """Choose nothing yet.

        Args:
            engine: A name from `choice.ENGINES`; ``auto`` is ``packed`` where that is possible, and
                otherwise ``reference``, with a line in the log.
            folder: The model's folder.
            pooling: ``(states, mask) -> [N, D]``.
            layer: Which layer's states are pooled; a name from ``LAYERS``.
            precision: ``fp32``, ``bf16`` or ``int8``.

        Raises:
            UserError: If there is no such engine or layer, or it has no such precision.
        """
        check_engine(engine, precision)
        check_layer(layer)
        self._asked, self._folder, self._pooling = engine, folder, pooling
        self._layers, self._precision = LAYERS[layer], precision
        self._layer, self._first_only = layer, layer == "last" and isinstance(pooling, ClsPooling)

    @cached_property
    def device(self) -> torch.device:
        """Where the network computes: the first GPU, or the CPU."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def _on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @cached_property
    def _config(self) -> Any:
        return load_config(self._folder)

    @property
    def width(self) -> int:
        """Width ``D`` of the states."""
        return int(self._config.hidden_size)

    @property
    def positions(self) -> int:
        """Word pieces a sentence may have, special ones included."""
        return packed.positions(self._config)

    @cached_property
    def name(self) -> str:
        """The engine that computes.

        On a GPU, and in int8, this reads the model, since the packed engine must first agree with
        the reference.

        Returns:
            ``packed`` or ``reference``.

        Raises:
            UserError: If ``packed`` was asked for and is not possible.
        """
        if self._asked == "reference":
            return "reference"
        reason = self._why_not_packed
        if reason is None:
            return "packed"
        if self._asked == "packed":
            raise UserError(
                f"not for {model_name(self._folder)}: {reason}",
                where="engine=packed",
                mend="use engine=auto",
            )
        in_fp32 = " in fp32" if self._precision == "int8" else ""
        _log.info(
            "%s: the reference engine computes%s, not the packed one: %s",
            model_name(self._folder),
            in_fp32,
            reason,
        )
        return "reference"

    @property
    def facts(self) -> list[Fact]:
        """What a reader of its scores must know of int8: what it is computed in otherwise."""
        if self._precision != "int8":
            return []
        if self.name != "packed":
            return [fact("not_in_8_bits", reason=self._why_not_packed, computed_in="fp32")]
        least = packed.QuantizedProduct.LEAST
        if self._config.hidden_size < least:
            reason = f"8 bits gain nothing in products narrower than {least}"
            return [fact("not_in_8_bits", reason=reason, computed_in=packed.narrow_precision())]
        return [fact("added_in_16_bits")] if packed.adds_in_16_bits() else []

    @cached_property
    def _why_not_packed(self) -> str | None:
        if self._precision == "int8":
            if self._on_gpu:
                return FOR_CPUS
            return (
                packed.why_not(self._config) or packed.why_not_quantized() or self._disagreement()
            )
        if not self._on_gpu:
            return packed.why_not(self._config) or packed.why_not_prepacked(DTYPES[self._precision])
        if self._precision != "bf16":
            return f"on a GPU it computes in bf16, and this is {self._precision}"
        return packed.why_not(self._config) or self._disagreement()

    @property
    def rounding(self) -> dict[str, str | int]:
        """What the engine adds to the identity of a vector."""
        # In fp32 both engines give the same vectors up to rounding (1e-5, held by a test), so a
        # score is the same score whichever computed it. In bf16 they round at other places. On CPUs
        # and on GPUs the packed engine bears one name: the same weights, rounded at the same places
        # but for the attention's and the norms' own, as between two processors.
        # With 8 bits the reference computes in fp32 wherever the packed engine cannot. Weights are
        # rounded by how a processor adds, and narrow products take the precision that it has.
        if self._precision == "fp32" or self.name != "packed":
            return {}
        rounding: dict[str, str | int] = {"engine": "packed", "rounding": self.ROUNDING}
        if self._precision == "int8":
            width, least = self._config.hidden_size, packed.QuantizedProduct.LEAST
            if width >= least and packed.adds_in_16_bits():
                rounding["sum_bits"] = 16
            narrow = packed.narrow_precision()
            if min(width, self._config.intermediate_size) < least and narrow != "bf16":
                rounding["narrow"] = narrow
        return rounding

    @cached_property
    def backbone(self) -> TransformerBackbone:
        """The network as transformers has it."""
        return load(self._folder, self._layer).to(self.device)

    @cached_property
    def _network(self) -> packed.Network:
        if self._precision == "int8":
            model = load(self._folder, self._layer).model
            return packed.prepack(model, product=packed.narrow_product)
        dtype = DTYPES[self._precision]
        if not self._on_gpu:
            # The one that transformers has is not kept.
            return packed.prepack(load(self._folder, self._layer).model, dtype)
        # CUDA's LayerNorm wants weights of its input's type; its sums are in fp32 all the same.
        return packed.prepack(
            self.backbone.model,
            dtype,
            product=packed.Product.of,
            attend_with=_attend_varlen,
            norms=dtype,
        )

    def encode(
        self, pieces: Pieces, pool: Pool, *, pad_id: int, advance: Advance = lambda done: None
    ) -> NDArray[np.float32]:
        """Embed tokenised sentences.

        Args:
            pieces: Word-piece ids of ``N`` sentences, ``N`` at least 1.
            pool: ``(states [n, T, D], mask [n, T]) -> [n, D]``, as training has it, and what
                follows.
            pad_id: Word piece to pad with.
            advance: Told how many sentences are done.

        Returns:
            ``[N, D]``, in the order of ``pieces``.

        Raises:
            UserError: If the GPU fails after the two engines agreed.
        """
        if self.name == "reference":
            return encode_padded(
                pieces,
                lambda tokens: pool(self._padded_states(tokens), tokens.mask),
                pad_id=pad_id,
                device=self.device,
                advance=advance,
            )
        try:
            return self._encode_packed(pieces, pool, advance)
        except RuntimeError as error:  # PyTorch's kind for the driver, a kernel, memory
            if not self._on_gpu:
                raise
            # Too late for the other engine: these vectors are called the packed engine's already.
            raise UserError(
                f"the GPU failed ({type(error).__name__}: {_first_line(error)})",
                where="engine=packed",
                mend="run the same command with engine=reference",
            ) from error

    def _padded_states(self, tokens: Tokens) -> Tensor:
        half = self._precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            states: Tensor = self.backbone(tokens)
        return states

    def _encode_packed(
        self, pieces: Pieces, pool: Pool, advance: Advance = lambda done: None
    ) -> NDArray[np.float32]:
        place = " on a GPU" if self._on_gpu else " in int8" if self._precision == "int8" else ""
        budget = BUDGET[f"packed{place}"]

        def embed(some: Pieces) -> Tensor:
            packing = packed.pack_pieces(some).to(self.device)
            first_only = self._first_only
            states = self._network.states(packing, self._layers, first_only=first_only)
            return packed.pool_groups(states, packing, pool, first_only=first_only)

        return _run(pieces, plan_packed(lengths_of(pieces), budget), embed, advance)

    def _disagreement(self) -> str | None:
        """Embed a few sentences by both engines; say what differs in a few words, if anything."""
        tokenizer = load_tokenizer(self._folder)
        room = self.positions - int(tokenizer.num_special_tokens_to_add())
        pieces = WordPieces(tokenizer, min(128, room))(_TRIAL)

        def pool(states: Tensor, mask: Tensor) -> Tensor:
            vectors: Tensor = self._pooling(states.float(), mask)
            return vectors

        # On a GPU it stays for the packed weights to be made of; on a CPU those are read again.
        backbone = self.backbone if self._on_gpu else load(self._folder, self._layer)
        exact = encode_padded(
            pieces,
            lambda tokens: pool(backbone(tokens), tokens.mask),
            pad_id=tokenizer.pad_token_id,
            device=self.device,
        )
        try:
            found = self._encode_packed(pieces, pool)
        except Exception as error:  # the driver, the kernel, memory: each has its own kinds
            return f"it failed on a few sentences ({type(error).__name__}: {_first_line(error)})"
        lowest = cosine(found, exact).min()
        least = LEAST_COSINE_INT8 if self._precision == "int8" else LEAST_COSINE
        if lowest >= least:  # NaN is no agreement
            return None
        return (
            f"one of a few vectors has a cosine of {lowest:.5f} with the reference's, not {least}"
        )


_TRIAL = (
    "",
    "No.",
    "A man is playing a guitar.",
    "Two dogs sleep in the park while a child reads a book about horses.",
    "The price of oil fell by 3.5% on Monday, its lowest in 12 years. " * 8,
)
"""What the engines must agree on. Not the sentences at hand: the engine is part of what a bf16
vector is called, so it must be known before them and must not depend on which come first."""


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, first_only: bool
) -> Tensor:
    """Attend within each sentence, all of them in one call of PyTorch's flash attention.

    An `sbert_repro.backbone.packed.Attend` for GPUs, in bf16.
    """
    # Here, so that a PyTorch without it is a reason for the reference engine and no crash.
    from torch.nn.attention.varlen import varlen_attn

    longest = max(packing.lengths)
    bounds, most = packing.bounds, longest
    if first_only:
        query = query.index_select(0, packing.bounds[:-1])
        bounds, most = torch.arange(len(bounds), dtype=torch.int32, device=query.device), 1
    # The root of the head's width is in the query already.
    mixed = varlen_attn(query, key, value, bounds, packing.bounds, most, longest, scale=1.0)
    assert isinstance(mixed, Tensor)
    return mixed


# --- Batches


def plan_padded(lengths: NDArray[np.integer], budget: int) -> list[Rows]:
    """Group sentences of similar length ("smart batching", section 7 of the paper).

    # paper: sentences of similar length are grouped, padded to the longest of a mini-batch.
    # here: the same, lengths counted in word pieces, and a batch holds as many sentences as fit a
    # token budget, so that memory does not depend on how long they are.
    # effect: table 7; no vector changes.

    Args:
        lengths: Word pieces of each sentence ``[N]``.
        budget: Word pieces in a batch, padding included; a longer sentence stands alone.

    Returns:
        Sentence numbers of each batch, the longest first: what does not fit into memory fails at
        once.
    """
    order = _longest_first(lengths)
    batches, start = [], 0
    while start < len(order):
        size = max(1, budget // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + size])
        start += size
    return batches


def plan_packed(lengths: NDArray[np.integer], budget: int) -> list[Rows]:
    """Group sentences that stand one after the other, without padding.

    Args:
        lengths: Word pieces of each sentence ``[N]``.
        budget: Word pieces in a batch; a longer sentence stands alone.

    Returns:
        Sentence numbers of each batch, the longest first, so that sentences of equal length stand
        together.
    """
    order = _longest_first(lengths)
    ends = np.cumsum(np.asarray(lengths, np.int64)[order])
    batches, start, before = [], 0, 0
    while start < len(order):
        end = max(start + 1, int(np.searchsorted(ends, before + budget, side="right")))
        batches.append(order[start:end])
        start, before = end, int(ends[end - 1])
    return batches


def _longest_first(lengths: NDArray[np.integer]) -> Rows:
    return np.argsort(-np.asarray(lengths, np.int64), kind="stable")


def encode_padded(
    pieces: Pieces,
    embed: Callable[[Tokens], Tensor],
    *,
    pad_id: int,
    device: torch.device | str = "cpu",
    advance: Advance = lambda done: None,
) -> NDArray[np.float32]:
    """Embed tokenised sentences in padded batches: the reference engine, for any network.

    Args:
        pieces: Word-piece ids of ``N`` sentences, ``N`` at least 1.
        embed: Gives vectors ``[n, D]`` for ``n`` sentences; must not let padding change them.
        pad_id: Word piece to pad with.
        device: Where ``embed`` computes.
        advance: Told how many sentences are done.

    Returns:
        ``[N, D]``, in the order of ``pieces``.
    """
    on_gpu = torch.device(device).type == "cuda"
    budget = BUDGET["reference on a GPU" if on_gpu else "reference"]
    batches = plan_padded(lengths_of(pieces), budget)
    return _run(pieces, batches, lambda some: embed(pad(some, pad_id).to(device)), advance)


def _run(
    pieces: Pieces, batches: Sequence[Rows], embed: Callable[[Pieces], Tensor], advance: Advance
) -> NDArray[np.float32]:
    """Embed batch after batch and put each vector where its sentence stands."""
    vectors: NDArray[np.float32] | None = None
    with torch.inference_mode():
        for rows in batches:
            found = embed([pieces[row] for row in rows])
            if vectors is None:
                vectors = np.empty((len(pieces), found.shape[1]), np.float32)
            vectors[rows] = found.float().cpu().numpy()
            advance(len(rows))
    assert vectors is not None, "nothing to encode"
    return vectors
