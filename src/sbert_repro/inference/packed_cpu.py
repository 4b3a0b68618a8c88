"""The packed engine for CPUs: no padding, weights in oneDNN's order, fp32 or bf16.

In fp32 its vectors are those of `reference` up to rounding (at most 1e-5), in bf16 they have a
cosine of at least 0.9995 with them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbert_repro.inference.batches import Pieces, lengths_of, run
from sbert_repro.inference.layers import Pool, pooled, row_of, states
from sbert_repro.inference.plan import plan_packed
from sbert_repro.inference.progress import Advance
from sbert_repro.inference.weights import Network, why_no_network

BUDGET = 1024
"""Word pieces in a batch: enough for the products to run at full speed, few enough for the caches
to hold what passes from one to the next."""


def why_not(config: Any, precision: str = "fp32") -> str | None:
    """Say what keeps a model, this machine or this PyTorch from the packed engine.

    Args:
        config: The model's transformers configuration.
        precision: ``fp32`` or ``bf16``.

    Returns:
        str | None: A reason in few words, or ``None``: nothing does.
    """
    return why_no_network(config) or why_not_here(precision)


@cache
def why_not_here(precision: str) -> str | None:
    """Say what keeps this machine or this PyTorch from prepacked products, whatever the model.

    Args:
        precision: ``fp32`` or ``bf16``.

    Returns:
        str | None: A reason in few words, or ``None``: nothing does.
    """
    needed = ("_linear_pointwise", "_reorder_linear_weight")
    if not torch.backends.mkldnn.is_available() or not all(
        hasattr(torch.ops.mkldnn, name) for name in needed
    ):
        return f"PyTorch {torch.__version__} has no prepacked products of oneDNN here"
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "this processor has no bf16 products"
    return None


def encode(
    pieces: Pieces,
    network: Network,
    pool: Pool,
    *,
    layer: str = "last",
    first_only: bool = False,
    advance: Advance = lambda done: None,
) -> NDArray[np.float32]:
    """Embed tokenised sentences.

    Args:
        pieces: Word-piece ids of ``N`` sentences, ``N`` at least 1.
        network: From `prepack`.
        pool: ``(states [n, T, D], mask [n, T]) -> [n, D]``, as training and the reference have it;
            called for sentences of equal length together, so its mask is all true.
        layer: Which layer's states are pooled; a name from ``LAYERS``.
        first_only: Give ``pool`` only the first word piece of each sentence, ``T = 1``; for CLS
            pooling of the last layer, which then need not be computed for the others.
        advance: Told how many sentences are done.

    Returns:
        NDArray[np.float32]: ``[N, D]``, in the order of ``pieces``.
    """

    def embed(some: Pieces) -> Tensor:
        row = row_of(some)
        found = states(network, row, layer, first_only=first_only)
        return pooled(found, row, pool, first_only=first_only)

    return run(pieces, plan_packed(lengths_of(pieces), BUDGET), embed, advance)
