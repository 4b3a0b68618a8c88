"""Killed at any point, the same call ends with the same bits as an undisturbed run."""

import multiprocessing
import os
import signal

import pytest
import torch

from sbert_repro.compose import compose
from sbert_repro.training import fit as fitting
from sbert_repro.training.checkpoints import LAST, BestWeights
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
