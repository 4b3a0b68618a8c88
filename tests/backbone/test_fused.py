"""Training in bf16 gives the network's own states and gradients, with dropout of its own."""

import logging

import pytest
import torch
from torch import nn
from transformers import DistilBertConfig, DistilBertModel

from sbert_repro.backbone.fused import Dense, DropoutMasks, FusedNetwork, GradientMemory, covers
from sbert_repro.backbone.packed import pack, unpack
from sbert_repro.backbone.transformer import LAYERS, TransformerBackbone, load
from sbert_repro.batch import Tokens

# Lengths near each other share a group, with padding; 40 stands far from them.
LENGTHS = [5, 1, 9, 5, 2, 9, 9, 3, 40, 12]
FAMILIES = ["tiny_bert", "tiny_roberta"]


def padded(lengths, pad_id, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    ids = torch.randint(5, 40, mask.shape, generator=generator)
    second = torch.arange(max(lengths)) >= (torch.tensor(lengths).unsqueeze(1) + 1) // 2
    return Tokens(ids.masked_fill(~mask, pad_id), mask, (second & mask).long())


def tokens_for(backbone, lengths=LENGTHS, seed=0):
    tokens = padded(lengths, backbone.model.config.pad_token_id, seed)
    # RoBERTa has one token type only.
    types = tokens.types if backbone.model.config.type_vocab_size > 1 else None
    return Tokens(tokens.ids, tokens.mask, types)


def by_transformers(backbone, tokens):
    return backbone._padded(tokens.ids, tokens.mask, tokens.types)


def fused(backbone, network, tokens):
    packing = pack(tokens)
    return unpack(network.states(packing, LAYERS[backbone.layer]), packing, tokens)


def learn(backbone, states, mask):
    """Gradients of some loss that no state escapes, in the order of the parameters' names."""
    weight = torch.randn(backbone.width, generator=torch.Generator().manual_seed(1))
    backbone.zero_grad()
    loss = ((states.float() * weight).tanh() * mask.unsqueeze(-1)).sum()
    loss.backward()
    # A layer above the chosen one learns nothing.
    learnt = [(name, p.grad) for name, p in backbone.named_parameters() if p.grad is not None]
    return loss.item(), {name: gradient.clone() for name, gradient in learnt}


def learns_nothing(name):
    """A key's bias adds the same to all scores of a query, which the softmax takes away."""
    return name.endswith("key.bias")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_in_float32_states_and_gradients_are_those_of_autograd(request, family, layer):
    backbone = load(request.getfixturevalue(family), layer)
    tokens, network = tokens_for(backbone), FusedNetwork(backbone.model, torch.float32)
    plain, other = by_transformers(backbone, tokens), fused(backbone, network, tokens)
    torch.testing.assert_close(other[tokens.mask], plain[tokens.mask], rtol=1e-5, atol=1e-6)
    expected, found = (learn(backbone, states, tokens.mask) for states in (plain, other))
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    scale = max(gradient.abs().max() for gradient in expected[1].values())
    for name, gradient in expected[1].items():
        size = scale if learns_nothing(name) else gradient.abs().max()
        assert (found[1][name] - gradient).abs().max() <= 1e-5 * size, name


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_goes_where_float32_goes(request, family):
    backbone = load(request.getfixturevalue(family))
    tokens = tokens_for(backbone)
    expected = learn(backbone, by_transformers(backbone, tokens), tokens.mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = backbone(tokens)
    assert states.dtype == torch.bfloat16, "the fast way was taken"
    found = learn(backbone, states, tokens.mask)
    numbers = int(tokens.mask.sum()) * backbone.width
    assert found[0] / numbers == pytest.approx(expected[0] / numbers, abs=2e-3)
    for name, gradient in expected[1].items():
        if not learns_nothing(name) and gradient.abs().max() > 0:
            alike = torch.cosine_similarity(gradient.flatten(), found[1][name].flatten(), dim=0)
            assert alike > 0.99, name
    both = (torch.cat([g.flatten() for g in side[1].values()]) for side in (expected, found))
    assert torch.cosine_similarity(*both, dim=0) > 0.999


def test_dropout_spreads_states_as_the_network_does(tiny_bert):
    """300 draws of one batch: the variance of the states within a tenth."""
    backbone = load(tiny_bert).train()
    tokens, spread = tokens_for(backbone, [6, 6, 4]), []
    network = FusedNetwork(backbone.model, torch.float32)
    for run in (
        lambda: fused(backbone, network, tokens),
        lambda: by_transformers(backbone, tokens),
    ):
        torch.manual_seed(0)
        with torch.no_grad():
            draws = torch.stack([run()[tokens.mask] for _ in range(300)])
        spread.append(draws.var(0).mean())
    assert spread[0] / spread[1] == pytest.approx(1, abs=0.1)


def test_gradients_see_the_dropout_of_their_own_pass(tiny_bert):
    """Along a direction, the loss rises as its gradient says, with the draws held fixed."""
    backbone = load(tiny_bert).train()
    tokens, network = tokens_for(backbone), FusedNetwork(backbone.model, torch.float32)

    def loss():
        torch.manual_seed(3)
        return learn(backbone, fused(backbone, network, tokens), tokens.mask)

    _, gradients = loss()
    size = sum((g**2).sum() for g in gradients.values()).sqrt()
    ends, step = [], 1e-3
    for sign in (1, -2):
        with torch.no_grad():
            for name, parameter in backbone.named_parameters():
                parameter.add_(gradients[name], alpha=float(sign * step / size))
        ends.append(loss()[0])
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(size), rel=0.02)


def test_the_same_seed_gives_the_same_bits(tiny_bert):
    backbone = load(tiny_bert).train()
    tokens, found = tokens_for(backbone), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found.append(backbone(tokens))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_weights_that_moved_are_seen_at_once(tiny_bert):
    backbone = load(tiny_bert)
    tokens, network = tokens_for(backbone), FusedNetwork(backbone.model, torch.float32)
    fused(backbone, network, tokens)
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=0.01, fused=True)
    learn(backbone, fused(backbone, network, tokens), tokens.mask)
    optimizer.step()
    # The step alone: loading weights announces itself to autograd, a fused step does not.
    for weights in (None, load(tiny_bert).model.state_dict()):
        if weights is not None:
            backbone.model.load_state_dict(weights)
        expected = by_transformers(backbone, tokens)[tokens.mask]
        found = fused(backbone, network, tokens)[tokens.mask]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_gradients_add_up_where_nobody_clears_them(tiny_bert):
    backbone = load(tiny_bert)
    network = FusedNetwork(backbone.model, torch.float32)
    batches = [tokens_for(backbone, seed=seed) for seed in (0, 1)]
    alone = [learn(backbone, by_transformers(backbone, one), one.mask)[1] for one in batches]
    backbone.zero_grad()
    for one in batches:
        weight = torch.randn(backbone.width, generator=torch.Generator().manual_seed(1))
        states = fused(backbone, network, one)
        ((states * weight).tanh() * one.mask.unsqueeze(-1)).sum().backward()
    for name, parameter in backbone.named_parameters():
        expected = alone[0][name] + alone[1][name]
        size = 1.0 if learns_nothing(name) else expected.abs().max()
        assert (parameter.grad - expected).abs().max() <= 1e-5 * size, name


