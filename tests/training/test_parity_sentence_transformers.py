"""From the same weights and batches, our steps are those of sentence-transformers.

Loss, every gradient, and all weights after 20 optimizer steps: dropout off, float32, the same
AdamW on both sides. A second implementation is the best proof that ours has no slip in it.
"""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import (
    CosineSimilarityLoss,
    SoftmaxLoss,
    TripletDistanceMetric,
    TripletLoss,
)
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from sbert_repro.backbone.transformer import load, load_tokenizer
from sbert_repro.batch import Batch, Tokens
from sbert_repro.losses import classification, regression, triplet
from sbert_repro.pooling.cls import ClsPooling
from sbert_repro.pooling.max import MaxPooling
from sbert_repro.pooling.mean import MeanPooling
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.optimizers import AdamW, warm_up

STEPS, SIZE = 20, 6
WORDS = "a the man woman dog cat plays runs eats sings red green big small outside no".split()
POOLINGS = {"mean": MeanPooling, "max": MaxPooling, "cls": ClsPooling}
RECIPE = AdamW(lr=1e-3, weight_decay=0.01)


def batches(columns, target):
    """Texts and targets of every step; sentences of 1 to 9 words, so that there is padding."""
    generator = torch.Generator().manual_seed(5)

    def sentence():
        length = int(torch.randint(1, 10, (), generator=generator))
        chosen = torch.randint(len(WORDS), (length,), generator=generator)
        return " ".join(WORDS[i] for i in chosen)

    targets = {
        "labels": lambda: torch.randint(3, (SIZE,), generator=generator),
        "scores": lambda: torch.rand(SIZE, generator=generator),
        "triplets": lambda: None,
    }[target]
    return [
        ([[sentence() for _ in range(SIZE)] for _ in range(columns)], targets())
        for _ in range(STEPS)
    ]


def without_dropout(model):
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        if hasattr(part, "dropout_prob"):
            part.dropout_prob = 0.0
    model.config.attention_probs_dropout_prob = model.config.hidden_dropout_prob = 0.0
    return model


def their_side(folder, pooling, name):
    transformer = Transformer(str(folder))
    model = SentenceTransformer(
        modules=[transformer, Pooling(transformer.get_embedding_dimension(), pooling)], device="cpu"
    )
    without_dropout(model[0].model)
    torch.manual_seed(9)
    return {
        "classification": lambda: SoftmaxLoss(model, model.get_embedding_dimension(), 3),
        "regression": lambda: CosineSimilarityLoss(model),
        "triplet": lambda: TripletLoss(model, TripletDistanceMetric.EUCLIDEAN, triplet_margin=1),
    }[name]().train()


def our_side(folder, pooling, name):
    backbone = load(folder)
    without_dropout(backbone.model)
    torch.manual_seed(9)
    loss = {
        "classification": lambda: classification.ClassificationLoss(backbone.width),
        "regression": regression.RegressionLoss,
        "triplet": triplet.TripletLoss,
    }[name]()
    return SiameseModule(backbone, POOLINGS[pooling](), loss, build_optimizer=lambda _: None)


def parameters(side, ours):
    """Parameters by the name they have in transformers; the head's by `head`."""
    heads = ("loss.head.", "classifier.")
    prefixes = ("backbone.model.",) if ours else ("model.0.model.", "model.0.auto_model.")
    found = {}
    for name, parameter in side.named_parameters():
        for prefix in prefixes:
            name = name.removeprefix(prefix)
        for prefix in heads:
            name = name.replace(prefix, "head.")
        found[name] = parameter
    return {name: p for name, p in found.items() if "pooler" not in name}


def our_loss(module, tokenizer, texts, target):
    flat = [text for column in texts for text in column]
    encoded = tokenizer(flat, padding=True, return_tensors="pt")
    tokens = Tokens(encoded["input_ids"], encoded["attention_mask"].bool())
    return module.training_step(Batch(tokens, len(texts), target, torch.arange(SIZE)), 0)


def their_loss(loss, texts, target):
    features = [dict(loss.model.preprocess(column)) for column in texts]
    return loss(features, target)


def without_effect(name, loss):
    """Whether the loss does not depend on a parameter at all.

    A key's bias adds the same to all scores of a query, which the softmax takes away again; the
    last bias moves all sentences alike, which leaves their distances. Such a gradient is 0 but for
    rounding, and Adam would make whole steps of the rounding.
    """
    last = loss == "triplet" and name == "encoder.layer.1.output.LayerNorm.bias"
    return last or name.endswith("key.bias")


def same(ours, theirs, loss, what):
    assert ours.keys() == theirs.keys()
    largest = max(value.abs().max() for value in theirs.values())
    for name, value in ours.items():
        if without_effect(name, loss):
            assert what != "gradient" or value.abs().max() < 1e-6 * largest, name
            continue
        # relative to the tensor: single entries may be zero but for rounding
        gap = (value - theirs[name]).abs().max() / theirs[name].abs().max().clamp(min=1e-12)
        assert gap <= 1e-5, f"{what} of {name} differs by {gap:.1e}"


def optimizer_of(side, ours):
    optimizer = RECIPE.over(parameters(side, ours).items())
    return optimizer, warm_up(optimizer, 0.1, STEPS)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("name", ["classification", "regression", "triplet"])
def test_twenty_steps_are_the_same(tiny_bert, name, pooling):
    ours, theirs = our_side(tiny_bert, pooling, name), their_side(tiny_bert, pooling, name)
    tokenizer = load_tokenizer(tiny_bert)
    mine, other = parameters(ours, True), parameters(theirs, False)
    same({n: p.detach() for n, p in mine.items()}, other, name, "start")
    drives = [optimizer_of(ours, True), optimizer_of(theirs, False)]
    before = {n: p.detach().clone() for n, p in mine.items()}
    for step, (texts, target) in enumerate(batches(ours.loss.columns, ours.loss.needs)):
        losses = our_loss(ours, tokenizer, texts, target), their_loss(theirs, texts, target)
        torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-7)
        for loss in losses:
            loss.backward()
        if step == 0:
            gradients = ({n: p.grad for n, p in side.items()} for side in (mine, other))
            same(*gradients, name, "gradient")
        for optimizer, schedule in drives:
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    same({n: p.detach() for n, p in mine.items()}, other, name, f"weights after {STEPS} steps")
    moved = {n for n, p in mine.items() if not torch.equal(p, before[n])}
    assert moved == set(mine), "every parameter moves, the head's too"
