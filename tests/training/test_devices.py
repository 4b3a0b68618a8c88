"""trainer.devices: shares of a batch, two processes that train what one does, and how they end."""

import importlib
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sbert_repro.backbone.transformer import load
from sbert_repro.compose import compose
from sbert_repro.data.batches import BatchStream
from sbert_repro.errors import UserError
from sbert_repro.losses.classification import ClassificationLoss
from sbert_repro.losses.cross_regression import CrossRegressionLoss
from sbert_repro.losses.regression import RegressionLoss
from sbert_repro.losses.triplet import TripletLoss
from sbert_repro.pooling.mean import MeanPooling
from sbert_repro.training import devices
from sbert_repro.training.checkpoints import LAST
from sbert_repro.training.devices import check_devices, run_processes, share
from sbert_repro.training.fit import fit
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.run import settings_of

from .conftest import outcome, sentences

FORK = multiprocessing.get_context("fork")
LABELS, SCORES = np.array([0, 2, 1, 1, 0]), np.array([0.1, 0.9, 0.4, 0.7, 0.0])
KINDS = {
    "classification": (lambda: ClassificationLoss(32), 2, LABELS),
    "regression": (RegressionLoss, 2, SCORES),
    "triplet": (TripletLoss, 3, None),
    "cross_regression": (lambda: CrossRegressionLoss(32, dropout=0.0), 1, SCORES),
}


class Column:
    """Five texts of one to five word pieces; with types where they are pairs."""

    def __init__(self, seed, typed):
        generator = np.random.default_rng(seed)
        self.rows = [generator.integers(5, 40, length) for length in (3, 1, 5, 2, 4)]
        if typed:
            self.rows = [np.stack([row, np.arange(len(row)) % 2]) for row in self.rows]

    def __len__(self):
        return len(self.rows)

    def row(self, i):
        return self.rows[i]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def batch(kind):
    _, columns, target = KINDS[kind]
    made = [Column(seed, columns == 1) for seed in range(columns)]
    return next(iter(BatchStream(made, target, batch_size=5)))


@pytest.fixture
def module(kind, tiny_bert):
    torch.manual_seed(1)
    module = SiameseModule(load(tiny_bert), MeanPooling(), KINDS[kind][0](), None)
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    for layer in module.backbone.model.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    return module


def gradients(module, batch):
    module.zero_grad()
    loss = module.training_step(batch, 0)
    loss.backward()
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
    return loss.detach(), torch.cat([grad.flatten().clone() for grad in found])


@pytest.mark.parametrize("count", [2, 3, 7])
def test_loss_and_gradients_are_those_of_the_whole(module, batch, count):
    whole, expected = gradients(module, batch)
    parts = [gradients(module, share(batch, number, count)) for number in range(count)]
    loss, gradient = (torch.stack(list(found)).mean(0) for found in zip(*parts, strict=True))
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
    assert (gradient - expected).norm() < 1e-6 * expected.norm()


def test_each_row_is_taken_once(batch):
    columns, size = batch.columns, len(batch.rows)
    taken = torch.zeros(columns, size, dtype=torch.int64)
    for number in range(3):
        part = share(batch, number, 3)
        own = len(part.tokens.ids) // columns
        assert part.weight == pytest.approx(3 * own / size)
        assert torch.equal(part.rows, batch.rows), "an error names the whole batch"
        assert part.tokens.mask.sum(1).max() == part.tokens.ids.shape[1], "no column of padding"
        for i, (ids, mask) in enumerate(zip(part.tokens.ids, part.tokens.mask, strict=True)):
            column, row = i // own, number + 3 * (i % own)
            there = batch.tokens.ids[column * size + row]
            assert torch.equal(ids[mask], there[batch.tokens.mask[column * size + row]])
            taken[column, row] += 1
    assert (taken == 1).all()


def test_who_has_no_row_counts_nothing(module, batch):
    loss, gradient = gradients(module, share(batch, 6, 7))
    assert loss == 0
    assert (gradient == 0).all()


