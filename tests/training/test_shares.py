"""The mean over the shares of a batch is the batch: rows, losses and gradients."""

import numpy as np
import pytest
import torch
from torch import nn

from sbert_repro.backbone.transformer import load
from sbert_repro.data.batches import BatchStream
from sbert_repro.losses.classification import ClassificationLoss
from sbert_repro.losses.cross_regression import CrossRegressionLoss
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.losses.triplet import TripletLoss
from sbert_repro.pooling.mean import MeanPooling
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.shares import share

LABELS, SCORES = np.array([0, 2, 1, 1, 0]), np.array([0.1, 0.9, 0.4, 0.7, 0.0])
KINDS = {
    "classification": (lambda: ClassificationLoss(32), 2, LABELS),
    "regression": (RegressionLoss, 2, SCORES),
    "triplet": (TripletLoss, 3, None),
    "cross_regression": (lambda: CrossRegressionLoss(32, dropout=0.0), 1, SCORES),
}


class Column:
    """Five texts of one to five word pieces; with types where they are pairs."""

    def __init__(self, seed, typed):
        generator = np.random.default_rng(seed)
        self.rows = [generator.integers(5, 40, length) for length in (3, 1, 5, 2, 4)]
        if typed:
            self.rows = [np.stack([row, np.arange(len(row)) % 2]) for row in self.rows]

    def __len__(self):
        return len(self.rows)

    def row(self, i):
        return self.rows[i]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def batch(kind):
    _, columns, target = KINDS[kind]
    made = [Column(seed, columns == 1) for seed in range(columns)]
    return next(iter(BatchStream(made, target, batch_size=5)))


@pytest.fixture
def module(kind, tiny_bert):
    torch.manual_seed(1)
    module = SiameseModule(load(tiny_bert), MeanPooling(), KINDS[kind][0](), None)
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    for layer in module.backbone.model.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    return module


def gradients(module, batch):
    module.zero_grad()
    loss = module.training_step(batch, 0)
    loss.backward()
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
    return loss.detach(), torch.cat([grad.flatten().clone() for grad in found])


@pytest.mark.parametrize("count", [2, 3, 7])
def test_loss_and_gradients_are_those_of_the_whole(module, batch, count):
    whole, expected = gradients(module, batch)
    parts = [gradients(module, share(batch, number, count)) for number in range(count)]
    loss, gradient = (torch.stack(list(found)).mean(0) for found in zip(*parts, strict=True))
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
    assert (gradient - expected).norm() < 1e-6 * expected.norm()


def test_each_row_is_taken_once(batch):
    columns, size = batch.columns, len(batch.rows)
    taken = torch.zeros(columns, size, dtype=torch.int64)
    for number in range(3):
        part = share(batch, number, 3)
        own = len(part.tokens.ids) // columns
        assert part.weight == pytest.approx(3 * own / size)
        assert torch.equal(part.rows, batch.rows), "an error names the whole batch"
        assert part.tokens.mask.sum(1).max() == part.tokens.ids.shape[1], "no column of padding"
        for i, (ids, mask) in enumerate(zip(part.tokens.ids, part.tokens.mask, strict=True)):
            column, row = i // own, number + 3 * (i % own)
            there = batch.tokens.ids[column * size + row]
            assert torch.equal(ids[mask], there[batch.tokens.mask[column * size + row]])
            taken[column, row] += 1
    assert (taken == 1).all()


def test_who_has_no_row_counts_nothing(module, batch):
    loss, gradient = gradients(module, share(batch, 6, 7))
    assert loss == 0
    assert (gradient == 0).all()
