"""The three strategies: what they give, and that padding and batch mates never change it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling

ALL = [MeanPooling(), MaxPooling(), ClsPooling()]
everyone = pytest.mark.parametrize("pooling", ALL, ids=lambda p: p.name)
shapes = {"seed": st.integers(0, 2**16), "scale": st.sampled_from([1e-3, 1.0, 1e6])}


def sentences(seed, lengths, scale=1.0, width=5):
    """States of sentences of the given lengths, padded with numbers that would show."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(len(lengths), max(lengths), width, generator=generator) * scale
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return torch.where(mask.unsqueeze(-1), states, torch.tensor(1e9)), mask


def test_values_by_hand():
    states = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    mean, largest, first = (pooling(states, mask)[0].tolist() for pooling in ALL)
    assert mean == [2.0, -3.0]
    assert largest == [3.0, -2.0], "padding (or a mask value of 0) must not win over negatives"
    assert first == [1.0, -4.0]


@everyone
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5), **shapes)
@settings(max_examples=40, deadline=None)
def test_padding_and_batch_mates_change_nothing(pooling, lengths, seed, scale):
    states, mask = sentences(seed, lengths, scale)
    together = pooling(states, mask)
    for row, length in enumerate(lengths):
        alone = pooling(states[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-6, atol=1e-6 * scale)


@given(rows=st.integers(1, 5), **shapes)
@settings(max_examples=25, deadline=None)
def test_one_word_piece_makes_all_three_the_same(rows, seed, scale):
    states, mask = sentences(seed, [1] * rows, scale)
    for pooling in ALL:
        assert torch.equal(pooling(states, mask), states[:, 0])


@pytest.mark.parametrize("pooling", ALL[:2], ids=lambda p: p.name)
@given(order=st.permutations(range(6)), seed=st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_mean_and_max_ignore_the_order_of_word_pieces(pooling, order, seed):
    states, mask = sentences(seed, [6, 6])
    torch.testing.assert_close(pooling(states[:, list(order)], mask), pooling(states, mask))


@everyone
def test_bf16_states_are_pooled_in_float32(pooling):
    states, mask = sentences(0, [7, 3])
    low = states.bfloat16()
    assert pooling(low, mask).dtype == torch.float32
    torch.testing.assert_close(pooling(low, mask), pooling(low.float(), mask), rtol=0, atol=0)


@everyone
def test_gradients_reach_word_pieces_only(pooling):
    states, mask = sentences(1, [4, 2])
    states.requires_grad_()
    pooling(states, mask).square().sum().backward()
    assert states.grad.isfinite().all()
    assert states.grad[~mask].abs().max() == 0
    assert states.grad[mask].abs().max() > 0
