"""Optimizers against NumPy by hand, the learning rate against transformers', InferSent's SGD."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from transformers import get_constant_schedule_with_warmup, get_linear_schedule_with_warmup

from sbert_repro.training import optimizers
from sbert_repro.training.optimizers import (
    AdamW,
    AdamW2019,
    BertAdam,
    ShrinkingSgd,
    parameter_groups,
    warm_up,
)

STEPS = 12


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.dense = nn.Linear(5, 4)
        self.LayerNorm = nn.LayerNorm(4)
        self.never_used = nn.Parameter(torch.ones(3))


def gradients(step, parameters):
    """Gradients of very different sizes, so that clipping and eps show."""
    generator = np.random.default_rng(step)
    return {n: generator.normal(size=p.shape) * 10.0 ** (step % 5 - 2) for n, p in parameters}


def run(recipe):
    """Weights of a network after some steps of the optimizer."""
    network = Network().double()
    used = [(n, p) for n, p in network.named_parameters() if n != "never_used"]
    optimizer = recipe.over(network.named_parameters())
    for step in range(STEPS):
        for name, gradient in gradients(step, used).items():
            dict(used)[name].grad = torch.from_numpy(gradient)
        optimizer.step()
        optimizer.zero_grad()
    assert torch.equal(network.never_used, torch.ones(3).double()), "no gradient, no step"
    return {name: p.detach().numpy() for name, p in used}


def by_hand(step_of):
    """The same by a formula that takes a weight to the next: (w, g, m, v, t, decays) -> w."""
    network = Network().double()
    weights = {n: p.detach().numpy() for n, p in network.named_parameters() if n != "never_used"}
    moments = {n: [np.zeros_like(w), np.zeros_like(w)] for n, w in weights.items()}
    for step in range(STEPS):
        for name, gradient in gradients(step, weights.items()).items():
            decays = name == "dense.weight"
            weights[name] = step_of(weights[name], gradient, moments[name], step + 1, decays)
    return weights


def update_moments(moments, gradient):
    moments[0] = 0.9 * moments[0] + 0.1 * gradient
    moments[1] = 0.999 * moments[1] + 0.001 * gradient**2
    return moments


def adamw(w, g, moments, t, decays):
    m, v = update_moments(moments, g)
    w = w * (1 - 1e-2 * 0.1 * decays)
    return w - 1e-2 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def old_adamw(w, g, moments, t, decays):
    m, v = update_moments(moments, g)
    w = w - 1e-2 * m / (np.sqrt(v) + 1e-6)
    return w - 1e-2 * 0.1 * decays * w


def bert_adam(w, g, moments, t, decays):
    norm = np.sqrt((g**2).sum())
    g = g * min(1.0, 1.0 / (norm + 1e-6))
    m, v = update_moments(moments, g)
    return w - 1e-2 * (m / (np.sqrt(v) + 1e-6) + 0.1 * decays * w)


CASES = {
    "adamw": (AdamW(lr=1e-2, weight_decay=0.1), adamw),
    "adamw_2019": (AdamW2019(lr=1e-2, weight_decay=0.1), old_adamw),
    "bertadam": (BertAdam(lr=1e-2, weight_decay=0.1), bert_adam),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_formula(name):
    recipe, formula = CASES[name]
    ours, reference = run(recipe), by_hand(formula)
    for weight, expected in reference.items():
        np.testing.assert_allclose(ours[weight], expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("recipe", [BertAdam(lr=1e-2), AdamW2019(lr=1e-2)], ids=lambda r: r.name)
def test_blocks_give_the_bits_of_whole_weights(recipe, monkeypatch):
    """Also where a weight ends within a block, or lies in memory as its transpose."""

    def over_lists(self, group):  # as on a GPU
        weights = [one for one in group["params"] if one.grad is not None]
        if weights:
            gradients = [one.grad for one in weights]
            factors = self._factors(gradients)
            self._step_tensors(group, weights, gradients, *self._moments(weights), factors)

    ends = []
    for size in (1 << 18, 64, None):
        if size is None:
            monkeypatch.setattr(optimizers.UncorrectedAdam, "_step_group", over_lists)
        else:
            monkeypatch.setattr(optimizers, "_BLOCK", size)
        random = torch.Generator().manual_seed(0)
        weights = [torch.randn(shape, generator=random) for shape in ((9, 30), (64,), (3, 1))]
        weights.append(torch.randn(20, 30, generator=random).t())
        named = [(str(number), nn.Parameter(one)) for number, one in enumerate(weights)]
        optimizer = recipe.over(named)
        for _ in range(STEPS):
            for _, parameter in named:
                parameter.grad = torch.randn(parameter.shape, generator=random)
            optimizer.step()
        ends.append([parameter.detach() for _, parameter in named])
    for whole, blocks, lists in zip(*ends, strict=True):
        assert torch.equal(whole, blocks) and torch.equal(whole, lists)


def test_the_three_differ():
    ends = [run(recipe)["dense.weight"] for recipe, _ in CASES.values()]
    assert all(np.abs(a - b).max() > 1e-3 for a, b in ((ends[0], ends[1]), (ends[1], ends[2])))


def test_defaults_are_the_papers_and_the_libraries():
    assert (AdamW().lr, AdamW().eps, AdamW().weight_decay) == (2e-5, 1e-8, 0.01)
    assert (BertAdam().lr, BertAdam().eps, BertAdam().clip_per_tensor) == (2e-5, 1e-6, 1.0)


def test_biases_layer_norms_and_frozen_weights_do_not_decay():
    network = Network()
    network.never_used.requires_grad_(False)
    decayed, others = parameter_groups(network.named_parameters(), 0.01)
    assert [id(p) for p in decayed["params"]] == [id(network.dense.weight)]
    assert {id(p) for p in others["params"]} == {
        id(network.dense.bias),
        id(network.LayerNorm.weight),
        id(network.LayerNorm.bias),
    }
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)


@pytest.mark.parametrize("name", ["adamw_2019", "bertadam"])
def test_state_survives_a_round_trip(name, tmp_path):
    recipe = CASES[name][0]
    network = Network()
    used = [(n, p) for n, p in network.named_parameters() if n != "never_used"]
    optimizer = recipe.over(network.named_parameters())

    def step(number):
        for key, gradient in gradients(number, used).items():
            dict(used)[key].grad = torch.from_numpy(gradient).float()
        optimizer.step()

    step(0)
    torch.save([optimizer.state_dict(), network.state_dict()], tmp_path / "state")
    step(1)
    expected = [p.detach().clone() for _, p in used]
    saved, weights = torch.load(tmp_path / "state", weights_only=True)
    network.load_state_dict(weights)
    optimizer = recipe.over(network.named_parameters())
    optimizer.load_state_dict(saved)
    step(1)
    assert all(torch.equal(p, e) for (_, p), e in zip(used, expected, strict=True))


def rates(schedule_of, steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=2e-5)
    schedule, found = schedule_of(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("steps", [1, 7, 589])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("decay", ["linear", "constant"])
def test_learning_rate_is_that_of_transformers(steps, share, decay):
    rising = math.ceil(steps * share)
    theirs = {
        "linear": lambda o: get_linear_schedule_with_warmup(o, rising, steps),
        "constant": lambda o: get_constant_schedule_with_warmup(o, rising),
    }[decay]
    ours = rates(lambda o: warm_up(o, share, steps, decay), steps)
    assert ours == pytest.approx(rates(theirs, steps), rel=1e-12)


def test_twice_the_schedule_is_the_schedule_of_the_scheduled_rate():
    once = rates(lambda o: warm_up(o, 0.1, 100, "linear"), 100)
    twice = rates(lambda o: warm_up(o, 0.1, 100, "linear_twice"), 100)
    assert twice == pytest.approx([rate * rate / 2e-5 for rate in once], rel=1e-12)
    assert once[10] == twice[10] == 2e-5


def test_the_papers_nli_run_warms_up_over_a_tenth():
    found = rates(lambda o: warm_up(o, 0.1, 1000), 1000)
    assert found.index(max(found)) == 100
    assert max(found) == 2e-5
    assert found[0] == 0.0
    assert found[-1] == pytest.approx(2e-5 / 900)


EPOCH_STEPS = 3


def shrinking(**options):
    spec, layer = ShrinkingSgd(**options), nn.Linear(2, 1)
    optimizer = spec.over(layer.named_parameters())
    return layer, optimizer, spec.schedule(optimizer, EPOCH_STEPS)


def train_epochs(optimizer, rate, scores):
    """The rate of each step, and whether the run ended, after some dev scores."""
    rates, ended = [], False
    for score in scores:
        for _ in range(EPOCH_STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            rate.step()
        ended = rate.end_epoch(score)
    return rates, ended


def test_decay_each_epoch_and_a_fifth_after_one_that_is_not_the_best():
    _, optimizer, rate = shrinking()
    rates, ended = train_epochs(optimizer, rate, [50.0, 60.0, 60.0, 59.0, 61.0, 0.0])
    by_hand = [0.1, 0.1 * 0.99, 0.1 * 0.99**2, 0.1 * 0.99**3 / 5, 0.1 * 0.99**4 / 25]
    by_hand += [0.1 * 0.99**5 / 25]
    assert rates == pytest.approx([r for r in by_hand for _ in range(EPOCH_STEPS)])
    assert not ended and rate.shrinks == 3


def test_it_ends_when_the_rate_is_too_small():
    _, optimizer, rate = shrinking()
    assert not train_epochs(optimizer, rate, [50.0, *[40.0] * 5])[1]
    assert train_epochs(optimizer, rate, [40.0])[1], "0.1 / 5 ** 6 is below 1e-5"


def test_a_score_that_is_no_number_counts_as_worse():
    _, optimizer, rate = shrinking()
    train_epochs(optimizer, rate, [float("nan")])
    assert rate.shrinks == 1


def test_a_step_is_plain_gradient_descent():
    layer, optimizer, _ = shrinking(lr=0.5)
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before - 0.5 * torch.ones(1, 2))


def test_it_goes_on_where_it_stood():
    _, optimizer, rate = shrinking()
    train_epochs(optimizer, rate, [50.0, 40.0])
    _, other, again = shrinking()
    other.load_state_dict(optimizer.state_dict())
    again.load_state_dict(rate.state_dict())
    scores = [45.0, 55.0, 54.0]
    assert train_epochs(other, again, scores) == train_epochs(optimizer, rate, scores)


def test_what_is_frozen_is_left_out():
    layer = nn.Linear(2, 1)
    layer.bias.requires_grad = False
    optimizer = ShrinkingSgd().over(layer.named_parameters())
    assert [p.shape for p in optimizer.param_groups[0]["params"]] == [layer.weight.shape]
