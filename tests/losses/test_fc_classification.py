"""InferSent's classifier against its formula."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sbert_repro.errors import UserError
from sbert_repro.losses.fc_classification import FcClassificationLoss

torch.manual_seed(4)
U, V = torch.randn(2, 6, 4).unbind()
LABELS = torch.tensor([0, 1, 2, 2, 1, 0])


@pytest.mark.parametrize("nonlinear", [False, True])
def test_three_layers_over_the_four_parts(nonlinear):
    loss = FcClassificationLoss(4, fc_dim=5, nonlinear=nonlinear)
    linear = [layer for layer in loss.head if isinstance(layer, nn.Linear)]
    assert [layer.weight.shape for layer in linear] == [(5, 16), (5, 5), (3, 5)]
    found = torch.cat([U, V, (U - V).abs(), U * V], 1)
    for number, layer in enumerate(linear):
        found = found @ layer.weight.T + layer.bias
        if nonlinear and number < 2:
            found = found.tanh()
    torch.testing.assert_close(loss.logits(U, V), found)
    torch.testing.assert_close(loss((U, V), LABELS), F.cross_entropy(found, LABELS))


def test_no_width_is_refused():
    with pytest.raises(UserError, match=r"loss\.fc_dim=0"):
        FcClassificationLoss(4, fc_dim=0)
