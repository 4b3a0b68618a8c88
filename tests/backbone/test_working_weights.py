"""Working weights follow their parameters; memory of gradients is used again, never taken away."""

import torch
from torch import nn

from sbert_repro.backbone.working_weights import GradientMemory, WorkingWeights


def parameter(*shape):
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))


def test_several_parameters_are_stacked_and_follow_every_change():
    first, second = parameter(2, 3), parameter(4, 3)
    weights = WorkingWeights([first, second], torch.bfloat16)
    assert torch.equal(weights.value, torch.cat([first, second]).bfloat16())
    with torch.no_grad():
        second.add_(1)
    weights.refresh()
    assert torch.equal(weights.value, torch.cat([first, second]).bfloat16())
    first.data = torch.ones(2, 3)
    weights.refresh()
    assert torch.equal(weights.value[:2], torch.ones(2, 3).bfloat16())


def test_a_gradient_of_the_whole_is_taken_apart_in_fp32():
    first, second = parameter(2, 3), parameter(4, 3)
    gradient = torch.randn(6, 3).bfloat16()
    parts = WorkingWeights([first, second], torch.bfloat16).gradients(gradient, GradientMemory())
    assert [part.dtype for part in parts] == [torch.float32] * 2
    assert torch.equal(torch.cat(parts), gradient.float())


def test_memory_is_used_again_when_nobody_holds_it():
    memory, weight = GradientMemory(), parameter(5, 3)
    place = memory.like(weight).data_ptr()
    assert memory.like(weight).data_ptr() == place


def test_memory_that_somebody_holds_is_left_alone():
    memory, weight = GradientMemory(), parameter(5, 3)
    held = memory.like(weight).fill_(7.0)
    memory.like(weight).fill_(8.0)
    assert (held == 7.0).all()


def test_rows_of_the_last_step_are_cleared():
    memory, table = GradientMemory(), parameter(6, 2)
    for used in ([1, 1, 4], [0, 4], [5]):
        rows = torch.tensor(used)
        expected = torch.zeros(6, 2).index_add_(0, rows, torch.ones(len(used), 2))
        assert torch.equal(memory.rows(table, rows, torch.ones(len(used), 2)), expected)


class Table(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, memory):
        ctx.memory, ctx.weight = memory, weight
        return weight.sum()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.memory.like(ctx.weight).fill_(2.0), None


def test_autograd_takes_the_memory_as_it_is():
    memory, weight, places = GradientMemory(), parameter(5, 3), set()
    for _ in range(3):
        weight.grad = None
        Table.apply(weight, memory).backward()
        places.add(weight.grad.data_ptr())
    assert len(places) == 1
