"""Groups hold every word piece once, and sentences of like length stand together."""

import pytest
import torch

from sbert_repro.backbone.attention_groups import grouped


@pytest.mark.parametrize(
    "lengths", [[1], [3, 3, 3], [1, 2, 3, 50, 50, 51], sorted(range(2, 60)), [5] * 40 + [128]]
)
def test_what_is_spread_comes_back_in_order(lengths):
    rows = torch.randn(sum(lengths), 3)
    groups = grouped(lengths)
    assert [g.start for g in groups[1:]] == [g.stop for g in groups[:-1]]
    assert sum(g.count for g in groups) == len(lengths)
    for spread in ("spread", "spread_gradient"):
        back = [g.gathered(getattr(g, spread)(rows)) for g in groups]
        assert torch.equal(torch.cat(back), rows)


def test_padding_is_masked_and_has_no_gradient():
    (group,) = grouped([2, 3])
    rows = torch.ones(5, 4)
    assert group.spread(rows).isfinite().all()
    assert group.spread_gradient(rows).sum(1).tolist() == [4.0, 4.0, 0.0, 4.0, 4.0, 4.0]
    assert group.mask.flatten(1).tolist() == [[0.0, 0.0, float("-inf")], [0.0, 0.0, 0.0]]


def test_few_calls_and_little_padding():
    lengths = sorted(
        torch.randint(5, 40, (32,), generator=torch.Generator().manual_seed(0)).tolist()
    )
    groups = grouped(lengths)
    assert 1 < len(groups) < len(set(lengths)) / 2
    assert len(grouped([10, 11])) == 1
    assert len(grouped([2, 120])) == 2
