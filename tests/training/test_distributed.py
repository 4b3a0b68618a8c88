"""trainer.devices=2 on a CPU trains, without dropout, the weights that one process trains."""

import json
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils import parameters_to_vector

from sbert_repro.compose import compose
from sbert_repro.training.fit import _begin, _drive, fit
from sbert_repro.training.processes import together
from sbert_repro.training.run import settings_of
from sbert_repro.training.shares import share
from sbert_repro.training.tracking import Tracking

from .conftest import sentences

LOSS, HALF = "loss=classification", "trainer.precision=bf16"


@pytest.fixture
def still_bert(tiny_bert, tmp_path):
    """The tiny BERT without dropout, whose draws are all that differs between processes."""
    place = shutil.copytree(tiny_bert, tmp_path / "still-bert")
    described = json.loads((place / "config.json").read_text())
    described |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (place / "config.json").write_text(json.dumps(described))
    return place


@pytest.fixture
def triplet_root(small_root, tmp_path):
    root = shutil.copytree(small_root, tmp_path / "with-triplets")
    (root / "wikisections").mkdir()
    for split in ("train", "dev"):
        texts = {n: sentences(22, i) for i, n in enumerate(("anchor", "positive", "negative"))}
        pd.DataFrame(texts).to_parquet(root / "wikisections" / f"{split}.parquet")
    return root


RUNS = {
    "classification": [LOSS],
    "a process without a row": [LOSS, "trainer.batch_size=21"],
    "regression, MAX": ["loss=regression", "pooling=max"],
    "triplet": ["experiment=wikisections"],
    "cross-encoder": ["loss=cross_regression", "loss.dropout=0"],
    "a layer left out": [LOSS, "encoder.layer=second_to_last"],
    "bf16": [LOSS, HALF],
    "bf16, a layer left out": [LOSS, HALF, "encoder.layer=second_to_last"],
}


def trained(run, config):
    """Weights before and after a run that is begun, its curve, and its looks at dev."""
    before = parameters_to_vector(run.module.parameters()).detach().clone()
    run.run(config)
    after = parameters_to_vector(run.module.parameters()).detach().clone()
    return before, after, run.watch.curve.values, run.watch.scores


def by_hand(run, config):
    """The same of a run in bf16 whose batches are computed in two shares, one after the other."""
    module, curve = run.module, []
    before = parameters_to_vector(module.parameters()).detach().clone()
    optimizer, schedule = _drive(config, module, run.order)
    for batch in run.order:
        losses, gradients = zip(*(of_share(module, batch, n) for n in range(2)), strict=True)
        for parameter, found in zip(module.parameters(), zip(*gradients, strict=True), strict=True):
            parameter.grad = None if found[0] is None else (found[0] + found[1]) / 2
        torch.nn.utils.clip_grad_norm_(module.parameters(), config.trainer.max_grad_norm)
        optimizer.step()
        schedule.step()
        curve.append(sum(losses) / 2)
    return before, parameters_to_vector(module.parameters()).detach(), curve, None


def of_share(module, batch, number):
    module.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(share(batch, number, 2), 0)
    loss.backward()
    found = [None if p.grad is None else p.grad.clone() for p in module.parameters()]
    return loss.item(), found


def test_two_processes_train_what_one_does(
    config_of, still_bert, triplet_root, tmp_path, monkeypatch
):
    # AdamW would make steps of full size out of the rounding of gradients that are 0 (those of the
    # biases of attention keys): with a larger eps a step is as small as its gradient.
    common = ["trainer.epochs=2", "trainer.batch_size=4", "checkpoint=last", "optimizer.eps=1e-3"]
    common += [f"encoder.path={still_bert}", f"paths.data={triplet_root}"]
    configs = {name: config_of(*common, *words) for name, words in RUNS.items()}
    alone = {}
    for name, config in configs.items():
        begun = _begin(config, tmp_path / "alone" / name, None, Tracking())
        # In bf16 the gradients of a batch are rounded once in one process, and in shares in two.
        alone[name] = (by_hand if HALF in RUNS[name] else trained)(begun, config)
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import runs_in_one_group

    runs = [(config, tmp_path / "beside" / name) for name, config in configs.items()]
    beside = [_begin(*run, None, Tracking()) for run in runs]
    found = {}
    with together(2, "cpu", partial(runs_in_one_group.begin, runs)):
        for run, (name, config) in zip(beside, configs.items(), strict=True):
            found[name] = trained(run, config)
    for name in RUNS:
        start, end, curve, looks = alone[name]
        same, other_end, other_curve, other_looks = found[name]
        assert torch.equal(start, same)
        apart, way = (other_end - end).norm(), (end - start).norm()
        assert apart < 5e-6 * way, name
        assert apart < 1e-7 * end.norm(), name
        assert other_curve == pytest.approx(curve, rel=1e-5), name
        assert looks is None or [step for step, _ in looks] == [step for step, _ in other_looks]


def test_two_processes_end_where_one_does(infersent, tmp_path):
    """The rate that shrinks with the score is the same in both, and so is the end it decides on."""
    found = {}
    for devices in (1, 2):
        words = infersent(f"trainer.devices={devices}", "checkpoint=last", "trainer.epochs=6")
        result = fit(compose([*words, "optimizer.min_lr=0.05"]), tmp_path / str(devices))
        weights = load_file(tmp_path / str(devices) / "model" / "model.safetensors")
        found[devices] = torch.cat([w.flatten() for w in weights.values()]), result
    (one, alone), (two, beside) = found[1], found[2]
    assert alone.steps == beside.steps < 6 * 6
    assert (one - two).norm() < 1e-5 * one.norm()


def test_one_process_is_named_as_before(config_of):
    one, two = (settings_of(config_of(LOSS, f"trainer.devices={n}"), []) for n in (1, 2))
    assert "devices" not in one["trainer"]
    assert two["trainer"] == {**one["trainer"], "devices": 2}
