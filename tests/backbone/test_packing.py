"""A packed batch gives the states and gradients of the padded one."""

import pytest
import torch

from sbert_repro.backbone.packing import pack, unpack
from sbert_repro.backbone.transformer import LAYERS, load
from sbert_repro.batch import Tokens

LENGTHS = [5, 1, 9, 5, 2, 9, 9, 3]


def padded(lengths, pad_id, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    ids = torch.randint(5, 40, mask.shape, generator=generator)
    return Tokens(ids.masked_fill(~mask, pad_id), mask)


def by_transformers(backbone, tokens):
    """What the network gives on the padded batch, mask and all."""
    return backbone._chosen(input_ids=tokens.ids, attention_mask=tokens.mask)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta"])
def test_states_equal_the_padded_ones(request, family, layer):
    backbone = load(request.getfixturevalue(family), layer)
    tokens = padded(LENGTHS, backbone.model.config.pad_token_id)
    with torch.inference_mode():
        packed, plain = backbone(tokens), by_transformers(backbone, tokens)
    torch.testing.assert_close(packed[tokens.mask], plain[tokens.mask], rtol=1e-5, atol=1e-6)
    assert (packed[~tokens.mask] == 0).all()


@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta"])
def test_gradients_equal_the_padded_ones(request, family):
    found = []
    for run in (lambda b, t: b(t), by_transformers):
        backbone = load(request.getfixturevalue(family)).eval()
        tokens = padded(LENGTHS, backbone.model.config.pad_token_id)
        weight = torch.randn(backbone.width, generator=torch.Generator().manual_seed(1))
        ((run(backbone, tokens) * weight).tanh() * tokens.mask.unsqueeze(-1)).sum().backward()
        found.append({name: p.grad for name, p in backbone.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-5, atol=2e-6, msg=name)


def test_dropout_falls_on_the_attention_as_often_as_in_the_padded_network(tiny_bert):
    """Same spread over many draws: 300 runs of one batch, mean of squares within a tenth."""
    backbone = load(tiny_bert).train()
    tokens = padded([6, 6, 4], 0)
    spread = []
    for run in (lambda: backbone(tokens), lambda: by_transformers(backbone, tokens)):
        torch.manual_seed(0)
        with torch.no_grad():
            draws = torch.stack([run()[tokens.mask] for _ in range(300)])
        spread.append(draws.var(0).mean())
    assert spread[0] / spread[1] == pytest.approx(1, abs=0.1)


def test_packing_and_unpacking_are_inverse():
    tokens = padded(LENGTHS, 0)
    packing = pack(tokens)
    assert packing.groups == ((1, 1), (2, 1), (3, 1), (5, 2), (9, 3))
    assert packing.ids.shape == packing.places.shape == (1, sum(LENGTHS))
    back = unpack(packing.ids[0].unsqueeze(-1).float(), packing, tokens)
    assert torch.equal(back.squeeze(-1).long(), tokens.ids)


def typed(lengths, pad_id):
    """Every row a pair, its second text one half of it."""
    tokens = padded(lengths, pad_id)
    place = torch.arange(tokens.mask.shape[1])
    second = place >= (torch.tensor(lengths).unsqueeze(1) + 1) // 2
    return Tokens(tokens.ids, tokens.mask, (second & tokens.mask).long())


def test_token_types_are_packed_with_their_word_pieces(tiny_bert):
    backbone = load(tiny_bert)
    pairs = typed(LENGTHS, 0)
    plain = Tokens(pairs.ids, pairs.mask)
    with torch.inference_mode():
        ours = backbone(pairs)[pairs.mask]
        theirs = backbone.model(
            input_ids=pairs.ids, attention_mask=pairs.mask, token_type_ids=pairs.types
        ).last_hidden_state[pairs.mask]
        without = backbone(plain)[pairs.mask]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert (ours - without).abs().max() > 0.01, "types change the states"
    assert pack(plain).types is None


def test_gradients_with_token_types_equal_the_padded_ones(tiny_bert):
    found = []
    for packed in (True, False):
        backbone, pairs = load(tiny_bert), typed(LENGTHS, 0)
        inputs = {"input_ids": pairs.ids, "attention_mask": pairs.mask}
        inputs["token_type_ids"] = pairs.types
        states = backbone(pairs) if packed else backbone.model(**inputs).last_hidden_state
        weight = torch.randn(backbone.width, generator=torch.Generator().manual_seed(1))
        ((states * weight).tanh() * pairs.mask.unsqueeze(-1)).sum().backward()
        found.append({name: p.grad for name, p in backbone.named_parameters()})
    types = found[0]["model.embeddings.token_type_embeddings.weight"]
    assert (types.abs().sum(1) > 0).all(), "both rows of the table learn"
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-5, atol=2e-6, msg=name)
