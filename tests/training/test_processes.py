"""How a run of two processes ends: resumed to the bit, in one line, and leaving nobody behind."""

import multiprocessing
import os
import signal
import tempfile
import time
from functools import partial

import pytest
import torch

from sbert_repro.data.schema import dataset
from sbert_repro.errors import UserError
from sbert_repro.training import processes
from sbert_repro.training.checkpoints import LAST
from sbert_repro.training.fit import fit
from sbert_repro.training.processes import check_devices, together
from sbert_repro.training.watch import Watch

FORK = multiprocessing.get_context("fork")
LOSS = "loss=classification"


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def meetings(tmp_path, monkeypatch):
    """The folders where processes meet lie where a test sees them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


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
    assert not list(tmp_path.glob("sbert-ranks-*"))
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
    assert not list(tmp_path.glob("sbert-ranks-*"))
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
