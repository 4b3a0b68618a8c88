"""A run in bf16: fp32 weights in every file, and killed at any point it ends with the same bits."""

import pytest
import torch
from safetensors.torch import load_file

from sbert_repro.training.checkpoints import LAST
from sbert_repro.training.fit import fit
from sbert_repro.training.run import key_of
from sbert_repro.training.watch import Watch

# The last weights: of the best ones, the first looks may be kept, and all that follows is not seen.
HALF = ["loss=classification", "trainer.precision=bf16", "checkpoint=last"]


class Killed(BaseException):
    """Stands for the end of the process."""


def weights(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("step", [5, 7])
def test_resumed_with_the_same_dropout(config_of, tmp_path, monkeypatch, step):
    config = config_of(*HALF)
    fit(config, tmp_path / "undisturbed")
    whole = Watch.on_train_batch_end

    def hook(self, trainer, *rest):
        whole(self, trainer, *rest)
        if trainer.global_step == step:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Watch, "on_train_batch_end", hook)
        fit(config, tmp_path / "killed")
    fit(config, tmp_path / "killed")
    assert weights(tmp_path / "killed") == weights(tmp_path / "undisturbed")


def test_weights_and_optimizer_are_fp32_and_named_as_in_fp32(config_of, tmp_path):
    for name, more in (("half", HALF), ("full", HALF[:1])):
        fit(config_of(*more), tmp_path / name)
    half, full = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("half", "full"))
    assert {n: w.dtype for n, w in half.items()} == {n: w.dtype for n, w in full.items()}
    assert all(w.dtype == torch.float32 for w in half.values())
    assert any(not torch.equal(half[n], full[n]) for n in full), "its products are in bf16"
    saved = torch.load(tmp_path / "half" / "checkpoints" / LAST, weights_only=True)
    moments = saved["optimizer_states"][0]["state"].values()
    assert {m["exp_avg"].dtype for m in moments} == {torch.float32}


def test_small_weights_move_by_less_than_bf16_can_tell(config_of, tmp_path):
    """With a learning rate of 1e-5 a bf16 weight of 1 would stay where it is."""
    fit(config_of(*HALF, "optimizer.lr=1e-5"), tmp_path / "run")
    weight = load_file(tmp_path / "run" / "model" / "model.safetensors")
    norm = weight["encoder.layer.0.output.LayerNorm.weight"]
    assert (norm != 1).any() and (norm.bfloat16() == 1).all()


def test_the_way_of_bf16_is_part_of_its_key_alone(config_of, overrides, monkeypatch):
    keys = {}
    for version in (1, 2):
        monkeypatch.setattr("sbert_repro.backbone.fused.VERSION", version)
        for name, more in (("half", HALF), ("full", HALF[:1])):
            keys[name, version] = key_of(config_of(*more), overrides(*more))
    assert keys["full", 1] == keys["full", 2]
    assert keys["half", 1] != keys["half", 2]
