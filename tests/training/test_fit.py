"""Whole fits on a small model: what moves, what is written, what is refused."""

import io
import json
import logging
import shutil
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from sbert_repro.backbone.transformer import load
from sbert_repro.declared import Declared, declared
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences
from sbert_repro.training import pretrained
from sbert_repro.training.checkpoints import LAST
from sbert_repro.training.fit import fit
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.run import key_of
from sbert_repro.training.tracking import Tracking

BF16 = ["loss=classification", "trainer.precision=bf16", "checkpoint=last"]


class Recorded(Tracking):
    def __init__(self):
        super().__init__()
        self.curves = {}

    def log(self, values, step):
        for name, value in values.items():
            self.curves.setdefault(name, []).append((step, value))


def test_a_fit_learns_and_says_what_it_did(config_of, tmp_path):
    config = config_of("loss=regression", "trainer.epochs=12", "checkpoint=last")
    recorded = Recorded()
    result = fit(config, tmp_path / "run", tracking=recorded)
    assert result.steps == 12 * 6
    assert result.scores["train_loss_last"] < 0.7 * result.scores["train_loss_first"]
    assert result.scores["dev_spearman"] == result.scores["dev_last"]
    assert sentences(result.facts) == [
        "STSb: 22 of 5,749 training pairs",
        "STSb: 12 of 1,500 dev pairs",
    ]
    assert result.seconds > 0
    looks = recorded.curves["dev/spearman"]
    assert [step for step, _ in looks] == [s for s in range(1, 73) if s % 6 in (0, 4)]
    assert result.scores["dev_best"] == max(score for _, score in looks)


def test_best_dev_keeps_the_best_weights(config_of, tmp_path):
    config = config_of("loss=regression", "trainer.epochs=8", "optimizer.lr=5e-3")
    recorded = Recorded()
    result = fit(config, tmp_path / "run", tracking=recorded)
    looks = dict((step, score) for step, score in recorded.curves["dev/spearman"])
    best = max(looks.values())
    assert result.scores["dev_spearman"] == result.scores["dev_best"] == best
    assert looks[result.scores["best_step"]] == best
    kept = load_file(tmp_path / "run" / "model" / "model.safetensors")
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    name = "embeddings.word_embeddings.weight"
    is_last = torch.equal(kept[name], last["state_dict"][f"backbone.model.{name}"])
    assert is_last == (result.scores["best_step"] == result.steps)


@pytest.mark.parametrize("loss", ["classification", "regression"])
def test_every_parameter_moves_and_survives(config_of, tmp_path, tiny_bert, loss):
    """The softmax head stood still in two releases of the authors' library; here it must not."""
    config = config_of(f"loss={loss}", "trainer.max_steps=2", "checkpoint=last")
    fit(config, tmp_path / "run")
    before, after = load(tiny_bert), load(tmp_path / "run" / "model")
    ends = dict(after.named_parameters())
    still = {n for n, p in before.named_parameters() if torch.equal(p, ends[n])}
    assert still == set()
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    heads = {n: w for n, w in saved["state_dict"].items() if n.startswith("loss.")}
    assert bool(heads) == (loss == "classification")
    if heads:
        written = load_file(tmp_path / "run" / "model" / "head.safetensors")
        assert torch.equal(written["head.weight"], heads["loss.head.weight"])
        first = fresh_head(config)
        assert not torch.equal(written["head.weight"], first.weight)
        assert not torch.equal(written["head.bias"], first.bias)


def fresh_head(config):
    torch.manual_seed(config.seed)
    return torch.nn.Linear(3 * 32, 3)


def test_dropout_is_on_in_training_and_off_when_looking(config_of, tmp_path, monkeypatch):
    seen = []
    whole = SiameseModule.embed

    def embed(self, tokens):
        seen.append((self.backbone.training, torch.is_grad_enabled(), len(tokens.ids)))
        return whole(self, tokens)

    monkeypatch.setattr(SiameseModule, "embed", embed)
    fit(config_of("loss=regression", "trainer.max_steps=4"), tmp_path / "run")
    assert seen == [(True, True, 8)] * 4 + [(False, False, 24)], "and both sentences in one pass"


