"""Training through torch.compile: the network's own gradients, names and checkpoints."""

import re

import pytest
import torch
from torch._inductor.cpp_builder import get_cpp_compiler

from sbert_repro.backbone import compiled
from sbert_repro.backbone.compiled import widened
from sbert_repro.backbone.transformer import load
from sbert_repro.batch import Tokens
from sbert_repro.errors import UserError


def compiler():
    try:
        return get_cpp_compiler()
    except Exception:
        return None


needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler for torch.compile")


def tokens_of(sentences=4, longest=11, types=None):
    generator = torch.Generator().manual_seed(sentences + longest)
    ids = torch.randint(5, 40, (sentences, longest), generator=generator)
    lengths = torch.randint(1, longest + 1, (sentences, 1), generator=generator)
    lengths[0] = longest
    return Tokens(ids, torch.arange(longest) < lengths, types)


@pytest.fixture
def backbone(tiny_bert):
    torch._dynamo.reset()
    made = load(tiny_bert)
    # One layer: the compiler takes seconds for each.
    made.model.encoder.layer = made.model.encoder.layer[:1]
    return made


@pytest.mark.parametrize(("length", "wide"), [(1, 16), (16, 16), (17, 32), (49, 60), (60, 60)])
def test_a_batch_is_padded_on_to_one_of_a_few_lengths(length, wide):
    types = torch.ones(3, length, dtype=torch.long)
    tokens = tokens_of(3, length, types)
    found = widened(tokens, 60)
    assert found.ids.shape == found.mask.shape == found.types.shape == (3, wide)
    assert torch.equal(found.ids[:, :length], tokens.ids)
    assert torch.equal(found.mask[:, :length], tokens.mask)
    assert not found.mask[:, length:].any()


@needs_compiler
def test_gradients_are_the_networks_own_and_so_are_the_names(backbone, tiny_bert):
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    backbone.train()
    names = list(backbone.state_dict())
    tokens = tokens_of()
    parameters = dict(backbone.named_parameters())

    def gradients():
        backbone.zero_grad()
        (backbone(tokens) * tokens.mask.unsqueeze(-1)).sin().sum().backward()
        return {n: p.grad.clone() for n, p in parameters.items()}

    packed = gradients()
    backbone.train_compiled(len(tokens.ids))
    found = gradients()
    whole = torch.nn.utils.get_total_norm(packed.values())
    for name, gradient in packed.items():
        assert (found[name] - gradient).norm() <= 1e-5 * (gradient.norm() + 0.1 * whole), name
    off = torch.nn.utils.get_total_norm([found[n] - g for n, g in packed.items()])
    assert off <= 1e-5 * whole
    assert list(backbone.state_dict()) == names
    smaller = tokens_of(3)
    assert not backbone._compiled.takes(smaller), "an epoch's last batch"
    assert backbone(smaller).shape == (3, 11, 32)


def test_what_does_not_agree_is_refused_in_one_line(backbone, monkeypatch):
    def wrong(states, **_):
        return lambda *inputs: states(*inputs) + 0.01

    monkeypatch.setattr(compiled.torch, "compile", wrong)
    backbone.train_compiled(4)
    backbone.train()
    with pytest.raises(UserError, match=r"^trainer\.compile=true: .*does not agree.*=false$"):
        backbone(tokens_of())
    # Other uses are not concerned.
    backbone.eval()
    assert backbone(tokens_of()).isfinite().all()


def test_without_a_compiler_it_is_one_line(backbone):
    backbone.train_compiled(4)
    backbone.train()
    # Its own way to change them for a while: pytest's leaves the second one undefined afterwards.
    away = {"cpp.cxx": (None, "/no/such/compiler"), "force_disable_caches": True}
    with torch._inductor.config.patch(away), pytest.raises(UserError) as refused:
        backbone(tokens_of())
    assert re.match(r"trainer\.compile=true: PyTorch could not compile", str(refused.value))
    assert str(refused.value).endswith("use trainer.compile=false")
    assert "\n" not in str(refused.value)
