"""States of small random models: padding, layers, both families, and folders that are no models."""

import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from sbert_repro.backbone.packed import ATTENTION
from sbert_repro.backbone.random_bert import Size, write_random_bert
from sbert_repro.backbone.transformer import LAYERS, TransformerBackbone, load, load_tokenizer
from sbert_repro.batch import Tokens
from sbert_repro.errors import UserError

SENTENCES = ["a man plays", "the small dog runs outside in the park", "no", ""]


@pytest.fixture(params=["tiny_bert", "tiny_roberta"])
def folder(request):
    return request.getfixturevalue(request.param)


def tokens_of(sentences, folder):
    encoded = load_tokenizer(folder)(list(sentences), padding=True, return_tensors="pt")
    return Tokens(encoded["input_ids"], encoded["attention_mask"].bool())


def test_states_are_those_of_transformers(folder):
    backbone, tokens = load(folder), tokens_of(SENTENCES, folder)
    with torch.no_grad():
        theirs = AutoModel.from_pretrained(folder).eval()(
            input_ids=tokens.ids, attention_mask=tokens.mask.long()
        )
        ours = backbone(tokens)
    assert ours.shape == (4, tokens.ids.shape[1], backbone.width)
    real = tokens.mask
    torch.testing.assert_close(ours[real], theirs.last_hidden_state[real], rtol=1e-5, atol=1e-6)


@given(
    texts=st.lists(st.text(alphabet="abcdeo ", max_size=30), min_size=1, max_size=4),
    more=st.integers(0, 9),
)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_padding_and_batch_mates_never_change_a_state(folder, texts, more):
    backbone, tokens = _loaded(folder), tokens_of(texts, folder)
    padding = backbone.model.config.pad_token_id
    wide = Tokens(
        torch.nn.functional.pad(tokens.ids, (0, more), value=padding),
        torch.nn.functional.pad(tokens.mask, (0, more), value=False),
    )
    with torch.no_grad():
        together = backbone(wide)
        for row in range(len(texts)):
            length = int(tokens.mask[row].sum())
            one = Tokens(tokens.ids[row : row + 1, :length], tokens.mask[row : row + 1, :length])
            # float32 sums come in another order in another batch: equal but for rounding
            torch.testing.assert_close(
                together[row, :length], backbone(one)[0], rtol=1e-6, atol=2e-6
            )


_LOADED = {}


def _loaded(folder):
    return _LOADED.setdefault(folder, load(folder))


# What each name stands for in a model of four layers, by hand; state 0 is the embeddings'.
MEANT = {"last": [4], "second_to_last": [3], "first_last": [1, 4], "embedding_last": [0, 4]}


@pytest.fixture(scope="module")
def four_layers(tmp_path_factory):
    """A BERT in which no two names mean the same states."""
    folder = tmp_path_factory.mktemp("four")
    write_random_bert(folder, " ".join(SENTENCES).split(), Size(layers=4))
    return folder


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_choice_is_the_mean_of_the_layers_meant(four_layers, layer):
    tokens = tokens_of(SENTENCES, four_layers)
    model = AutoModel.from_pretrained(four_layers, attn_implementation="eager").eval()
    with torch.no_grad():
        hidden = model(tokens.ids, tokens.mask.long(), output_hidden_states=True).hidden_states
        found = load(four_layers, layer)(tokens)
    expected = torch.stack([hidden[number] for number in MEANT[layer]]).mean(0)
    mask = tokens.mask  # what stands on padding means nothing
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-5, atol=1e-5)
    others = [hidden[number] for number in range(5) if [number] != MEANT[layer]]
    assert not any(torch.allclose(found[mask], other[mask], atol=1e-3) for other in others)


def test_an_unknown_layer_is_refused(tiny_bert):
    with pytest.raises(UserError, match=r"encoder\.layer=third: .*second_to_last"):
        load(tiny_bert, "third")


def test_no_pooler_no_dropout_left_on_and_float32(folder):
    backbone = load(folder)
    assert backbone.model.pooler is None
    assert not backbone.training
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}
    assert backbone.model.config._attn_implementation == ATTENTION


def test_positions_count_what_a_sentence_may_use(folder):
    backbone = load(folder)
    assert backbone.positions == 64
    ids = torch.full((1, 64), 7)
    with torch.no_grad():
        assert backbone(Tokens(ids, ids > 0)).isfinite().all()


def test_half_precision_weights_are_trained_in_float32(tiny_bert, tmp_path):
    shutil.copytree(tiny_bert, tmp_path / "half")
    weights = load_file(tmp_path / "half" / "model.safetensors")
    half = {name: weight.bfloat16() for name, weight in weights.items()}
    save_file(half, tmp_path / "half" / "model.safetensors", metadata={"format": "pt"})
    assert {p.dtype for p in load(tmp_path / "half").parameters()} == {torch.float32}


def _truncate(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def _lose_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop(sorted(name for name in weights if "encoder" in name)[0])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _other_width(folder):
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"hidden_size": 32', '"hidden_size": 48'))


def _unknown_kind(folder):
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"bert"', '"perceptron"'))


@pytest.mark.parametrize("damage", [_truncate, _lose_a_weight, _other_width, _unknown_kind])
def test_damaged_models_are_refused_in_one_line_that_names_them(tiny_bert, tmp_path, damage):
    folder = shutil.copytree(tiny_bert, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(UserError, match=str(folder)) as refused:
        load(folder)
    assert "\n" not in str(refused.value)


def test_a_model_without_a_tokenizer(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "mute")
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match="no tokenizer"):
        load_tokenizer(folder)


def test_a_damaged_tokenizer(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "garbled")
    (folder / "tokenizer.json").write_text("{ not json")
    with pytest.raises(UserError, match="the tokenizer cannot be loaded"):
        load_tokenizer(folder)


def test_gradients_reach_every_parameter(folder):
    backbone = load(folder).train()
    backbone(tokens_of(SENTENCES, folder)).square().sum().backward()
    unused = {name for name, p in backbone.named_parameters() if p.grad is None}
    assert unused == set()
    assert isinstance(backbone, TransformerBackbone)


@pytest.mark.parametrize("family", ["tiny_bert", "tiny_roberta"])
def test_a_mask_for_each_attention_gives_the_bits_of_a_mask_for_each_sentence(request, family):
    """What is passed on a GPU, where transformers would wait for the values of the other."""
    model = load(request.getfixturevalue(family)).model
    ids = torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(0))
    for lengths in ([9, 4, 1], [9, 9, 9]):
        mask = torch.arange(9) < torch.tensor(lengths)[:, None]
        with torch.inference_mode():
            plain, wide = (
                model(input_ids=ids, attention_mask=m).last_hidden_state
                for m in (mask, mask[:, None, None, :])
            )
        if not mask.all():
            assert torch.equal(plain[mask], wide[mask])
        # Without padding transformers leaves the mask out, and another kernel may round otherwise.
        torch.testing.assert_close(plain[mask], wide[mask], rtol=1e-5, atol=1e-6)
