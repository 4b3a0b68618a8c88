"""trainer.devices=2 on a CPU: the weights of one process, resumed to the bit, failing in a line."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from sbert_repro.data.record import dataset
from sbert_repro.errors import UserError
from sbert_repro.training import processes
from sbert_repro.training.checkpoints import LAST
from sbert_repro.training.fit import _begin, _drive, fit
from sbert_repro.training.processes import check_devices, together
from sbert_repro.training.run import settings_of
from sbert_repro.training.shares import share
from sbert_repro.training.tracking import Tracking
from sbert_repro.training.watch import Watch

from .conftest import sentences

FORK = multiprocessing.get_context("fork")
LOSS, HALF = "loss=classification", "trainer.precision=bf16"


class Killed(BaseException):
    """Stands for the end of the process."""


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


def hooked(monkeypatch, step, action):
    """Let the first process do something at the end of a step."""
    whole = Watch.on_train_batch_end

    def hook(self, trainer, *rest):
        if trainer.global_step == step:
            action()
        whole(self, trainer, *rest)

    monkeypatch.setattr(Watch, "on_train_batch_end", hook)


def in_a_process(task):
    process = FORK.Process(target=task)
    process.start()
    process.join(240)
    return process.exitcode


def gone(number):
    for _ in range(300):
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def the_other():
    return multiprocessing.active_children()[0]


def outcome(folder, result):
    files = ("model.safetensors", "head.safetensors")
    return [(folder / "model" / f).read_bytes() for f in files], result.scores, result.notes


def test_told_to_end_then_killed_it_ends_as_undisturbed(config_of, tmp_path, monkeypatch):
    """With dropout: the draws of both processes go on where they were."""
    config = config_of(LOSS, "trainer.devices=2")
    expected = outcome(tmp_path / "whole", fit(config, tmp_path / "whole"))
    assert expected[2][-1] == "trained by 2 processes, each with its own dropout"
    folder, last = tmp_path / "killed", tmp_path / "killed" / "checkpoints" / LAST

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        hooked(patch, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        fit(config, folder)
    assert ended.value.code == 143
    assert torch.load(last, weights_only=True)["global_step"] == 3

    def killed():
        def die():
            (tmp_path / "other").write_text(str(the_other().pid))
            os.kill(os.getpid(), signal.SIGKILL)

        hooked(monkeypatch, 7, die)
        fit(config, folder)

    assert in_a_process(killed) == -signal.SIGKILL
    assert gone(int((tmp_path / "other").read_text())), "a killed run leaves no process behind"
    assert torch.load(last, weights_only=True)["global_step"] == 5
    assert outcome(folder, fit(config, folder)) == expected
    with pytest.raises(UserError, match=r"made with trainer\.devices=2, this run has 1"):
        fit(config_of(LOSS), folder)


def test_one_that_dies_ends_the_run_in_one_line(config_of, tmp_path, monkeypatch):
    hooked(monkeypatch, 2, lambda: the_other().kill())
    with pytest.raises(
        UserError, match=r"^rank 1 of trainer\.devices=2 died \(signal 9; .*"
    ) as said:
        fit(config_of(LOSS, "trainer.devices=2"), tmp_path / "run")
    assert "\n" not in str(said.value)
    assert not torch.distributed.is_initialized()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_one_that_waits_for_the_dead_is_ended_in_one_line(tmp_path, monkeypatch):
    """As a GPU would wait."""

    def stuck():
        monkeypatch.setattr("sys.stderr", (tmp_path / "said").open("w"))
        monkeypatch.setattr(processes, "_GRACE", 0.5)
        with together(2, "cpu", partial(partial, time.sleep, 200)):
            the_other().kill()
            time.sleep(200)

    assert in_a_process(stuck) == 2
    said = (tmp_path / "said").read_text().splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: rank 1 of trainer.devices=2 died (signal 9; ")


def test_what_one_of_them_cannot_read_is_one_line():
    with (
        pytest.raises(UserError, match="nothing_of_this_name"),
        together(2, "cpu", partial(dataset, "nothing_of_this_name")),
    ):
        raise Killed


def test_more_than_there_are_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(
        UserError, match=r"devices=2: this machine has 1 GPU; use trainer\.devices=1"
    ):
        check_devices(2, "auto")
    check_devices(2, "cpu")
    check_devices(1, "auto")


def test_one_process_is_named_as_before(config_of):
    one, two = (settings_of(config_of(LOSS, f"trainer.devices={n}"), []) for n in (1, 2))
    assert "devices" not in one["trainer"]
    assert two["trainer"] == {**one["trainer"], "devices": 2}