@pytest.mark.parametrize(
    ("pooling", "optimizer"), [("max", "adamw"), ("cls", "adamw"), ("mean", "bertadam")]
)
def test_every_pooling_and_optimizer(config_of, tmp_path, tiny_bert, pooling, optimizer):
    config = config_of(
        "loss=classification",
        f"pooling={pooling}",
        f"optimizer={optimizer}",
        "trainer.decay=constant",
        "trainer.max_steps=3",
    )
    result = fit(config, tmp_path / "run")
    assert np.isfinite(result.scores["train_loss_last"])
    ends = dict(load(tmp_path / "run" / "model").named_parameters())
    start = dict(load(tiny_bert).named_parameters())
    assert {n for n in start if torch.equal(start[n], ends[n])} == set()


def test_max_steps_ends_in_the_middle_of_an_epoch(config_of, tmp_path):
    result = fit(config_of("loss=regression", "trainer.max_steps=7"), tmp_path / "run")
    assert result.steps == 7
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_roberta_trains(config_of, tmp_path, tiny_roberta):
    config = config_of("loss=regression", f"encoder.path={tiny_roberta}", "trainer.epochs=6")
    result = fit(config, tmp_path / "run")
    assert result.scores["train_loss_last"] < result.scores["train_loss_first"]


def test_a_second_stage_starts_from_the_first_ones_backbone(config_of, tmp_path):
    fit(config_of("loss=classification"), tmp_path / "nli")
    nothing = config_of("loss=regression", "trainer.max_steps=1", "trainer.warmup=1")
    fit(nothing, tmp_path / "stsb", parent_model=tmp_path / "nli" / "model")
    first = load_file(tmp_path / "nli" / "model" / "model.safetensors")
    second = load_file(tmp_path / "stsb" / "model" / "model.safetensors")
    # The learning rate of the first step of a warm-up is 0, so nothing has moved yet.
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (tmp_path / "stsb" / "model" / "head.safetensors").exists()


def test_the_thread_that_makes_batches_ends_with_the_run(config_of, tmp_path, monkeypatch):
    before = set(threading.enumerate())
    fit(config_of("loss=regression"), tmp_path / "run")
    whole = SiameseModule.training_step

    def step(self, batch, index):
        if index == 3:
            raise UserError("enough")
        return whole(self, batch, index)

    monkeypatch.setattr(SiameseModule, "training_step", step)
    with pytest.raises(UserError, match=r"^enough$"):
        fit(config_of("loss=regression"), tmp_path / "stopped")
    new = set(threading.enumerate()) - before
    assert not [t for t in new if t.name.startswith("next-batch")]


def copied(small_root, tmp_path):
    return shutil.copytree(small_root, tmp_path / "data")


def test_without_dev_best_dev_is_refused_and_last_goes_on(config_of, small_root, tmp_path):
    root = copied(small_root, tmp_path)
    (root / "stsb" / "dev.parquet").unlink()
    options = ("loss=classification", f"paths.data={root}")
    with pytest.raises(UserError, match="there is no stsb/dev, which checkpoint=best_dev needs"):
        fit(config_of(*options), tmp_path / "run")
    result = fit(config_of(*options, "checkpoint=last"), tmp_path / "run")
    assert "no stsb dev: trained without looking at it" in sentences(result.facts)
    assert list(result.scores) == ["train_loss_first", "train_loss_last"]


def test_a_degenerate_run_is_recorded_not_dropped(config_of, small_root, tmp_path):
    root = copied(small_root, tmp_path)
    frame = pd.read_parquet(root / "stsb" / "dev.parquet")
    frame.assign(score=np.full(len(frame), 2.5)).to_parquet(root / "stsb" / "dev.parquet")
    result = fit(config_of("loss=regression", f"paths.data={root}"), tmp_path / "run")
    assert np.isnan(result.scores["dev_spearman"])
    assert result.scores["best_step"] is None
    assert (tmp_path / "run" / "model").exists()


