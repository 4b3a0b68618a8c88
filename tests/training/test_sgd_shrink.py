"""InferSent's learning rate: by hand, over a checkpoint, to its end."""

import pytest
import torch
from torch import nn

from sbert_repro.training.sgd_shrink import ShrinkingSgd

STEPS = 3


def made(**options):
    spec, layer = ShrinkingSgd(**options), nn.Linear(2, 1)
    optimizer = spec.over(layer.named_parameters())
    return layer, optimizer, spec.schedule(optimizer, STEPS)


def epochs(optimizer, rate, scores):
    """The rate of each step, and whether the run ended, after some dev scores."""
    rates, ended = [], False
    for score in scores:
        for _ in range(STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            rate.step()
        ended = rate.looked(score)
    return rates, ended


def test_decay_each_epoch_and_a_fifth_after_one_that_is_not_the_best():
    _, optimizer, rate = made()
    rates, ended = epochs(optimizer, rate, [50.0, 60.0, 60.0, 59.0, 61.0, 0.0])
    by_hand = [0.1, 0.1 * 0.99, 0.1 * 0.99**2, 0.1 * 0.99**3 / 5, 0.1 * 0.99**4 / 25]
    by_hand += [0.1 * 0.99**5 / 25]
    assert rates == pytest.approx([r for r in by_hand for _ in range(STEPS)])
    assert not ended and rate.shrinks == 3


def test_it_ends_when_the_rate_is_too_small():
    _, optimizer, rate = made()
    assert not epochs(optimizer, rate, [50.0, *[40.0] * 5])[1]
    assert epochs(optimizer, rate, [40.0])[1], "0.1 / 5 ** 6 is below 1e-5"


def test_a_score_that_is_no_number_counts_as_worse():
    _, optimizer, rate = made()
    epochs(optimizer, rate, [float("nan")])
    assert rate.shrinks == 1


def test_a_step_is_plain_gradient_descent():
    layer, optimizer, _ = made(lr=0.5)
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before - 0.5 * torch.ones(1, 2))


def test_it_goes_on_where_it_stood():
    _, optimizer, rate = made()
    epochs(optimizer, rate, [50.0, 40.0])
    _, other, again = made()
    other.load_state_dict(optimizer.state_dict())
    again.load_state_dict(rate.state_dict())
    scores = [45.0, 55.0, 54.0]
    assert epochs(other, again, scores) == epochs(optimizer, rate, scores)


def test_what_is_frozen_is_left_out():
    layer = nn.Linear(2, 1)
    layer.bias.requires_grad = False
    optimizer = ShrinkingSgd().over(layer.named_parameters())
    assert [p.shape for p in optimizer.param_groups[0]["params"]] == [layer.weight.shape]
