"""A loss that is no number: said with step, rows and checkpoint, written down, not tried again."""

import json

import pytest

from sbert_repro.composition import compose
from sbert_repro.errors import Diverged, UserError
from sbert_repro.training import divergence, run
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.run import train

TYPED = ("loss=regression", "seed=3")


@pytest.fixture
def diverging(monkeypatch):
    """A function that lets the loss be `value` from step 7 on."""
    whole = SiameseModule.training_step

    def let(value):
        def step(self, batch, index):
            loss = whole(self, batch, index)
            return loss * value if index >= 6 else loss

        monkeypatch.setattr(SiameseModule, "training_step", step)

    return let


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_step_rows_and_last_checkpoint_are_named_and_written_down(
    overrides, tmp_path, diverging, value
):
    diverging(float(value))
    typed = overrides(*TYPED)
    with pytest.raises(Diverged) as refused:
        train(compose(typed), typed)
    said = str(refused.value)
    assert said.startswith(f"seed 3 diverged: the loss is {value} at step 7 (rows ")
    assert "the last good checkpoint is that of step 5. Look at these rows of data=stsb" in said
    folder = next((tmp_path / "results" / "runs").glob("*/diverged.json")).parent
    written = json.loads((folder / "diverged.json").read_text())
    assert written["seed"] == 3
    assert written["git"]["commit"]
    assert not (folder / "record.json").exists()
    assert not (folder / "model").exists()
    assert (folder / "checkpoints" / "last.ckpt").exists()


def test_the_next_call_says_the_same_and_does_not_train(overrides, diverging, monkeypatch):
    diverging(float("nan"))
    typed = overrides(*TYPED)
    with pytest.raises(Diverged) as first:
        train(compose(typed), typed)
    monkeypatch.setattr(run.fitting, "fit", None)
    with pytest.raises(Diverged) as second:
        train(compose(typed), typed)
    assert str(first.value) == str(second.value)


def test_other_seeds_train_and_after_removal_it_does_too(overrides, tmp_path, diverging):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Diverged):
        patch.setattr(
            SiameseModule, "training_step", lambda *_: (_ for _ in ()).throw(Diverged("x"))
        )
        typed = overrides(*TYPED)
        train(compose(typed), typed)
    other = overrides("loss=regression", "seed=4", "trainer.max_steps=1")
    assert train(compose(other), other)["seed"] == 4
    next((tmp_path / "results" / "runs").glob("*/diverged.json")).unlink()
    assert train(compose(typed), typed)["seed"] == 3


@pytest.mark.parametrize("text", ["", "[]", '{"seed": 1}'])
def test_what_cannot_be_read_is_not_believed_to_be_fine(tmp_path, text):
    (tmp_path / divergence.FILE).write_text(text)
    with pytest.raises(UserError, match=r"diverged\.json cannot be read; run .* until .* is remo"):
        divergence.refuse(tmp_path)


def test_a_run_that_did_not_diverge_is_not_refused(tmp_path):
    divergence.refuse(tmp_path / "not there")