def test_very_long_and_empty_sentences_train_and_are_counted(config_of, small_root, tmp_path):
    root = copied(small_root, tmp_path)
    frame = pd.read_parquet(root / "stsb" / "train.parquet")
    frame.loc[0, "sentence1"], frame.loc[1, "sentence2"] = "dog " * 100_000, ""
    frame.to_parquet(root / "stsb" / "train.parquet")
    result = fit(config_of("loss=regression", f"paths.data={root}"), tmp_path / "run")
    # 64 positions less [CLS] and [SEP]
    assert "STSb: 1 training texts cut to 62 word pieces" in sentences(result.facts)
    assert np.isfinite(result.scores["train_loss_last"])


def test_w_and_b_failing_midway_stops_nothing(config_of, tmp_path, caplog):
    class Broken:
        id = "r"

        def log(self, *_, **__):
            raise ConnectionError("gone")

    result = fit(config_of("loss=regression"), tmp_path / "run", tracking=Tracking(Broken()))
    assert result.steps == 12
    assert [r.message for r in caplog.records if "W&B" in r.message] == [
        "W&B stopped at log, the run goes on without it: ConnectionError: gone"
    ]


@pytest.mark.skipif(sys.platform == "darwin", reason="mps is there")
def test_an_accelerator_that_is_not_there_is_one_line(config_of, tmp_path):
    with pytest.raises(UserError, match=r"trainer\.accelerator=mps.*use auto or cpu"):
        fit(config_of("loss=regression", "trainer.accelerator=mps"), tmp_path / "run")


def test_lightning_keeps_quiet(config_of, tmp_path, capfd, monkeypatch):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        fit(config_of("loss=regression"), tmp_path / "run")
    finally:
        logging.getLogger().removeHandler(handler)
    written = capfd.readouterr()
    assert written.out == ""
    assert "ightning" not in written.err + stream.getvalue()
    assert sys.stdout is not None


def test_the_saved_model_says_what_it_was_trained_with(config_of, tmp_path):
    fit(config_of("loss=classification", "data.max_length=20"), tmp_path / "run")
    said = json.loads((tmp_path / "run" / "model" / "sbert_repro.json").read_text())
    assert said["max_length"] == 20
    assert said["loss"]["concatenation"] == ["u", "v", "|u-v|"]


def test_weights_and_optimizer_are_fp32_and_named_as_in_fp32(config_of, tmp_path):
    for name, more in (("half", BF16), ("full", BF16[:1])):
        fit(config_of(*more), tmp_path / name)
    half, full = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("half", "full"))
    assert {n: w.dtype for n, w in half.items()} == {n: w.dtype for n, w in full.items()}
    assert all(w.dtype == torch.float32 for w in half.values())
    assert any(not torch.equal(half[n], full[n]) for n in full), "its products are in bf16"
    saved = torch.load(tmp_path / "half" / "checkpoints" / LAST, weights_only=True)
    moments = saved["optimizer_states"][0]["state"].values()
    assert {m["first"].dtype for m in moments} == {torch.float32}


def test_small_weights_move_by_less_than_bf16_can_tell(config_of, tmp_path):
    """With a learning rate of 1e-5 a bf16 weight of 1 would stay where it is."""
    fit(config_of(*BF16, "optimizer.lr=1e-5"), tmp_path / "run")
    weight = load_file(tmp_path / "run" / "model" / "model.safetensors")
    norm = weight["encoder.layer.0.output.LayerNorm.weight"]
    assert (norm != 1).any() and (norm.bfloat16() == 1).all()


def test_the_way_of_bf16_is_part_of_its_key_alone(config_of, overrides, monkeypatch):
    keys = {}
    for version in (1, 2):

        def later(path, version=version):
            of_fused = path == "sbert_repro.backbone.fused"
            return Declared({}, {"VERSION": version}) if of_fused else declared(path)

        monkeypatch.setattr(pretrained, "declared", later)
        for name, more in (("half", BF16), ("full", BF16[:1])):
            keys[name, version] = key_of(config_of(*more), overrides(*more))
    assert keys["full", 1] == keys["full", 2]
    assert keys["half", 1] != keys["half", 2]
