"""Whether the packed engine for GPUs can be trusted on the machine at hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from sbert_repro.backbone.transformer import TransformerBackbone
from sbert_repro.data.tokens import WordPieces
from sbert_repro.errors import UserError
from sbert_repro.inference import reference
from sbert_repro.inference.batches import lengths_of
from sbert_repro.inference.layers import Pool
from sbert_repro.inference.packed_cuda import PackedCuda

LEAST_COSINE = 0.9995
"""With the reference in fp32; the packed engine for CPUs meets it in bf16."""
# Not the sentences at hand: the engine is part of what a bf16 vector is called (`identity`), so it
# must be known before them and must not depend on which come first.
_SENTENCES = (
    "",
    "No.",
    "A man is playing a guitar.",
    "Two dogs sleep in the park while a child reads a book about horses.",
    "The price of oil fell by 3.5% on Monday, its lowest in 12 years. " * 8,
)


def disagreement(
    engine: PackedCuda, backbone: TransformerBackbone, pool: Pool, tokenizer: Any
) -> str | None:
    """Embed a few sentences on each GPU, and by the reference in fp32.

    Args:
        engine: The packed engine.
        backbone: The same network as transformers has it, where the reference computes.
        pool: ``(states, mask) -> [N, D]``, for both.
        tokenizer: The model's.

    Returns:
        str | None: What went wrong, in few words; ``None``: they agree.

    Raises:
        UserError: If the model cannot be read, which is no fault of the engine.
    """
    room = backbone.positions - int(tokenizer.num_special_tokens_to_add())
    pieces = WordPieces(tokenizer, min(128, room))(_SENTENCES)
    exact = reference.encode(
        pieces,
        lambda tokens: pool(backbone(tokens), tokens.mask),
        pad_id=tokenizer.pad_token_id,
        device=next(backbone.parameters()).device,
    )
    try:
        # At least one batch for each GPU.
        many, budget = pieces * engine.replicas, int(lengths_of(pieces).sum())
        found = engine.encode(many, pool, budget=budget)
    except UserError:
        raise
    except Exception as error:  # the driver, the kernel, memory: each has its own kinds
        said = str(error).strip().partition("\n")[0]
        return f"it failed on a few sentences ({type(error).__name__}: {said})"
    u, v = found.astype(np.float64), np.tile(exact, (engine.replicas, 1)).astype(np.float64)
    lowest = ((u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)).min()
    if lowest >= LEAST_COSINE:
        return None
    # A vector of NaN comes here too.
    return f"one of a few vectors has a cosine of {lowest:.5f} with the reference's, not 0.9995"
