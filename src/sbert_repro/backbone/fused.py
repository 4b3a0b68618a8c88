"""BERT and RoBERTa over a packed row, written for the speed of training in bf16 on a CPU.

The network is transformers' own, weight by weight and dropout by dropout; only how it is computed
differs: parts with gradients written out (`sbert_repro.backbone.fused_parts`), bf16 weights beside
the fp32 ones, the residual stream in bf16, few attention calls, and dropout drawn in bulk.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertModel, RobertaModel, XLMRobertaModel

from sbert_repro.backbone.attention_groups import AttentionGroup, grouped
from sbert_repro.backbone.dropout_draws import DropoutDraws
from sbert_repro.backbone.fused_attention import Attention, SelfAttention
from sbert_repro.backbone.fused_parts import (
    AddNorm,
    Dense,
    DenseAddNorm,
    DenseGelu,
    Dropped,
    Lookup,
)
from sbert_repro.backbone.packing import Packing
from sbert_repro.backbone.working_weights import GradientMemory, WorkingWeights

VERSION = 2
"""Raised by hand when the same weights would give other gradients; in the keys of bf16 runs."""

_log = logging.getLogger(__name__)
_COVERED = (BertModel, RobertaModel, XLMRobertaModel)


def covers(model: nn.Module) -> bool:
    """Say whether a network is one that `FusedNetwork` computes.

    Args:
        model: A transformers encoder.

    Returns:
        bool: ``False`` for other families, other activations, and partly frozen networks.
    """
    config: Any = model.config
    if type(model) not in _COVERED:
        return False
    usual = config.hidden_act == "gelu" and not config.is_decoder
    trained = [p for name, p in model.named_parameters() if not name.startswith("pooler.")]
    whole = all(p.requires_grad and p.dtype == torch.float32 for p in trained)
    return usual and whole and all(p.device.type == "cpu" for p in trained)


class FusedNetwork:
    """Computes a network; holds its working weights and the memory of its gradients."""

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
        """Take a network that `covers` says yes to.

        Args:
            model: A transformers encoder; its parameters stay where they are.
            dtype: Format of states and products.
        """
        self._model, self._dtype, self._memory = model, dtype, GradientMemory()
        network: Any = model
        self._heads = int(network.config.num_attention_heads)
        self._layers = [self._layer(layer) for layer in network.encoder.layer]

    def _dense(self, *layers: Any) -> Dense:
        weight = WorkingWeights([layer.weight for layer in layers], self._dtype)
        bias = WorkingWeights([layer.bias for layer in layers], self._dtype)
        return Dense(weight, bias, self._memory)

    def _layer(self, layer: Any) -> tuple[Any, Dense, Dense, Dense, Dense]:
        own = layer.attention.self
        return (
            layer,
            self._dense(own.query, own.key, own.value),
            self._dense(layer.attention.output.dense),
            self._dense(layer.intermediate.dense),
            self._dense(layer.output.dense),
        )

    def states(self, packing: Packing, first_position: int) -> list[Tensor]:
        """Run the network.

        Args:
            packing: ``N`` sentences in a row of ``S`` word pieces.
            first_position: Number of the first position.

        Returns:
            list[Tensor]: ``[S, D]`` of the embedding layer and of every layer after it.
        """
        draws = DropoutDraws() if self._model.training else None
        with torch.autocast("cpu", enabled=False):
            found = [self._embedded(packing, first_position, draws)]
            groups = grouped([n for n, count in packing.groups for _ in range(count)])
            for layer in self._layers:
                for dense in layer[1:]:
                    dense.refresh()
                found.append(self._through(found[-1], groups, layer, draws))
        return found

    def _embedded(self, packing: Packing, first: int, draws: DropoutDraws | None) -> Tensor:
        part: Any = self._model.embeddings
        words, ids = part.word_embeddings, packing.ids[0]
        rows = Lookup.apply(words.weight, ids, words.padding_idx, self._memory)
        types = torch.zeros_like(ids) if packing.types is None else packing.types[0]
        rows = rows + F.embedding(types, part.token_type_embeddings.weight)
        rows = rows + F.embedding(packing.places[0] + first, part.position_embeddings.weight)
        states: Tensor = part.LayerNorm(rows).to(self._dtype)
        drop = self._dropped(tuple(states.shape), part.dropout.p, draws)
        return states if drop is None else states * drop.kept * drop.scale

    def _through(
        self,
        states: Tensor,
        groups: tuple[AttentionGroup, ...],
        layer: tuple[Any, Dense, Dense, Dense, Dense],
        draws: DropoutDraws | None,
    ) -> Tensor:
        """Run one layer."""
        part, heads, output, wider, narrower = layer
        drops = [self._shares_dropped(group, part.attention.self, draws) for group in groups]
        attention = Attention(heads, self._heads, groups, drops)
        mixed = SelfAttention.apply(states, attention, *heads.parameters())
        states = self._added(mixed, states, output, part.attention.output, draws)
        wide = DenseGelu.apply(states, wider, *wider.parameters())
        return self._added(wide, states, narrower, part.output, draws)

    def _added(
        self, inner: Tensor, around: Tensor, dense: Dense, part: Any, draws: DropoutDraws | None
    ) -> Tensor:
        drop, norm = self._dropped(tuple(around.shape), part.dropout.p, draws), part.LayerNorm
        added: Tensor = DenseAddNorm.apply(
            inner,
            around,
            AddNorm(dense, drop, norm.eps),
            norm.weight,
            norm.bias,
            *dense.parameters(),
        )
        return added

    def _shares_dropped(
        self, group: AttentionGroup, part: Any, draws: DropoutDraws | None
    ) -> Dropped | None:
        shape = (group.count * self._heads, group.length, group.length)
        return self._dropped(shape, part.dropout.p, draws)

    def _dropped(
        self, shape: tuple[int, ...], share: float, draws: DropoutDraws | None
    ) -> Dropped | None:
        kept = None if draws is None else draws.kept(shape, share, self._dtype)
        return None if kept is None else Dropped(kept, 1 / (1 - share))
