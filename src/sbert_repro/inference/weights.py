"""A transformers network as the packed engine wants it: weights laid out for oneDNN once.

PyTorch keeps a linear layer's weight as the checkpoint has it, and its product must fetch it in an
order that no processor likes. oneDNN has an order of its own for each processor; put into it once,
the same product in fp32 runs up to twice as fast. Q, K and V are one product instead of three.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sbert_repro.backbone.transformer import TransformerBackbone

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_ROWS = 1024
"""Word pieces of a usual batch; oneDNN chooses the order of the weights by it."""


@dataclass(frozen=True)
class Product:
    """A linear layer, ``x Wᵀ + b``, whose weight lies in oneDNN's order.

    Attributes:
        weight: An opaque tensor of oneDNN's.
        bias: ``[out]``.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply ``x [S, in]``; gives ``[S, out]``."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, "none", [], ""
        )
        return product

    def gelu(self, x: Tensor) -> Tensor:
        """Multiply and apply the exact GELU while the result is still in a register."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, "gelu", [], "none"
        )
        return product

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Multiply and add ``residual [S, out]`` while the result is still in a register."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, residual, self.weight, self.bias, "add"
        )
        return product


@dataclass(frozen=True)
class Norm:
    """Layer normalisation; its weights stay fp32, the states may be bf16."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise ``x [S, D]``."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class Layer:
    """One transformer layer."""

    heads: int
    qkv: Product
    """Q, K and V side by side, ``[3 D]``; Q already divided by the root of a head's width."""
    out: Product
    out_norm: Norm
    up: Product
    down: Product
    down_norm: Norm


@dataclass(frozen=True)
class Embeddings:
    """Word pieces, places and types to the states that enter the first layer.

    Attributes:
        words: ``[vocabulary, D]``.
        places: ``[positions, D]``, from the first one that is used (RoBERTa's is its third).
        types: ``[types, D]``.
        norm: What follows their sum.
        dtype: Of the states.
    """

    words: Tensor
    places: Tensor
    types: Tensor
    norm: Norm
    dtype: torch.dtype

    def __call__(self, ids: Tensor, places: Tensor, types: Tensor | None) -> Tensor:
        """Look up ``S`` word pieces; gives ``[S, D]``. Summed in fp32 in transformers' order."""
        typed = self.types[0] if types is None else F.embedding(types, self.types)
        states = F.embedding(ids, self.words).add_(typed).add_(F.embedding(places, self.places))
        return self.norm(states).to(self.dtype)


@dataclass(frozen=True)
class Network:
    """A whole encoder."""

    embeddings: Embeddings
    layers: tuple[Layer, ...]
    width: int
    positions: int
    """Word pieces a sentence may have, special ones included."""


def prepack(backbone: TransformerBackbone, precision: str = "fp32") -> Network:
    """Lay out a network's weights for the packed engine.

    Args:
        backbone: One that `why_not` has nothing against; it can be dropped afterwards.
        precision: ``fp32`` or ``bf16``, for products, states and attention; sums over word pieces,
            normalisation and pooling stay fp32.

    Returns:
        Network: The same network.
    """
    model: Any = backbone.model
    dtype, config, tables = DTYPES[precision], model.config, model.embeddings
    with torch.inference_mode():
        embeddings = Embeddings(
            words=_own(tables.word_embeddings.weight),
            places=_own(tables.position_embeddings.weight[-backbone.positions :]),
            types=_own(tables.token_type_embeddings.weight),
            norm=_norm(tables.LayerNorm),
            dtype=dtype,
        )
        layers = tuple(
            _layer(layer, int(config.num_attention_heads), dtype) for layer in model.encoder.layer
        )
    return Network(embeddings, layers, backbone.width, backbone.positions)


def _own(weight: Tensor) -> Tensor:
    # A copy, so that the model that it came from can be dropped as a whole.
    return weight.detach().float().clone()


def _norm(norm: nn.LayerNorm) -> Norm:
    return Norm(_own(norm.weight), _own(norm.bias), float(norm.eps))


def _layer(layer: Any, heads: int, dtype: torch.dtype) -> Layer:
    attention, output = layer.attention.self, layer.attention.output
    # Folded into the weights, so that no pass over the scores is needed for it.
    scale = 1 / math.sqrt(attention.query.out_features / heads)
    parts = (attention.query, attention.key, attention.value)

    def joined(of: Callable[[nn.Linear], Tensor]) -> Tensor:
        query, *others = (of(part).detach() for part in parts)
        return torch.cat([query * scale, *others])

    return Layer(
        heads=heads,
        qkv=_product(joined(lambda part: part.weight), joined(lambda part: part.bias), dtype),
        out=_product(output.dense.weight, output.dense.bias, dtype),
        out_norm=_norm(output.LayerNorm),
        up=_product(layer.intermediate.dense.weight, layer.intermediate.dense.bias, dtype),
        down=_product(layer.output.dense.weight, layer.output.dense.bias, dtype),
        down_norm=_norm(layer.output.LayerNorm),
    )


def _product(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Product:
    ordered = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype), _ROWS)
    return Product(ordered, bias.detach().to(dtype).clone())
