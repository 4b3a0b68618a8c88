"""Keys: what changes them and what does not; runs found again, refused, or waiting for a parent."""

import json
import shutil

import pytest
import torch
import yaml

from sbert_repro.composition import compose
from sbert_repro.errors import UserError
from sbert_repro.ledger import Ledger
from sbert_repro.training import fit as fitting
from sbert_repro.training import run
from sbert_repro.training.run import key_of, settings_of, train

LOSS = "loss=classification"


@pytest.fixture
def key(overrides):
    def of(*more, **where):
        typed = overrides(*more, **where)
        return key_of(compose(typed), typed)

    return of


@pytest.mark.parametrize(
    "other",
    [
        "seed=2",
        "pooling=max",
        "concatenation=u_v",
        "++loss.bias=false",
        "loss=regression",
        "optimizer=bertadam",
        "optimizer.lr=1e-4",
        "data.limit=20",
        "data.max_length=64",
        "data.dev_limit=5",
        "trainer.epochs=3",
        "trainer.max_steps=3",
        "trainer.batch_size=8",
        "trainer.devices=2",
        "trainer.precision=bf16",
        "trainer.warmup=0",
        "trainer.decay=constant",
        "trainer.max_grad_norm=null",
        "trainer.evaluate_every=5",
        "checkpoint=last",
        "encoder.layer=first_last",
    ],
)
def test_what_changes_the_number_changes_the_key(key, other):
    assert key(LOSS) != key(LOSS, other)


@pytest.mark.parametrize(
    "other",
    [
        "trainer.save_every=1",
        "trainer.progress=false",
        "trainer.accelerator=auto",
        "trainer.devices=1",
        "wandb.mode=disabled",
        "wandb.project=other",
        "evaluate=[]",
        "profile.banner=other",
        "encoder.label=other",
        "pooling=mean",
        "++optimizer.beta1=0.9",
        "++loss.bias=true",
    ],
)
def test_what_does_not_change_the_number_does_not_change_the_key(key, other):
    assert key(LOSS) == key(LOSS, other)


def test_the_key_does_not_know_where_things_lie(key, small_root, tiny_bert, tmp_path):
    shutil.copytree(small_root, tmp_path / "moved")
    shutil.copytree(tiny_bert, tmp_path / "models" / "other-name")
    (tmp_path / "models" / "other-name" / "README.md").write_text("a card")
    moved = key(
        LOSS,
        f"paths.data={tmp_path / 'moved'}",
        f"paths.models={tmp_path / 'models'}",
        "encoder.path=someone/other-name",
        results="elsewhere",
    )
    assert moved == key(LOSS)


@pytest.mark.parametrize("file", ["nli/train.parquet", "stsb/dev.parquet"])
def test_the_key_knows_the_data_by_content(key, small_root, tmp_path, file):
    root = shutil.copytree(small_root, tmp_path / "changed")
    (root / file).write_bytes((root / file).read_bytes() + b"\0")
    assert key(LOSS, f"paths.data={root}") != key(LOSS)


def test_the_order_of_options_does_not_count(overrides):
    typed = overrides(LOSS, "seed=3", "pooling=max")
    backwards = typed[::-1]
    assert key_of(compose(typed), typed) == key_of(compose(backwards), backwards)


@pytest.mark.parametrize(
    "part", ["pooling.mean.MeanPooling", "losses.classification.ClassificationLoss"]
)
def test_a_component_that_changed_gets_new_keys(key, monkeypatch, part):
    before = key(LOSS)
    monkeypatch.setattr(f"sbert_repro.{part}.VERSION", 99)
    assert key(LOSS) != before


def test_settings_hold_no_path_and_no_secret(overrides, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    typed = overrides(LOSS)
    text = json.dumps(settings_of(compose(typed), typed))
    assert str(tmp_path) not in text
    assert "a" * 40 not in text


def test_train_writes_a_record_once_and_finds_it_again(overrides, tmp_path, monkeypatch):
    typed = overrides(LOSS)
    record = train(compose(typed), typed)
    folder = tmp_path / "results" / "runs" / record["key"]
    assert record["kind"] == "train"
    assert record["seed"] == 1
    assert record["steps"] == 12
    assert record["threads"] == torch.get_num_threads()
    assert record["notes"] == ["NLI: 22 of 942,069 pairs", "STSb: 12 of 1,500 pairs"]
    assert json.loads((folder / "metrics.json").read_text()) == {
        "key": record["key"],
        **record["scores"],
    }
    assert not (folder / "checkpoints").exists(), "the kept weights are in model/"
    assert yaml.safe_load((folder / "config.yaml").read_text())["optimizer"]["lr"] == 1e-3
    monkeypatch.setattr(fitting, "fit", None)
    assert train(compose(typed), typed) == record


def test_train_says_nothing_on_stdout(overrides, capsys):
    typed = overrides(LOSS, "trainer.max_steps=1")
    train(compose(typed), typed)
    assert capsys.readouterr().out == ""


def test_a_folder_begun_with_other_settings_is_refused(overrides, tmp_path):
    typed = overrides(LOSS)
    config = compose(typed)
    folder = tmp_path / "results" / "runs" / key_of(config, typed)
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text('{"seed": 7}')
    with pytest.raises(UserError, match=f"{folder} was begun with other settings"):
        train(config, typed)


def test_an_interrupted_run_goes_on_and_leaves_one_record(overrides, tmp_path, monkeypatch):
    typed = overrides(LOSS)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fitting, "save_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(compose(typed), typed)
    ledger = Ledger(tmp_path / "results" / "runs")
    assert ledger.keys() == []
    assert train(compose(typed), typed)["key"] in ledger.keys()


def test_two_stages(overrides, tmp_path, monkeypatch):
    parent = "parent=['loss=classification','data.allow_partial=true','trainer.epochs=2']"
    typed = overrides("loss=regression", parent, "pooling=max")
    record = train(compose(typed), typed)
    ledger = Ledger(tmp_path / "results" / "runs")
    parent = ledger.get(record["settings"]["parent"])
    assert parent["settings"]["loss"]["num_labels"] == 3
    assert parent["settings"]["pooling"] == record["settings"]["pooling"]
    assert "NLI: 22 of 942,069 pairs" in record["notes"], "a number rests on both stages' data"
    alone = overrides("loss=regression", "pooling=max")
    assert key_of(compose(alone), alone) != record["key"]
    # the first stage is the run that stands alone under these options
    first = overrides("loss=classification", "pooling=max")
    assert key_of(compose(first), first) == parent["key"]


def test_the_second_stage_gets_the_first_ones_weights(overrides, monkeypatch, tmp_path):
    seen = []

    def fit(config, folder, parent_model=None, tracking=None):
        seen.append((config.data.name, parent_model))
        (folder / "model").mkdir(parents=True)
        return fitting.FitResult({"dev_spearman": 1.0}, [], 1, 0.0)

    monkeypatch.setattr(run.fitting, "fit", fit)
    typed = overrides("loss=regression", "parent=['loss=classification']")
    record = train(compose(typed), typed)
    model = tmp_path / "results" / "runs" / record["settings"]["parent"] / "model"
    assert seen == [("nli", None), ("stsb", model)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["encoder.path=/nowhere"], "model /nowhere"),
        (
            ["paths.data=/nowhere"],
            "no data set nli/train on this machine",
        ),
        (["loss=triplet", "data=stsb"], "loss=triplet needs triplets"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_written(overrides, tmp_path, options, said):
    typed = overrides(LOSS, *options)
    with pytest.raises(UserError, match=said):
        train(compose(typed), typed)
    assert not (tmp_path / "results").exists()
