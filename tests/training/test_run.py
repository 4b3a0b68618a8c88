"""Keys: what changes them and what does not; runs found again, refused, or waiting for a parent."""

import json
import math
import multiprocessing
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from sbert_repro.aliases import former
from sbert_repro.compose import compose
from sbert_repro.declared import declared
from sbert_repro.errors import Diverged, UserError
from sbert_repro.evaluation.run import evaluate_trained, main_scores
from sbert_repro.facts import sentences
from sbert_repro.ledger import Ledger
from sbert_repro.storage import write_file
from sbert_repro.training import fit as fitting
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.run import (
    add_scores,
    former_key_of,
    key_of,
    refuse_diverged,
    settings_of,
    train,
    with_facts,
)

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
        "optimizer=adamw",
        "optimizer=adamw_2019",
        "loss.init=torch",
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
        "trainer.max_grad_norm=1",
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
    pd.read_parquet(root / file).iloc[:-1].to_parquet(root / file)
    assert key(LOSS, f"paths.data={root}") != key(LOSS)


def test_the_order_of_options_does_not_count(overrides):
    typed = overrides(LOSS, "seed=3", "pooling=max")
    backwards = typed[::-1]
    assert key_of(compose(typed), typed) == key_of(compose(backwards), backwards)


@pytest.mark.parametrize("part", ["MeanPooling", "ClassificationLoss"])
def test_a_component_that_changed_gets_new_keys(key, monkeypatch, part):
    def later(path):
        found = declared(path)
        changed = {"VERSION": 99} if path.endswith(f".{part}") else {}
        return replace(found, constants={**found.constants, **changed})

    before = key(LOSS)
    monkeypatch.setattr("sbert_repro.compose.declared", later)
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
    assert sentences(record["facts"]) == [
        "NLI: 22 of 942,069 training pairs",
        "STSb: 12 of 1,500 dev pairs",
    ]
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
    with pytest.raises(UserError, match=f"{folder}: begun with other settings"):
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
    assert "NLI: 22 of 942,069 training pairs" in sentences(record["facts"]), (
        "a number rests on both stages' data"
    )
    alone = overrides("loss=regression", "pooling=max")
    assert key_of(compose(alone), alone) != record["key"]
    # the first stage is the run that stands alone under these options
    first = overrides("loss=classification", "pooling=max")
    assert key_of(compose(first), first) == parent["key"]


