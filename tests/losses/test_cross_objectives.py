"""Heads of the cross-encoder: values by hand, ranges, refusals."""

import pytest
import torch

from sbert_repro.errors import UserError
from sbert_repro.losses.cross_classification import CrossClassificationLoss
from sbert_repro.losses.cross_regression import CrossRegressionLoss
from sbert_repro.losses.regression import RegressionLoss

OUTPUTS = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.0, 0.0]])
GOLD = torch.tensor([0.9, 0.2, 0.5])


def regression(error="cross_entropy"):
    loss = CrossRegressionLoss(2, error)
    with torch.no_grad():
        loss.head.weight.copy_(torch.tensor([[0.5, -1.0]]))
        loss.head.bias.fill_(0.25)
    return loss.eval()


def test_cross_entropy_of_the_sigmoid_by_hand():
    loss = regression()
    linear = torch.tensor([0.5 - 2 + 0.25, -0.5 - 0.5 + 0.25, 0.25])
    p = 1 / (1 + torch.exp(-linear))
    by_hand = -(GOLD * p.log() + (1 - GOLD) * (1 - p).log()).mean()
    torch.testing.assert_close(loss((OUTPUTS,), GOLD), by_hand)
    torch.testing.assert_close(loss.predict(OUTPUTS), p.unsqueeze(1))


def test_squared_error_by_hand():
    loss = regression("squared")
    linear = torch.tensor([-1.25, -0.75, 0.25])
    torch.testing.assert_close(loss((OUTPUTS,), GOLD), ((linear - GOLD) ** 2).mean())
    torch.testing.assert_close(loss.predict(OUTPUTS), linear.unsqueeze(1))


def test_both_errors_are_smallest_at_the_gold_score():
    """The fitted score of one pair is its gold score, whichever error is taken."""
    for error in ("cross_entropy", "squared"):
        loss = CrossRegressionLoss(2, error, dropout=0.0)
        optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
        for _ in range(300):
            optimizer.zero_grad()
            loss((OUTPUTS[:1],), GOLD[:1]).backward()
            optimizer.step()
        assert loss.predict(OUTPUTS[:1]).item() == pytest.approx(0.9, abs=1e-3)


def test_an_unknown_error_is_one_line():
    with pytest.raises(UserError, match=r"loss\.error=absolute: expected one of cross_entropy, sq"):
        CrossRegressionLoss(2, "absolute")


def test_scores_keep_their_digits_under_bf16():
    """In bf16 these 200 scores would fall on a handful of numbers, and ties have no rank."""
    outputs = torch.stack([torch.linspace(0, 1, 200), torch.zeros(200)], dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        scores = regression().predict(outputs)
    assert scores.dtype == torch.float32 and len(scores.unique()) == 200


def test_classification_is_the_cross_entropy_of_the_softmax():
    loss = CrossClassificationLoss(2).eval()
    target = torch.tensor([2, 0, 1])
    logits = OUTPUTS @ loss.head.weight.T + loss.head.bias
    by_hand = -logits.log_softmax(1)[torch.arange(3), target].mean()
    torch.testing.assert_close(loss((OUTPUTS,), target), by_hand)


@pytest.mark.parametrize("kind", [CrossRegressionLoss, CrossClassificationLoss])
def test_dropout_falls_in_training_only(kind):
    loss = kind(64, dropout=0.5)
    outputs = (torch.randn(4, 64),)
    target = torch.tensor([0.1, 0.5, 0.2, 1.0]) if loss.needs == "scores" else torch.arange(4) % 3
    assert loss(outputs, target) != loss(outputs, target)
    loss.eval()
    assert loss(outputs, target) == loss(outputs, target)


def test_an_objective_over_vectors_predicts_the_vectors_themselves():
    assert RegressionLoss().predict(OUTPUTS) is OUTPUTS
