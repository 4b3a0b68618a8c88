"""Killed at any point, the same call ends with the same bits as an undisturbed run."""

import errno
import multiprocessing
import os
import signal
import threading
from types import SimpleNamespace

import pytest
import torch

from sbert_repro.compose import compose
from sbert_repro.errors import UserError
from sbert_repro.signals import Interrupted
from sbert_repro.training import callbacks
from sbert_repro.training import fit as fitting
from sbert_repro.training.callbacks import DevAndCheckpoint
from sbert_repro.training.checkpoints import LAST, AtomicCheckpointIO, BestWeights
from sbert_repro.training.fit import fit

from .conftest import Killed, at_step, die, outcome

FORK = multiprocessing.get_context("fork")
FP32 = ("loss=classification",)
# The last weights: of the best ones, the first may be kept, and all that follows is not seen.
BF16 = ("loss=classification", "trainer.precision=bf16", "checkpoint=last")
_undisturbed = {}


@pytest.fixture
def undisturbed(config_of, tmp_path):
    """What a run ends with that nobody disturbs; trained once for all tests."""

    def run(*words):
        if words not in _undisturbed:
            folder = tmp_path / "undisturbed"
            _undisturbed[words] = outcome(folder, fit(config_of(*words), folder))
        return _undisturbed[words]

    return run


# 12 steps; epochs end at 6 and 12, dev is scored at 4, 6, 8 and 12, saved is at 5, 10 and 12.
@pytest.mark.parametrize(
    ("step", "words"),
    [
        *[(step, FP32) for step in (1, 5, 6, 7, 12)],
        (10, (*FP32, "checkpoint=last")),
        (5, BF16),
        (7, BF16),
    ],
)
def test_killed_after_a_step(config_of, tmp_path, killed, undisturbed, step, words):
    config = config_of(*words)
    killed(config, tmp_path / "killed", step)
    assert outcome(tmp_path / "killed", fit(config, tmp_path / "killed")) == undisturbed(*words)


def test_killed_while_a_thread_writes(config_of, tmp_path, undisturbed):
    """The second checkpoint, of step 10, is half written, and training is at its last step."""
    config, folder = config_of(*FP32), tmp_path / "killed"
    half = FORK.Event()

    def train():
        whole, written = torch.save, []

        def save(content, path):
            written.append(content["global_step"])
            if len(written) == 1:
                return whole(content, path)
            path.write_bytes(b"half")
            half.set()
            threading.Event().wait()

        torch.save = save
        fit(config, folder)

    process = FORK.Process(target=train)
    process.start()
    assert half.wait(120)
    process.kill()
    process.join()
    assert torch.load(folder / "checkpoints" / LAST, weights_only=True)["global_step"] == 5
    assert outcome(folder, fit(config, folder)) == undisturbed(*FP32)
    assert not list((folder / "checkpoints").glob(".*")), "nothing half-written is left"


def test_what_a_thread_writes_is_what_was_there(config_of, tmp_path, monkeypatch, undisturbed):
    """Training goes on for a step before a byte of the checkpoint of step 5 is written."""
    config, whole, went_on = config_of(*FP32), torch.save, threading.Event()

    def save(content, path):
        assert content["global_step"] != 5 or went_on.wait(60), "training waited for the write"
        whole(content, path)

    monkeypatch.setattr(torch, "save", save)
    with monkeypatch.context() as patch:
        at_step(patch, 6, went_on.set)
        at_step(patch, 7, die)
        with pytest.raises(Killed):
            fit(config, tmp_path / "killed")
    saved = torch.load(tmp_path / "killed" / "checkpoints" / LAST, weights_only=True)
    assert saved["global_step"] == 5
    assert outcome(tmp_path / "killed", fit(config, tmp_path / "killed")) == undisturbed(*FP32)


