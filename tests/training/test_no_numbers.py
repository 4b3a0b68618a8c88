"""NaN and infinity in the loss, a gradient or a weight: the run stops, and no file holds them."""

import pytest
import torch
from safetensors.torch import load_file

from sbert_repro.errors import Diverged, UserError
from sbert_repro.training.fit import fit
from sbert_repro.training.module import SiameseModule


def test_a_loss_that_is_no_number_stops_with_step_and_rows(config_of, tmp_path, monkeypatch):
    whole = SiameseModule.training_step

    def step(self, batch, index):
        loss = whole(self, batch, index)
        return loss * float("nan") if index == 6 else loss

    monkeypatch.setattr(SiameseModule, "training_step", step)
    with pytest.raises(UserError, match=r"loss is nan at step 7 \(rows \d+, \d+, \d+, \d+\)"):
        fit(config_of("loss=regression"), tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 5, "nothing was saved after it"
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize("largest", ["1.0", "null"])
@pytest.mark.parametrize(("bad", "saved_at"), [(5, None), (7, 5), (9, 5)])
def test_a_gradient_that_is_no_number_stops_before_anything_is_saved(
    config_of, tmp_path, monkeypatch, bad, saved_at, largest
):
    """Steps 4, 8 and 12 are looked at, 5 and 10 saved; the loss of a bad step is finite."""
    whole = SiameseModule.configure_gradient_clipping

    def clip(self, optimizer, *rest, **more):
        if self.trainer.global_step == bad - 1:
            self.backbone.model.embeddings.word_embeddings.weight.grad[7, 3] = float("inf")
        whole(self, optimizer, *rest, **more)

    monkeypatch.setattr(SiameseModule, "configure_gradient_clipping", clip)
    config = config_of("loss=regression", f"trainer.max_grad_norm={largest}")
    before = "nothing had been saved" if saved_at is None else "good checkpoint is that of step 5"
    said = rf"norm of the gradients is inf at step {bad} \(rows \d+, \d+, \d+, \d+\).*{before}"
    with pytest.raises(Diverged, match=said):
        fit(config, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    assert (folder / "last.ckpt").exists() == (saved_at is not None)
    for path in folder.glob("best-*.safetensors"):
        assert int(path.stem.removeprefix("best-")) < bad
        assert all(w.isfinite().all() for w in load_file(path).values())
    if saved_at is not None:
        saved = torch.load(folder / "last.ckpt", weights_only=True)
        assert saved["global_step"] == saved_at
        assert all(w.isfinite().all() for w in saved["state_dict"].values())


def test_weights_that_are_no_numbers_are_never_saved(config_of, tmp_path, monkeypatch):
    """Finite gradients and a rate that is too large; the last step has nothing after it."""
    whole = SiameseModule.configure_gradient_clipping

    def clip(self, optimizer, *rest, **more):
        whole(self, optimizer, *rest, **more)
        if self.trainer.global_step == 9:
            optimizer.param_groups[0]["lr"] = float("inf")

    monkeypatch.setattr(SiameseModule, "configure_gradient_clipping", clip)
    with pytest.raises(Diverged, match=r"norm of the weights is (nan|inf) at step 10 .* step 5\."):
        fit(config_of("loss=regression"), tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 5
