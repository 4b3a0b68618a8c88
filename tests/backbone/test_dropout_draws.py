"""Dropout drawn in bulk: as often as asked for, independent, repeatable."""

import pytest
import torch

from sbert_repro.backbone.dropout_draws import DropoutDraws

SHAPE = (300, 999)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.003])
def test_as_many_are_dropped_as_asked_for(share, dtype):
    torch.manual_seed(0)
    kept = DropoutDraws().kept(SHAPE, share, dtype)
    assert kept.dtype == dtype and kept.shape == SHAPE
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    count = kept.numel()
    deviation = (share * (1 - share) / count) ** 0.5
    assert 1 - kept.float().mean().item() == pytest.approx(share, abs=4 * deviation + 1 / 65536)
    # Each row alone too: the spread of its mean is that of independent draws.
    rows = kept.float().mean(1)
    assert rows.var().item() == pytest.approx(share * (1 - share) / SHAPE[1], rel=0.35)


def test_neighbours_and_later_draws_are_independent():
    torch.manual_seed(0)
    draws = DropoutDraws()
    first, second = (draws.kept(SHAPE, 0.5, torch.float32).flatten() for _ in range(2))
    for left, right in ((first, second), (first[1:], first[:-1]), (first[4:], first[:-4])):
        alike = torch.corrcoef(torch.stack([left, right]))[0, 1]
        assert abs(alike) < 4 / len(left) ** 0.5


def test_the_global_generator_decides_and_moves_on():
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found += [DropoutDraws().kept((50,), 0.5, torch.float32) for _ in range(2)]
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[3])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[4])


def test_no_dropout_draws_nothing():
    assert DropoutDraws().kept(SHAPE, 0.0, torch.float32) is None