def test_a_write_that_fails_ends_the_run_in_one_line(config_of, tmp_path, monkeypatch):
    def save(content, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(UserError, match=r"last\.ckpt: cannot be written: no space left"):
        fit(config_of(*FP32), tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize(
    ("words", "saved"),
    [
        (("trainer.save_every=null", "trainer.save_minutes=2"), [2, 4, 6, 8, 10, 12]),
        (("trainer.save_every=5", "trainer.save_minutes=4"), [4, 5, 9, 10, 12]),
        (("trainer.save_every=5", "trainer.save_minutes=null"), [5, 10, 12]),
        (("trainer.save_every=null", "trainer.save_minutes=60"), [12]),
    ],
)
def test_checkpoints_are_made_by_minutes_and_by_steps(
    config_of, tmp_path, monkeypatch, undisturbed, words, saved
):
    """On a clock by which every step takes a minute."""
    steps, clock = [], [0.0]
    whole = DevAndCheckpoint.on_train_batch_end

    def hook(self, trainer, *rest):
        clock[0] += 60.0
        whole(self, trainer, *rest)

    monkeypatch.setattr(DevAndCheckpoint, "on_train_batch_end", hook)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    write = AtomicCheckpointIO.save_checkpoint

    def save(self, content, path, **options):
        steps.append(content["global_step"])
        write(self, content, path, **options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", save)
    result = fit(config_of(*FP32, *words), tmp_path / "run")
    assert steps == saved
    assert outcome(tmp_path / "run", result) == undisturbed(*FP32)


def test_killed_again_and_again(config_of, tmp_path, killed, undisturbed):
    config = config_of(*FP32, "trainer.save_every=1")
    for step in (2, 3, 6, 11, 12):
        killed(config, tmp_path / "killed", step)
    assert outcome(tmp_path / "killed", fit(config, tmp_path / "killed")) == undisturbed(*FP32)


@pytest.mark.parametrize("step", [4, 8, 12])
def test_killed_between_a_better_score_and_its_checkpoint(
    config_of, tmp_path, monkeypatch, undisturbed, step
):
    config = config_of(*FP32)

    def save(self, module, at, whole=BestWeights.save):
        whole(self, module, at)
        if at >= step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(BestWeights, "save", save)
        try:
            fit(config, tmp_path / "killed")
        except Killed:
            pass
    assert outcome(tmp_path / "killed", fit(config, tmp_path / "killed")) == undisturbed(*FP32)


@pytest.mark.parametrize("name", ["save_model", "_scores"])
def test_killed_after_the_last_step(config_of, tmp_path, monkeypatch, undisturbed, name):
    config = config_of(*FP32)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(fitting, name, lambda *_: die())
        fit(config, tmp_path / "killed")
    assert outcome(tmp_path / "killed", fit(config, tmp_path / "killed")) == undisturbed(*FP32)


# 18 steps; epochs end and dev is scored at 6, 12 and 18, saved is at 5, 10, 15 and 18.
@pytest.mark.parametrize("step", [1, 6, 12, 18])
def test_a_rate_that_depends_on_the_dev_score_resumes_too(infersent, tmp_path, killed, step):
    config, folder = compose(infersent()), tmp_path / "killed"
    if "sgd" not in _undisturbed:
        _undisturbed["sgd"] = outcome(tmp_path / "whole", fit(config, tmp_path / "whole"))
    killed(config, folder, step)
    assert outcome(folder, fit(config, folder)) == _undisturbed["sgd"]


@pytest.mark.parametrize("step", [7, 12])
def test_a_run_that_its_rate_ended_ends_there_again(hopeless, tmp_path, killed, step):
    config = compose(hopeless)
    whole = outcome(tmp_path / "whole", fit(config, tmp_path / "whole"))
    assert whole[-1] == 12, "steps: after the second of three epochs"
    killed(config, tmp_path / "killed", step)
    assert outcome(tmp_path / "killed", fit(config, tmp_path / "killed")) == whole


def test_seeds_differ(config_of, tmp_path, undisturbed):
    other = fit(config_of(*FP32, "seed=2"), tmp_path / "other")
    assert outcome(tmp_path / "other", other)[0] != undisturbed(*FP32)[0]


def without(*names):
    """A checkpoint without an entry, written as Lightning writes it."""

    def damage(path):
        content = torch.load(path, weights_only=True)
        inner = content
        for name in names[:-1]:
            inner = inner[name]
        del inner[names[-1]]
        torch.save(content, path)

    return damage


def flipped(path):
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "empty": lambda path: path.write_bytes(b""),
    "one bit": flipped,
    "no optimizer state": without("optimizer_states"),
    "no moments": without("optimizer_states", 0, "state", 0),
    "a weight short": without("state_dict", "backbone.model.embeddings.word_embeddings.weight"),
    "no random state": without("random_states"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_run_starts_over(
    config_of, tmp_path, killed, undisturbed, caplog, damage
):
    config, last = config_of(*FP32), tmp_path / "run" / "checkpoints" / LAST
    killed(config, tmp_path / "run", 7)
    DAMAGES[damage](last)
    assert outcome(tmp_path / "run", fit(config, tmp_path / "run")) == undisturbed(*FP32)
    assert f"{last}: not a readable checkpoint" in caplog.text
    assert f"set aside as {last}.broken; this run starts over" in caplog.text


def test_so_it_is_when_the_best_weights_that_a_checkpoint_counts_on_are_damaged(
    config_of, tmp_path, killed, undisturbed, caplog
):
    config = config_of(*FP32)
    killed(config, tmp_path / "run", 7)
    (best,) = (tmp_path / "run" / "checkpoints").glob("best-*.safetensors")
    flipped(best)
    assert outcome(tmp_path / "run", fit(config, tmp_path / "run")) == undisturbed(*FP32)
    assert "no readable weights" in caplog.text and "this run starts over" in caplog.text


# SIGKILL at any moment, of whole commands: test_kill.py.
def test_a_polite_signal_saves_first(config_of, tmp_path, monkeypatch, undisturbed):
    config, folder = config_of(*FP32), tmp_path / "killed"

    def told_to_end():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        at_step(monkeypatch, 7, lambda: os.kill(os.getpid(), signal.SIGTERM), before=True)
        fit(config, folder)

    process = FORK.Process(target=told_to_end)
    process.start()
    process.join(120)
    assert process.exitcode == 143
    assert torch.load(folder / "checkpoints" / LAST, weights_only=True)["global_step"] == 7
    assert outcome(folder, fit(config, folder)) == undisturbed(*FP32)


@pytest.mark.parametrize(("step", "saved_at"), [(3, 0), (7, 5)])
def test_ctrl_c_says_at_which_step_the_training_goes_on(
    config_of, tmp_path, monkeypatch, step, saved_at
):
    handler = signal.getsignal(signal.SIGINT)
    at_step(monkeypatch, step, lambda: signal.raise_signal(signal.SIGINT))
    try:
        with pytest.raises(Interrupted) as stopped:
            fit(config_of(*FP32), tmp_path / "run")
        assert (stopped.value.step, stopped.value.steps) == (saved_at, 12)
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores the signal from then on
