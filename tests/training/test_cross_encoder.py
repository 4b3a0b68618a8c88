"""A cross-encoder through the one path of training: fit, dev, second stage, refusals."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from sbert_repro.backbone.transformer import load
from sbert_repro.compose import check_training
from sbert_repro.encoders.cross_encoder import CrossEncoder
from sbert_repro.errors import UserError
from sbert_repro.facts import sentences
from sbert_repro.similarity import spearman
from sbert_repro.training.fit import fit
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.run import key_of, train


def test_it_learns_and_every_parameter_moves(config_of, tmp_path, tiny_bert):
    config = config_of("experiment=cross_encoder_stsb", "trainer.epochs=12", "checkpoint=last")
    result = fit(config, tmp_path / "run")
    assert result.scores["train_loss_last"] < 0.95 * result.scores["train_loss_first"]
    before, after = load(tiny_bert), load(tmp_path / "run" / "model")
    ends = dict(after.named_parameters())
    assert {n for n, p in before.named_parameters() if torch.equal(p, ends[n])} == set()
    head = load_file(tmp_path / "run" / "model" / "head.safetensors")
    torch.manual_seed(config.seed)
    first = torch.nn.Linear(32, 1)
    assert not torch.equal(head["head.weight"], first.weight)
    assert not torch.equal(head["head.bias"], first.bias)


def test_one_row_a_pair_goes_through_the_network(config_of, tmp_path, monkeypatch):
    seen = []
    whole = SiameseModule.embed

    def embed(self, tokens):
        seen.append((self.backbone.training, len(tokens.ids), int(tokens.types.max())))
        return whole(self, tokens)

    monkeypatch.setattr(SiameseModule, "embed", embed)
    fit(config_of("loss=cross_regression", "trainer.max_steps=4"), tmp_path / "run")
    assert seen == [(True, 4, 1)] * 4 + [(False, 12, 1)]


@pytest.mark.parametrize("error", ["cross_entropy", "squared"])
def test_the_dev_score_is_that_of_the_saved_model(config_of, small_root, tmp_path, error):
    """The same pairs, read from the folder by what evaluates it, rank as they did in training."""
    config = config_of("loss=cross_regression", f"loss.error={error}", "trainer.epochs=4")
    result = fit(config, tmp_path / "run")
    dev = pd.read_parquet(small_root / "stsb" / "dev.parquet")
    model = CrossEncoder(str(tmp_path / "run" / "model"))
    scores = model.score(list(zip(dev.sentence1, dev.sentence2, strict=True)))
    found = 100 * spearman(scores, dev.score.to_numpy())
    assert found == pytest.approx(result.scores["dev_spearman"], abs=1e-9)
    assert result.scores["dev_spearman"] == result.scores["dev_best"]


def test_bf16_and_roberta_train_too(config_of, tmp_path, tiny_roberta):
    config = config_of(
        "loss=cross_regression",
        f"encoder.path={tiny_roberta}",
        "trainer.precision=bf16",
        "trainer.max_steps=3",
    )
    assert np.isfinite(fit(config, tmp_path / "run").scores["train_loss_last"])


def test_pairs_longer_than_the_model_are_cut_and_counted(config_of, small_root, tmp_path):
    root = tmp_path / "data"
    (root / "stsb").mkdir(parents=True)
    for split in ("train", "dev"):
        frame = pd.read_parquet(small_root / "stsb" / f"{split}.parquet")
        frame.loc[:2, ["sentence1", "sentence2"]] = "dog " * 40
        frame.to_parquet(root / "stsb" / f"{split}.parquet")
    config = config_of("loss=cross_regression", f"paths.data={root}", "trainer.max_steps=2")
    result = fit(config, tmp_path / "run")
    # 40 + 40 word pieces and three special ones, and 64 positions
    assert "STSb: 3 training pairs cut to 64 word pieces" in sentences(result.facts)


def test_a_pair_is_cut_in_scoring_as_in_training_and_trained_on_in_both_orders(
    config_of, small_root, tmp_path, monkeypatch
):
    seen, whole = [], SiameseModule.embed

    def embed(self, tokens):
        seen.append((self.backbone.training, tokens.ids.shape))
        return whole(self, tokens)

    monkeypatch.setattr(SiameseModule, "embed", embed)
    words = ["loss=cross_regression", "data.pair_length=9", "data.swapped=true", "trainer.epochs=1"]
    result = fit(config_of(*words), tmp_path / "run")
    rows = len(pd.read_parquet(small_root / "stsb" / "train.parquet"))
    trained = [shape for training, shape in seen if training]
    assert sum(count for count, _ in trained) == 2 * rows == 4 * result.steps
    assert {length for _, (_, length) in seen} == {9}
    said = sentences(result.facts)
    assert "STSb: pairs trained on in both orders" in said
    assert any("training pairs cut to 9 word pieces" in one for one in said)

    dev = pd.read_parquet(small_root / "stsb" / "dev.parquet")
    model = CrossEncoder(str(tmp_path / "run" / "model"))
    pairs = list(zip(dev.sentence1, dev.sentence2, strict=True))
    assert max(ids.shape[1] for ids in model.pieces(pairs)) == 9
    found = 100 * spearman(model.score(pairs), dev.score.to_numpy())
    assert found == pytest.approx(result.scores["dev_spearman"], abs=1e-9)
    assert model.identity["pair_length"] == 9


def test_nli_first_then_stsb_with_a_head_of_its_own(overrides, config_of):
    typed = overrides("experiment=cross_encoder_nli_then_stsb", "trainer.max_steps=2")
    config = config_of("experiment=cross_encoder_nli_then_stsb", "trainer.max_steps=2")
    record = train(config, typed)
    runs = sorted(
        (tmp.parent for tmp in _models(config)), key=lambda run: run.name == record["key"]
    )
    assert len(runs) == 2
    said = [json.loads((run / "model" / "sbert_repro.json").read_text()) for run in runs]
    assert [one["reads"] for one in said] == ["pairs", "pairs"]
    heads = [load_file(run / "model" / "head.safetensors")["head.weight"].shape for run in runs]
    assert heads == [(3, 32), (1, 32)]
    assert record["settings"]["parent"] == runs[0].name
    first = json.loads((runs[0] / "record.json").read_text())
    assert first["settings"]["loss"]["name"] == "cross_classification"
    assert list(first["scores"]) == ["train_loss_first", "train_loss_last"]
    with pytest.raises(UserError, match="not a cross-encoder that gives a score"):
        CrossEncoder(str(runs[0] / "model"))
    assert train(config, typed)["key"] == record["key"]


def _models(config):
    return list((Path(config.paths.results) / "runs").glob("*/model"))


def test_it_is_another_run_than_the_encoder_of_single_sentences(config_of, overrides):
    experiments = ("stsb", "cross_encoder_stsb", "nli_then_stsb", "cross_encoder_nli_then_stsb")
    options = [[f"experiment={name}"] for name in experiments]
    options += [["experiment=cross_encoder_stsb", "loss.error=squared"]]
    options += [["experiment=cross_encoder_stsb", "data.swapped=true"]]
    options += [["experiment=cross_encoder_stsb", "data.pair_length=64"]]
    keys = {key_of(config_of(*some), overrides(*some)) for some in options}
    assert len(keys) == len(options)


def test_the_options_of_a_cross_encoder(config_of):
    config = config_of("loss=cross_regression")
    assert (config.data.name, config.trainer.epochs) == ("stsb", 2)
    assert config.pooling["_target_"].endswith("ClsPooling")
    assert (
        config_of("loss=cross_regression", "pooling=mean")
        .pooling["_target_"]
        .endswith("MeanPooling")
    )
    nli = config_of("loss=cross_classification")
    assert (nli.data.name, nli.data.dev, nli.checkpoint.name) == ("nli", None, "last")
    check_training(nli)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["loss=cross_classification", "data.dev=stsb"],
            r"data\.dev=stsb: loss=cross_classification predicts no score .*data\.dev=null checkp",
        ),
        (
            ["loss=cross_regression", "data.dev=wikisections"],
            r"data\.dev=wikisections: holds triplets; loss=cross_regression needs scored pairs",
        ),
        (["loss=cross_regression", "data=nli"], r"loss=cross_regression: needs scored pairs; data"),
        (["loss=cross_regression", "loss.error=rank"], r"loss\.error=rank: expected one of cross_"),
    ],
)
def test_what_does_not_fit_is_one_line(config_of, tmp_path, options, said):
    with pytest.raises(UserError, match=said) as refused:
        fit(config_of(*options), tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run" / "model").exists()
