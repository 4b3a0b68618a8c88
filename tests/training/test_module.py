"""The one module with triplets, bf16, and its gradient clipping."""

import pytest
import torch
from torch import nn

from sbert_repro.backbone.transformer import load
from sbert_repro.batch import Batch, Tokens
from sbert_repro.losses.classification import ClassificationLoss
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.losses.triplet import TripletLoss
from sbert_repro.pooling.mean import MeanPooling
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.optimizers import AdamW, warm_up

TARGETS = {"labels": torch.tensor([0, 1, 2]), "scores": torch.rand(3), "triplets": None}


def module_of(folder, loss, max_grad_norm=1.0):
    def build_optimizer(trained):
        optimizer = AdamW(lr=1e-2).over(trained.named_parameters())
        return optimizer, warm_up(optimizer, 0.0, 10)

    return SiameseModule(load(folder), MeanPooling(), loss, build_optimizer, max_grad_norm)


def batch_of(loss):
    sentences = 3 * loss.columns
    ids = torch.randint(5, 40, (sentences, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(6) < torch.arange(sentences).unsqueeze(1) % 5 + 2
    return Batch(Tokens(ids, mask), loss.columns, TARGETS[loss.needs], torch.arange(3))


LOSSES = [ClassificationLoss(32), RegressionLoss(), TripletLoss(margin=1.0)]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda one: type(one).__name__)
def test_vectors_and_loss_are_float32_under_bf16(tiny_bert, loss):
    module, batch = module_of(tiny_bert, loss), batch_of(loss)
    module.eval()
    exact = module.training_step(batch, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert module.embed(batch.tokens).dtype == torch.float32
        rough = module.training_step(batch, 0)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact), "the backbone does multiply in bf16"
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("largest", [0.5, None])
def test_gradients_are_clipped_all_together(tiny_bert, largest):
    module = module_of(tiny_bert, ClassificationLoss(32), largest)
    optimizer = module.configure_optimizers()["optimizer"]
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    module.configure_gradient_clipping(optimizer)
    norm = nn.utils.get_total_norm([p.grad for p in module.parameters()])
    count = sum(p.numel() for p in module.parameters())
    assert float(norm) == pytest.approx(largest or count**0.5, rel=1e-4)
