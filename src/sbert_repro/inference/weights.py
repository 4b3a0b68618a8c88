"""A transformers network as the packed engines want it: Q, K and V are one product, not three."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sbert_repro.backbone.transformer import TransformerBackbone
from sbert_repro.inference.products import Lay, Product, for_onednn

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FAMILIES = ("bert", "roberta", "xlm-roberta")
"""Values of ``model_type`` with BERT's layers and with weights under BERT's names."""


@dataclass(frozen=True)
class Norm:
    """Layer normalisation; its sums are in fp32 whatever the states are."""

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


def why_no_network(config: Any) -> str | None:
    """Say what keeps a model from being a `Network`.

    Args:
        config: The model's transformers configuration.

    Returns:
        str | None: A reason in few words, or ``None``: nothing does.
    """
    if config.model_type not in FAMILIES:
        return f"model_type {config.model_type} is none of {', '.join(FAMILIES)}"
    if config.hidden_act != "gelu":
        return f"its activation is {config.hidden_act}, not gelu"
    return "it is a decoder" if getattr(config, "is_decoder", False) else None


def prepack(
    backbone: TransformerBackbone,
    precision: str = "fp32",
    lay: Lay = for_onednn,
    norms: torch.dtype = torch.float32,
) -> Network:
    """Lay out a network's weights for a packed engine, on the device where they are.

    Args:
        backbone: One that `why_no_network` has nothing against; it can be dropped afterwards.
        precision: ``fp32`` or ``bf16``, for products, states and attention; sums over word pieces,
            normalisation and pooling stay fp32.
        lay: Makes each product; by default for a CPU.
        norms: Type of the weights of the layers' normalisation.

    Returns:
        Network: The same network.
    """
    model: Any = backbone.model
    dtype, tables = DTYPES[precision], model.embeddings
    heads = int(model.config.num_attention_heads)

    def product(weight: Tensor, bias: Tensor) -> Product:
        return lay(*(part.detach().to(dtype, copy=True) for part in (weight, bias)))

    with torch.inference_mode():
        embeddings = Embeddings(
            words=_own(tables.word_embeddings.weight),
            places=_own(tables.position_embeddings.weight[-backbone.positions :]),
            types=_own(tables.token_type_embeddings.weight),
            norm=_norm(tables.LayerNorm),
            dtype=dtype,
        )
        layers = tuple(_layer(layer, heads, product, norms) for layer in model.encoder.layer)
    return Network(embeddings, layers, backbone.width, backbone.positions)


def _own(weight: Tensor) -> Tensor:
    # A copy, so that the model that it came from can be dropped as a whole.
    return weight.detach().float().clone()


def _norm(norm: nn.LayerNorm, dtype: torch.dtype = torch.float32) -> Norm:
    return Norm(_own(norm.weight).to(dtype), _own(norm.bias).to(dtype), float(norm.eps))


def _layer(layer: Any, heads: int, product: Lay, norms: torch.dtype) -> Layer:
    attention, output = layer.attention.self, layer.attention.output
    # Folded into the weights, so that no pass over the scores is needed for it.
    scale = 1 / math.sqrt(attention.query.out_features / heads)
    parts = (attention.query, attention.key, attention.value)

    def joined(of: Callable[[nn.Linear], Tensor]) -> Tensor:
        query, *others = (of(part).detach() for part in parts)
        return torch.cat([query * scale, *others])

    return Layer(
        heads=heads,
        qkv=product(joined(lambda part: part.weight), joined(lambda part: part.bias)),
        out=product(output.dense.weight, output.dense.bias),
        out_norm=_norm(output.LayerNorm, norms),
        up=product(layer.intermediate.dense.weight, layer.intermediate.dense.bias),
        down=product(layer.output.dense.weight, layer.output.dense.bias),
        down_norm=_norm(layer.output.LayerNorm, norms),
    )