def test_the_second_stage_gets_the_first_ones_weights(overrides, monkeypatch, tmp_path):
    seen = []

    def fit(config, folder, parent_model=None, tracking=None):
        seen.append((config.data.name, parent_model))
        write_file(folder / "model" / "model.safetensors", b"weights")
        return fitting.FitResult({"dev_spearman": 1.0}, [], 1, 0.0, {"loss": [], "dev": []})

    monkeypatch.setattr(fitting, "fit", fit)
    typed = overrides("loss=regression", "parent=['loss=classification']")
    record = train(compose(typed), typed)
    model = tmp_path / "results" / "runs" / record["settings"]["parent"] / "model"
    assert seen == [("nli", None), ("stsb", model)]
    write_file(model / "model.safetensors", b"other weights")
    typed = [*typed, "seed=1", "data.limit=5"]
    with pytest.raises(
        UserError, match=r"model\.safetensors: not the weights that run .* train ag"
    ):
        train(compose(typed), typed)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["encoder.path=/nowhere"], "no model nowhere on this machine"),
        (
            ["paths.data=/nowhere"],
            "no data set nli/train on this machine",
        ),
        (["loss=triplet", "data=stsb"], "loss=triplet: needs triplets"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_written(overrides, tmp_path, options, said):
    typed = overrides(LOSS, *options)
    with pytest.raises(UserError, match=said):
        train(compose(typed), typed)
    assert not (tmp_path / "results").exists()


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
    assert "the last good checkpoint is that of step 5: look at these rows of data=stsb" in said
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
    monkeypatch.setattr(fitting, "fit", None)
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
    (tmp_path / "diverged.json").write_text(text)
    with pytest.raises(
        UserError, match=r"diverged\.json says cannot be read, damaged .* until .* is remo"
    ):
        refuse_diverged(tmp_path)


def test_a_run_that_did_not_diverge_is_not_refused(tmp_path):
    refuse_diverged(tmp_path / "not there")


def strict(path):
    """The file as a reader sees it who knows no NaN."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_what_is_no_number_is_null(tmp_path):
    add_scores(tmp_path / "k", {"dev": math.nan, "loss": math.inf, "best_step": None, "a": 1.5})
    found = strict(tmp_path / "k" / "metrics.json")
    assert found == {"key": "k", "dev": None, "loss": None, "best_step": None, "a": 1.5}


def test_scores_are_added_and_a_damaged_or_old_file_is_mended(tmp_path):
    path = tmp_path / "k" / "metrics.json"
    path.parent.mkdir()
    path.write_text('{"key": "k", "dev": NaN}')
    add_scores(tmp_path / "k", {"stsb": 70.0})
    assert strict(path) == {"key": "k", "dev": None, "stsb": 70.0}
    path.write_text('{"key": "k", "de')
    add_scores(tmp_path / "k", {"stsb": 71.0})
    assert strict(path) == {"key": "k", "stsb": 71.0}


def _add(folder, number):
    add_scores(folder, {f"task_{number}": float(number)})


def test_two_commands_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(tmp_path / "k", n)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(strict(tmp_path / "k" / "metrics.json")) == 9


def test_a_run_has_its_test_scores_too(overrides, tmp_path):
    typed = overrides("loss=regression", "evaluate=[stsb_dev]", "trainer.max_steps=2")
    config = compose(typed)
    record = train(config, typed)
    path = tmp_path / "results" / "runs" / record["key"] / "metrics.json"
    assert "stsb_dev" not in strict(path)
    scores = main_scores(evaluate_trained(config, record["key"]))
    found = strict(path)
    assert found["stsb_dev"] == scores["stsb_dev"]
    assert found["dev_spearman"] == record["scores"]["dev_spearman"]
    path.unlink()
    evaluate_trained(config, record["key"])
    assert strict(path) == found, "it is made again from the ledger"


def test_a_run_of_the_time_when_keys_held_import_paths_is_found(overrides, tmp_path):
    """Its record holds sentences; the rows it rests on are known anew, from the same data."""
    typed = overrides("loss=regression", "trainer.max_steps=2")
    config = compose(typed)
    new = train(config, typed)
    key = former_key_of(config, typed)
    assert key != new["key"]
    runs = tmp_path / "results" / "runs"
    (runs / new["key"]).rename(runs / key)
    settings = former(new["settings"])
    assert "sbert_repro.losses.regression" in json.dumps(settings)
    old = {**new, "key": key, "schema": 1, "settings": settings, "notes": ["x"]}
    del old["facts"]
    (runs / key / "record.json").write_text(json.dumps(old))
    found = train(config, typed)
    assert (found["key"], found["scores"]) == (key, new["scores"])
    assert [fact for fact in new["facts"] if fact["code"] == "rows"] == found["facts"][:-1]
    assert found["facts"][-1] == {"code": "facts_of_before"}


def test_a_run_of_that_time_is_found_where_it_had_no_dev_rows(overrides, small_root, tmp_path):
    root = shutil.copytree(small_root, tmp_path / "data")
    (root / "stsb" / "dev.parquet").unlink()
    typed = overrides(
        "loss=regression", "trainer.max_steps=1", "checkpoint=last", f"paths.data={root}"
    )
    config = compose(typed)
    new = train(config, typed)
    before = {**new, "facts": [{"code": "facts_of_before"}]}
    assert with_facts(before, config, typed)["facts"] == [*new["facts"], *before["facts"]]


def test_a_run_that_diverged_at_that_time_is_not_trained_again(overrides, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "fit", None)
    typed = overrides("loss=regression")
    config = compose(typed)
    folder = tmp_path / "results" / "runs" / former_key_of(config, typed)
    folder.mkdir(parents=True)
    (folder / "diverged.json").write_text('{"seed": 1, "said": "the loss is nan at step 7"}')
    with pytest.raises(Diverged, match=f"the loss is nan at step 7: run {folder.name} is not"):
        train(config, typed)


@pytest.mark.parametrize(
    ("more", "differ"),
    [
        ([], True),  # 6 steps an epoch: step 8 was looked at, step 10 is
        (["trainer.evaluate_every=3"], False),
        (["trainer.evaluate_every=null"], False),
        (["trainer.evaluate_every=100"], False),
        (["trainer.epochs=1"], False),
        (["trainer.max_steps=8"], False),
        (["data.limit=8"], False),
        (["data.dev=null", "checkpoint=last"], False),
    ],
)
def test_keys_say_that_looks_are_counted_in_each_epoch_where_that_matters(overrides, more, differ):
    typed = overrides(LOSS, *more)
    trainer = settings_of(compose(typed), typed)["trainer"]
    assert trainer.get("looks") == ("each epoch" if differ else None)


def test_in_profile_paper_a_run_that_finds_no_gpu_says_its_hours_before_it_begins(
    overrides, monkeypatch, capsys
):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    parent = "parent=['loss=classification','data.allow_partial=true','trainer.epochs=2']"
    words = ["loss=regression", parent, "profile=paper", "evaluate=[stsb_dev]"]
    words += ["trainer.progress=false", "wandb.mode=disabled"]

    def said(*more, accelerator="auto"):
        typed = [w for w in overrides(*words, *more) if not w.startswith("trainer.accelerator=")]
        typed.append(f"trainer.accelerator={accelerator}")
        monkeypatch.setattr(sys, "argv", ["train.py", *typed])
        runpy.run_path(str(Path(__file__).parents[2] / "train.py"), run_name="__main__")
        out, err = capsys.readouterr()
        assert out.splitlines()[-1].startswith("run ")
        return [line for line in err.splitlines() if "no GPU" in line]

    (line,) = said()
    assert line.startswith(
        "trainer.accelerator=auto finds no GPU: 2 trainings run on the CPU. No estimate from a "
        "speed: `python scripts/benchmark.py what=train profile=paper output="
    )
    assert said() == [], "nothing is left to train"
    (line,) = said("seed=2")
    assert "2 trainings run on the CPU. About " in line
    assert "for 2 of 2 trainings, as measured on " in line and "No estimate" not in line
    assert said("seed=3", accelerator="cpu") == [], "the user knows"