def test_what_it_does_not_know_trains_by_autocast(tiny_bert, caplog):
    frozen = load(tiny_bert)
    frozen.model.embeddings.word_embeddings.weight.requires_grad_(False)
    config = DistilBertConfig(vocab_size=50, dim=32, n_layers=1, n_heads=2, hidden_dim=32)
    other = TransformerBackbone(DistilBertModel(config))
    tokens = Tokens(*(getattr(padded([4, 2], 0), part) for part in ("ids", "mask")))
    for backbone in (frozen, other):
        assert not covers(backbone.model)
        caplog.clear()
        with caplog.at_level(logging.INFO), torch.autocast("cpu", dtype=torch.bfloat16):
            _, again = backbone(tokens), backbone(tokens)
        assert len([r for r in caplog.records if "by autocast" in r.message]) == 1
        again.float().sum().backward()


def test_only_training_in_bf16_takes_it(tiny_bert):
    backbone = load(tiny_bert)
    tokens = tokens_for(backbone)
    backbone(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        backbone(tokens)
    assert backbone._fused is None


def linear(*sizes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [nn.Linear(3, size) for size in sizes]


def test_layers_beside_each_other_are_one_product_that_follows_every_change():
    first, second = layers = linear(2, 4)
    dense, x = Dense(layers, torch.bfloat16, GradientMemory()), torch.eye(3).bfloat16()
    for change in (lambda: None, lambda: second.weight.add_(1), lambda: first.bias.zero_()):
        with torch.no_grad():
            change()
        expected = torch.cat(
            [layer.weight.bfloat16().t() + layer.bias.bfloat16() for layer in layers], 1
        )
        torch.testing.assert_close(dense(x), expected)


def test_the_gradient_of_one_product_is_taken_apart_in_fp32():
    layers = linear(2, 4)
    dense = Dense(layers, torch.bfloat16, GradientMemory())
    x, gradient = torch.randn(5, 3).bfloat16(), torch.randn(5, 6).bfloat16()
    dense(x)
    below, *own = dense.gradients(x, gradient)
    assert [part.shape for part in own] == [p.shape for p in dense.parameters]
    assert {part.dtype for part in own} == {torch.float32} and below.dtype == torch.bfloat16
    assert torch.equal(torch.cat(own[:2]), (gradient.t() @ x).float())
    assert torch.equal(torch.cat(own[2:]), gradient.sum(0).float())


def test_memory_of_gradients_is_used_again_unless_somebody_holds_it():
    memory, weight = GradientMemory(), torch.zeros(5, 3)
    place = memory.like(weight).data_ptr()
    held = memory.like(weight).fill_(7.0)
    assert held.data_ptr() == place
    memory.like(weight).fill_(8.0)
    assert (held == 7.0).all()


def test_rows_of_the_last_step_are_cleared():
    memory, table = GradientMemory(), torch.zeros(6, 2)
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
    memory, weight, places = GradientMemory(), nn.Parameter(torch.zeros(5, 3)), set()
    for _ in range(3):
        weight.grad = None
        Table.apply(weight, memory).backward()
        places.add(weight.grad.data_ptr())
    assert len(places) == 1


SHAPE = (300, 999)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("share", [0.1, 0.9, 0.003])
def test_as_many_numbers_are_dropped_as_asked_for(share, dtype):
    torch.manual_seed(0)
    mask = DropoutMasks().draw(SHAPE, share, dtype)
    kept = mask.kept
    assert kept.dtype == dtype and kept.shape == SHAPE and mask.scale == 1 / (1 - share)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    deviation = (share * (1 - share) / kept.numel()) ** 0.5
    assert 1 - kept.float().mean().item() == pytest.approx(share, abs=4 * deviation + 1 / 65536)
    # Each row alone too: the spread of its mean is that of independent draws.
    rows = kept.float().mean(1)
    assert rows.var().item() == pytest.approx(share * (1 - share) / SHAPE[1], rel=0.35)


def test_neighbouring_and_later_draws_are_independent():
    torch.manual_seed(0)
    masks = DropoutMasks()
    first, second = (masks.draw(SHAPE, 0.5, torch.float32).kept.flatten() for _ in range(2))
    for left, right in ((first, second), (first[1:], first[:-1]), (first[4:], first[:-4])):
        alike = torch.corrcoef(torch.stack([left, right]))[0, 1]
        assert abs(alike) < 4 / len(left) ** 0.5


def test_the_global_generator_decides_and_moves_on():
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found += [DropoutMasks().draw((50,), 0.5, torch.float32).kept for _ in range(2)]
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[3])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[4])
    assert DropoutMasks().draw(SHAPE, 0.0, torch.float32) is None
