"""A faster way that is wrong is found, whatever is wrong with it; one that only rounds is not."""

import pytest
import torch
from torch import nn

from sbert_repro.backbone.agreement import disagreement
from sbert_repro.backbone.transformer import load

MASK = torch.arange(12) < torch.tensor([12, 5, 2, 9]).unsqueeze(1)


@pytest.fixture
def network(tiny_bert):
    return load(tiny_bert).model.train()


@pytest.fixture
def ids():
    return torch.randint(5, 40, MASK.shape, generator=torch.Generator().manual_seed(1))


def way(network, ids, mask=MASK):
    return lambda: network(input_ids=ids, attention_mask=mask).last_hidden_state


def said(network, ids, faster, half):
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        return disagreement(network, way(network, ids), faster, MASK, 2)


@pytest.mark.parametrize("half", [False, True])
def test_the_same_way_agrees_and_leaves_everything_as_it_was(network, ids, half):
    before = torch.get_rng_state()
    assert said(network, ids, way(network, ids), half) is None
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("half", [False, True])
def test_one_padding_that_is_seen_is_found(network, ids, half):
    seen = MASK.clone()
    seen[2, 2] = True
    assert "states are off" in said(network, ids, way(network, ids, seen), half)


def test_right_states_with_a_wrong_gradient_are_found(network, ids):
    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(_, states):
            return states.clone()

        @staticmethod
        def backward(_, gradient):
            return gradient / 2

    assert "a gradient is off" in said(
        network, ids, lambda: Halved.apply(way(network, ids)()), False
    )


def test_nan_and_a_second_time_that_is_wrong_are_found(network, ids):
    right, calls = way(network, ids), []

    def later():
        calls.append(1)
        return right() * (float("nan") if len(calls) == 2 else 1)

    assert "off by nan" in said(network, ids, later, False)


def test_it_draws_as_often_as_it_likes(network, ids):
    torch.manual_seed(3)
    before = torch.get_rng_state()

    def draws():
        nn.init.normal_(torch.empty(4))
        return way(network, ids)()

    assert said(network, ids, draws, False) is None
    assert torch.equal(torch.get_rng_state(), before)
