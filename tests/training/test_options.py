"""Objectives and data that do not fit, and numbers out of range: one line each."""

import pytest

from sbert_repro.errors import UserError
from sbert_repro.training.options import check_options


@pytest.mark.parametrize("options", [["loss=classification"], ["loss=regression"]])
def test_what_fits_passes(config_of, options):
    check_options(config_of(*options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["loss=triplet", "data=stsb"],
            r"loss=triplet needs triplets; data=stsb holds scored pairs; use .*loss=regression",
        ),
        (
            ["loss=classification", "data=stsb"],
            r"needs labelled pairs; data=stsb holds scored pairs; use .*data=nli or .*loss=reg",
        ),
        (["loss=regression", "data=nli"], r"needs scored pairs; .*data=stsb or loss=classificat"),
        (["loss=classification", "loss.num_labels=2"], r"data=nli has 3 labels .*num_labels=3"),
        (["loss=regression", "trainer.epochs=0"], r"trainer\.epochs=0: expected at least 1"),
        (["loss=regression", "trainer.batch_size=-1"], r"trainer\.batch_size=-1"),
        (["loss=regression", "trainer.max_steps=0"], r"trainer\.max_steps=0"),
        (["loss=regression", "trainer.save_every=0"], r"trainer\.save_every=0"),
        (["loss=regression", "trainer.devices=0"], r"trainer\.devices=0: expected at least 1"),
        (["trainer.devices=2", "trainer.compile=true"], r"trainer\.devices=2: .*one of the two"),
        (["loss=regression", "trainer.warmup=1.5"], r"trainer\.warmup=1\.5.*0 to 1"),
        (["loss=regression", "trainer.max_grad_norm=0"], r"trainer\.max_grad_norm=0"),
        (["loss=regression", "data.max_length=0"], r"data\.max_length=0"),
        (["loss=regression", "optimizer.lr=0"], r"optimizer\.lr=0: expected more than 0"),
        (["loss=regression", "optimizer.eps=-1e-8"], r"optimizer\.eps=-1e-08: expected more th"),
        (["loss=regression", "optimizer.weight_decay=-1"], r"weight_decay=-1: expected at least"),
        (["loss=regression", "optimizer.beta1=1.0"], r"beta1=1: expected at least 0 and less th"),
        (["loss=regression", "optimizer.beta2=-0.1"], r"optimizer\.beta2=-0\.1: expected at lea"),
        (["loss=regression", "optimizer.lr=nan"], r"optimizer\.lr=nan: expected more than 0"),
        (
            ["loss=regression", "optimizer=bertadam", "optimizer.clip_per_tensor=0"],
            r"optimizer\.clip_per_tensor=0: expected more than 0",
        ),
        (
            ["loss=regression", "data.split=dev"],
            r"data\.split=dev of stsb is also what data\.dev=stsb looks at; train on another split",
        ),
        (["loss=regression", "seed=-1"], r"seed=-1: expected 0 to 4294967295"),
    ],
)
def test_what_does_not_fit_is_one_line(config_of, options, said):
    with pytest.raises(UserError, match=said) as refused:
        check_options(config_of(*options))
    assert "\n" not in str(refused.value)
