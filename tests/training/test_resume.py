"""Killed at any point, the same call ends with the same bits as an undisturbed run."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from sbert_repro.errors import UserError
from sbert_repro.training import fit as fitting
from sbert_repro.training.checkpoints import BestWeights
from sbert_repro.training.fit import fit
from sbert_repro.training.watch import Watch


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it, nothing is written after it."""


def outcome(folder, result):
    files = ("model.safetensors", "head.safetensors")
    return [(folder / "model" / f).read_bytes() for f in files], result.scores, result.notes


@pytest.fixture
def undisturbed(config_of, tmp_path):
    def run(*more):
        folder = tmp_path / "undisturbed"
        return outcome(folder, fit(config_of("loss=classification", *more), folder))

    return run


def die_after(monkeypatch, step):
    whole = Watch.on_train_batch_end

    def hook(self, trainer, *rest):
        whole(self, trainer, *rest)
        if trainer.global_step == step:
            raise Killed

    monkeypatch.setattr(Watch, "on_train_batch_end", hook)


# 12 steps, epochs end at 6 and 12, looks at 4, 6, 8, 12, saves at 5, 10, 12.
@pytest.mark.parametrize("checkpoint", ["best_dev", "last"])
@pytest.mark.parametrize("step", [1, 5, 6, 7, 10, 12])
def test_killed_after_a_step(config_of, tmp_path, monkeypatch, undisturbed, step, checkpoint):
    expected = undisturbed(f"checkpoint={checkpoint}")
    config = config_of("loss=classification", f"checkpoint={checkpoint}")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_after(patch, step)
        fit(config, tmp_path / "killed")
    assert outcome(tmp_path / "killed", fit(config, tmp_path / "killed")) == expected


def test_killed_again_and_again(config_of, tmp_path, monkeypatch, undisturbed):
    expected = undisturbed()
    config = config_of("loss=classification", "trainer.save_every=1")
    for step in (2, 3, 6, 11, 12):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            die_after(patch, step)
            fit(config, tmp_path / "killed")
    assert outcome(tmp_path / "killed", fit(config, tmp_path / "killed")) == expected


@pytest.mark.parametrize("step", [4, 6, 8, 12])
def test_killed_between_a_better_score_and_its_checkpoint(
    config_of, tmp_path, monkeypatch, undisturbed, step
):
    expected = undisturbed()
    config = config_of("loss=classification")

    def keep(self, module, at, whole=BestWeights.keep):
        whole(self, module, at)
        if at >= step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(BestWeights, "keep", keep)
        try:
            fit(config, tmp_path / "killed")
        except Killed:
            pass
    assert outcome(tmp_path / "killed", fit(config, tmp_path / "killed")) == expected


@pytest.mark.parametrize("name", ["save_model", "_scores"])
def test_killed_after_the_last_step(config_of, tmp_path, monkeypatch, undisturbed, name):
    expected = undisturbed()
    config = config_of("loss=classification")

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(fitting, name, die)
        fit(config, tmp_path / "killed")
    assert outcome(tmp_path / "killed", fit(config, tmp_path / "killed")) == expected


def test_seeds_differ(config_of, tmp_path, undisturbed):
    other = fit(config_of("loss=classification", "seed=2"), tmp_path / "other")
    assert outcome(tmp_path / "other", other)[0] != undisturbed()[0]


def test_a_damaged_checkpoint_says_which_file_to_delete(config_of, tmp_path, monkeypatch):
    config, last = config_of("loss=regression"), tmp_path / "run" / "checkpoints" / "last.ckpt"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        die_after(patch, 7)
        fit(config, tmp_path / "run")
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(UserError, match=f"{last}: not a readable checkpoint"):
        fit(config, tmp_path / "run")


PROGRAM = """
    import os, signal, sys
    from pathlib import Path
    from sbert_repro.compose import compose
    from sbert_repro.training.fit import fit
    from sbert_repro.training.watch import Watch
    import torch
    torch.set_num_threads(1)
    whole, number = Watch.on_train_batch_end, getattr(signal, sys.argv[1])
    def hook(self, trainer, *rest):
        if trainer.global_step == 7:
            os.kill(os.getpid(), number)
        whole(self, trainer, *rest)
    Watch.on_train_batch_end = hook
    fit(compose(sys.argv[3:]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("name", "ends"), [("SIGKILL", (-signal.SIGKILL, 5)), ("SIGTERM", (143, 7))]
)
def test_a_signal_to_the_process(overrides, config_of, tmp_path, undisturbed, name, ends):
    status, saved_at = ends
    options, folder = overrides("loss=classification"), tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), name, str(folder), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == saved_at, "a polite signal saves first"
    expected = undisturbed()
    assert outcome(folder, fit(config_of("loss=classification"), folder)) == expected
