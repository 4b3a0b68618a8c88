"""The three objectives against their formulas, and what they do to the vectors."""

import math

import pytest
import torch

from sbert_repro.errors import UserError
from sbert_repro.losses.classification import ClassificationLoss
from sbert_repro.losses.cross_classification import CrossClassificationLoss
from sbert_repro.losses.cross_regression import CrossRegressionLoss
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.losses.triplet import TripletLoss

torch.manual_seed(3)
U, V, W = torch.randn(3, 6, 4).unbind()
LABELS, SCORES = torch.tensor([0, 1, 2, 2, 1, 0]), torch.linspace(0, 1, 6)


def test_classification_is_the_cross_entropy_of_the_papers_softmax():
    loss = ClassificationLoss(width=4)
    features = torch.cat([U, V, (U - V).abs()], 1)
    scores = features @ loss.head.weight.T + loss.head.bias
    probability = scores.exp() / scores.exp().sum(1, keepdim=True)
    by_hand = -probability[range(6), LABELS].log().mean()
    torch.testing.assert_close(loss((U, V), LABELS), by_hand)


def test_classification_without_bias_is_the_formula_as_printed():
    loss = ClassificationLoss(width=4, concatenation=["|u-v|"], num_labels=5, bias=False)
    assert [tuple(p.shape) for p in loss.parameters()] == [(5, 4)]


@pytest.mark.parametrize(
    "make",
    [
        lambda init: ClassificationLoss(width=500, init=init),
        lambda init: CrossClassificationLoss(width=1000, init=init),
        lambda init: CrossRegressionLoss(width=1000, init=init),
    ],
)
def test_a_head_begins_as_berts_layers_or_as_pytorchs(make):
    head = make("bert").head
    assert head.bias.abs().max() == 0 and head.weight.std().item() == pytest.approx(0.02, rel=0.1)
    torch.manual_seed(1)
    begun = make("torch").head
    torch.manual_seed(1)
    assert torch.equal(begun.weight, torch.nn.Linear(begun.in_features, len(begun.bias)).weight)
    with pytest.raises(UserError, match=r"loss\.init=zeros"):
        make("zeros")


def test_an_unknown_part_is_refused():
    with pytest.raises(UserError, match="u-w"):
        ClassificationLoss(width=4, concatenation=["u-w"])


def test_regression_is_the_squared_error_of_the_cosine():
    cosine = (U * V).sum(1) / (U.norm(dim=1) * V.norm(dim=1))
    torch.testing.assert_close(RegressionLoss()((U, V), SCORES), (cosine - SCORES).square().mean())


def test_regression_of_a_zero_vector_is_a_number():
    loss = RegressionLoss()((torch.zeros(1, 4, requires_grad=True), V[:1]), SCORES[:1])
    assert loss.item() == 0.0


@pytest.mark.parametrize("margin", [1.0, 0.2, 5.0])
def test_triplet_is_the_hinge_on_euclidean_distances(margin):
    far = (U - V).norm(dim=1) - (U - W).norm(dim=1) + margin
    expected = far.clamp(min=0).mean()
    torch.testing.assert_close(TripletLoss(margin=margin)((U, V, W), None), expected)


@pytest.mark.parametrize("distance", ["euclidean", "manhattan", "cosine"])
def test_triplet_is_zero_when_the_negative_is_far_enough(distance):
    loss = TripletLoss(margin=0.5, distance=distance)
    assert loss((U, U, -U), None).item() == pytest.approx(0, abs=1e-4)
    assert loss((U, -U, U), None).item() > 0.5


def test_triplet_knows_its_distances():
    with pytest.raises(UserError, match=r"loss\.distance=hamming.*euclidean, manhattan, cosine"):
        TripletLoss(distance="hamming")


def test_default_margin_is_the_papers():
    assert TripletLoss().margin == 1.0
    assert math.isclose(TripletLoss()((U, U, U), None).item(), 1.0)


@pytest.mark.parametrize("loss", [ClassificationLoss(width=4), RegressionLoss(), TripletLoss()])
def test_each_pulls_at_every_sentence(loss):
    sentences = [t.clone().requires_grad_() for t in (U, V, W)[: loss.columns]]
    target = {"labels": LABELS, "scores": SCORES, "triplets": None}[loss.needs]
    loss(tuple(sentences), target).backward()
    assert all(t.grad.abs().sum() > 0 for t in sentences)
    assert all(p.grad.abs().sum() > 0 for p in loss.parameters())
