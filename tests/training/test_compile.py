"""A run through torch.compile: its key, its files, and how it goes on."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch._inductor.cpp_builder import get_cpp_compiler

from sbert_repro.backbone.compiled import CompiledNetwork
from sbert_repro.compose import check_training, compose
from sbert_repro.errors import UserError
from sbert_repro.training.fit import fit
from sbert_repro.training.run import key_of
from sbert_repro.training.watch import Watch


class Killed(BaseException):
    """Stands for the end of the process."""


def compiler():
    try:
        return get_cpp_compiler()
    except Exception:
        return None


needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler for torch.compile")


def test_it_is_in_the_key_only_where_it_is_used(overrides):
    def key(*more):
        options = overrides("loss=regression", *more)
        return key_of(compose(options), options)

    assert key("trainer.compile=false") == key() != key("trainer.compile=true")


def test_what_cannot_be_compiled_is_refused_at_once():
    with pytest.raises(UserError, match=r"trainer\.compile=true: only transformers.*BiLstmEncoder"):
        check_training(compose(["experiment=infersent", "trainer.compile=true"]))


@pytest.fixture
def without_dropout(tiny_bert, tmp_path):
    folder = shutil.copytree(tiny_bert, tmp_path / "without-dropout")
    options = json.loads((folder / "config.json").read_text())
    options |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(options))
    return folder


def killed(monkeypatch, config, folder):
    whole = Watch.on_train_batch_end

    def hook(self, trainer, *rest):
        whole(self, trainer, *rest)
        if trainer.global_step == 6:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Watch, "on_train_batch_end", hook)
        fit(config, folder)


@needs_compiler
def test_killed_it_goes_on_with_the_same_dropout(config_of, tmp_path, monkeypatch):
    torch._dynamo.reset()
    config = config_of("loss=regression", "checkpoint=last", "trainer.compile=true")
    fit(config, tmp_path / "undisturbed")
    killed(monkeypatch, config, tmp_path / "killed")
    fit(config, tmp_path / "killed")
    one, other = (
        (tmp_path / name / "model" / "model.safetensors").read_bytes()
        for name in ("killed", "undisturbed")
    )
    assert one == other


@needs_compiler
@pytest.mark.parametrize("first", [True, False])
def test_its_checkpoints_are_the_same_files(
    config_of, tmp_path, monkeypatch, without_dropout, first
):
    """Begun the one way, gone on with the other; 12 steps, two of them an epoch's smaller last."""
    torch._dynamo.reset()
    options = ["loss=regression", "checkpoint=last", f"encoder.path={without_dropout}"]
    compiled, plain = (config_of(*options, f"trainer.compile={on}") for on in ("true", "false"))
    steps, states = [], CompiledNetwork.states
    monkeypatch.setattr(CompiledNetwork, "states", lambda *given: steps.append(1) or states(*given))
    killed(monkeypatch, compiled if first else plain, tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 5
    result = fit(plain if first else compiled, tmp_path / "run")
    assert len(steps) == 5, "all full batches of the compiled part"
    expected = fit(plain, tmp_path / "plain")
    assert result.steps == expected.steps == 12
    for end in ("train_loss_first", "train_loss_last"):
        assert result.scores[end] == pytest.approx(expected.scores[end], rel=1e-3)
    found, other = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("run", "plain")
    )
    assert list(found) == list(other)
    words = "embeddings.word_embeddings.weight"
    torch.testing.assert_close(found[words], other[words], rtol=0, atol=1e-3)