@pytest.fixture
def called(monkeypatch):
    """The functions that processes can import; the folder is on their path as on ours."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("called_in_processes")


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
    "classification": ["loss=classification"],
    "a process without a row": ["loss=classification", "trainer.batch_size=21"],
    "regression, MAX": ["loss=regression", "pooling=max"],
    "triplet": ["experiment=wikisections"],
    "cross-encoder": ["loss=cross_regression", "loss.dropout=0"],
    "a layer left out": ["loss=classification", "encoder.layer=second_to_last"],
    "bf16": ["loss=classification", "trainer.precision=bf16"],
}


def finished(folder):
    saved = torch.load(folder / "checkpoints" / LAST, weights_only=True)
    seen = next(s for s in saved["callbacks"].values() if "losses" in s)
    weights = torch.cat([w.flatten().double() for w in saved["state_dict"].values()])
    return weights, seen["losses"], [step for step, _ in seen["scores"]], saved["global_step"]


def test_two_processes_train_what_one_does_and_resume(
    called, config_of, infersent, still_bert, triplet_root, tmp_path
):
    # AdamW would make full steps of the rounding of gradients that are 0 (those of the biases of
    # attention keys): with a larger eps a step is as small as its gradient. BertAdam, which clips
    # each of them by itself, would still make larger ones of them.
    common = ["trainer.batch_size=4", "checkpoint=last", "optimizer=adamw", "optimizer.eps=1e-3"]
    common += [f"encoder.path={still_bert}", f"paths.data={triplet_root}"]
    runs = {name: config_of(*common, *words) for name, words in RUNS.items()}
    # The rate that shrinks with the dev score is the same in both, and so is the end it leads to.
    shrinking = ["checkpoint=last", "trainer.epochs=6", "optimizer.min_lr=0.05"]
    runs["sgd_shrink"] = compose(infersent(*shrinking))
    for name, config in runs.items():
        fit(config, tmp_path / "one" / name)
        config.trainer.devices = 2
    with_dropout = config_of("loss=classification", "trainer.devices=2")
    runs["with dropout"] = with_dropout

    with pytest.raises(UserError, match=r"^here: no room: go there$") as told:
        every = [(config, tmp_path / "two" / name) for name, config in runs.items()]
        run_processes(2, "cpu", called.fit_each, every)
    assert told.value.code == "partial"

    for name in [*RUNS, "sgd_shrink"]:
        one, losses, scored, steps = finished(tmp_path / "one" / name)
        two, *others = finished(tmp_path / "two" / name)
        # In bf16 the gradients of a batch are rounded once in one process, and by shares in two.
        allowed = 1e-2 if name == "bf16" else 1e-5
        assert (two - one).norm() < allowed * one.norm(), name
        # A loss near 0 has few digits of its own: its sums were rounded at the order of 1.
        assert others[0].tolist() == pytest.approx(losses.tolist(), rel=allowed, abs=2e-6), name
        assert others[1:] == [scored, steps], name
    assert steps < 6 * 6, "ended by its learning rate"

    whole = tmp_path / "two" / "with dropout"
    expected = outcome(whole, pickle.loads((whole / "result.pickle").read_bytes()))
    assert expected[2][-1] == {"code": "devices", "count": 2}
    killed_then_resumed(with_dropout, tmp_path / "killed", expected)
    ended_then_resumed(called, with_dropout, tmp_path / "ended", expected)
    with pytest.raises(UserError, match=r"made with trainer\.devices=2, this run has 1"):
        fit(config_of("loss=classification"), tmp_path / "killed")


def killed_then_resumed(config, folder, expected):
    """SIGKILL to the process that began the others: they end too, and the same call goes on."""

    def begin():
        fit(config, folder)

    parent = FORK.Process(target=begin)
    parent.start()
    last = folder / "checkpoints" / LAST
    wait_until(last.exists)
    children = [p for p in map(int, children_of(parent.pid)) if is_training(p)]
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    wait_until(lambda: not any(map(is_training, children)))
    assert outcome(folder, fit(config, folder)) == expected


def ended_then_resumed(called, config, folder, expected):
    """SIGTERM to the process that began the others: all save at one step, and the run goes on."""
    with pytest.raises(SystemExit) as end:
        run_processes(2, "cpu", called.fit_until_sigterm, config, folder)
    assert end.value.code == 143
    # The first process hears of it after its first step, and names the second one as the last.
    assert finished(folder)[-1] == 2
    assert outcome(folder, fit(config, folder)) == expected


def test_all_processes_end_with_the_step_that_the_first_one_names(monkeypatch, tmp_path):
    assert not devices.ends_after(1, 0), "one process alone"
    monkeypatch.setattr(devices, "_folder", [tmp_path])
    assert [devices.ends_after(1, rank) for rank in (1, 0)] == [False, False]
    (tmp_path / devices._ASKED).touch()
    # Another process may look before the first one has, or after it.
    assert [devices.ends_after(2, rank) for rank in (1, 0, 1)] == [False] * 3
    assert [devices.ends_after(3, rank) for rank in (1, 0)] == [True, True]


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def is_training(pid):
    try:
        return "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return False


def wait_until(so):
    for _ in range(6000):
        if so():
            return
        time.sleep(0.05)
    raise AssertionError("waited for nothing")


def test_one_that_dies_ends_the_others_in_one_line(called):
    with pytest.raises(UserError, match=r"^process 1 of trainer\.devices=2 died \(SIGKILL;") as it:
        run_processes(2, "cpu", called.die_alone)
    assert "\n" not in str(it.value)
    assert not torch.distributed.is_initialized()


def test_more_than_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "cores", lambda: 2)
    with pytest.raises(UserError, match=r"devices=2: this machine has 1 GPU: use .*devices=1, or"):
        check_devices(2, "auto")
    with pytest.raises(UserError, match=r"devices=3: this machine has 2 cores: use .*devices=2$"):
        check_devices(3, "cpu")
    check_devices(2, "cpu")
    check_devices(1, "auto")


def test_one_process_is_named_as_before(config_of):
    loss = "loss=classification"
    one, two = (settings_of(config_of(loss, f"trainer.devices={n}"), []) for n in (1, 2))
    assert "devices" not in one["trainer"]
    assert two["trainer"] == {**one["trainer"], "devices": 2}
