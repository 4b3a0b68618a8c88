"""How much arithmetic a sentence needs, and how fast this machine does arithmetic of that shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig

from sbert_repro.backbone.find_model import weights_folder
from sbert_repro.backbone.packed import why_not_prepacked
from sbert_repro.backbone.transformer import load_tokenizer

ROWS = 1024
"""Word pieces that are multiplied at once, as the packed engine does."""
_TIMES = 4
"""Passes through the four products of a layer in one timing."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Shape:
    """What of a BERT decides how long it takes.

    Attributes:
        layers: Layers.
        width: ``D``.
        intermediate: Width of the feed-forward network.
    """

    layers: int
    width: int
    intermediate: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Read a shape.

        Args:
            config: A transformers configuration of BERT or RoBERTa.

        Returns:
            Shape: Of that model.
        """
        return cls(config.num_hidden_layers, config.hidden_size, config.intermediate_size)

    @property
    def products(self) -> list[tuple[int, int]]:
        """Inputs and outputs of a layer's linear maps: Q, K and V together, output, both of FFN."""
        d, wide = self.width, self.intermediate
        return [(d, 3 * d), (d, d), (d, wide), (wide, d)]

    def flops(self, lengths: NDArray[np.integer]) -> float:
        """Count what sentences need without any padding: the useful arithmetic.

        Args:
            lengths: Word pieces of each sentence.

        Returns:
            float: Multiplications and additions.
        """
        linear = sum(a * b for a, b in self.products) * int(lengths.sum())
        # Queries times keys, then weights times values.
        attention = 2 * self.width * int((lengths.astype(np.int64) ** 2).sum())
        return 2.0 * self.layers * (linear + attention)


def useful_flops(encoder: object, texts: Sequence[str]) -> float:
    """Count the arithmetic of a BERT; of other networks nothing is said.

    Args:
        encoder: Any encoder.
        texts: ``N`` sentences.

    Returns:
        float: For all of them together; 0 where the encoder is no model folder of a transformer.
    """
    folder = getattr(encoder, "folder", None)
    if folder is None or not any(folder.rglob("tokenizer*.json")):
        return 0.0
    shape, lengths = shape_and_lengths(folder, texts)
    return shape.flops(lengths)


def shape_and_lengths(
    folder: Path, texts: Sequence[str], limit: int = 128
) -> tuple[Shape, NDArray[np.int64]]:
    """Read a BERT's shape, and how many word pieces sentences have in it.

    Args:
        folder: A model folder.
        texts: ``N`` sentences.
        limit: Word pieces of the longest, [CLS] and [SEP] counted.

    Returns:
        tuple[Shape, NDArray[np.int64]]: The shape, and lengths ``[N]``.
    """
    config = AutoConfig.from_pretrained(weights_folder(folder), local_files_only=True)
    read = load_tokenizer(folder)(list(texts), truncation=True, max_length=limit)["input_ids"]
    return Shape.of(config), np.array([len(ids) for ids in read])


def product_work(shape: Shape, precision: str) -> tuple[Callable[[], object], float]:
    """Give the four products of a layer as work to be timed: the most a network can hope for.

    In oneDNN's order where the packed engine for CPUs has them so; plainly on a GPU, and on a
    machine without such products.

    Args:
        shape: Of the network.
        precision: ``fp32`` or ``bf16``.

    Returns:
        tuple: The work, and its floating-point operations.
    """
    dtype, cuda = DTYPES[precision], torch.cuda.is_available()
    place = torch.device("cuda" if cuda else "cpu")
    prepacked = not cuda and why_not_prepacked(dtype) is None
    pairs: list[tuple[Tensor, Tensor]] = []
    for inputs, outputs in shape.products:
        given = torch.randn(ROWS, inputs, device=place).to(dtype)
        weight = torch.randn(outputs, inputs, device=place).to(dtype)
        if prepacked:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        pairs.append((given, weight))

    def work() -> None:
        with torch.inference_mode():
            for _ in range(_TIMES):
                for given, weight in pairs:
                    if prepacked:
                        torch.ops.mkldnn._linear_pointwise(given, weight, None, "none", [], "")
                    else:
                        functional.linear(given, weight)
            if cuda:
                torch.cuda.synchronize()

    return work, 2.0 * _TIMES * ROWS * sum(a * b for a, b in shape.products)
