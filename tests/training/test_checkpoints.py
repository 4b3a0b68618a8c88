"""Checkpoint files: whole or not there, and never unpickled code."""

import errno
import pickle

import pytest
import torch
from torch import nn

from sbert_repro.errors import UserError
from sbert_repro.training.checkpoints import BestWeights, WholeFiles


def test_round_trip(tmp_path):
    content = {"weights": torch.arange(3), "step": 7, "best": None}
    WholeFiles().save_checkpoint(content, tmp_path / "new" / "last.ckpt")
    found = WholeFiles().load_checkpoint(tmp_path / "new" / "last.ckpt")
    assert torch.equal(found["weights"], content["weights"])
    assert (found["step"], found["best"]) == (7, None)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"step": 1}, path)

    def save(content, place):
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.save", save)
    with pytest.raises(UserError, match=r"last\.ckpt: no space left"):
        WholeFiles().save_checkpoint({"step": 2}, path)
    monkeypatch.undo()
    assert WholeFiles().load_checkpoint(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps(Evil())])
def test_damaged_or_foreign_files_are_refused_in_one_line(tmp_path, content, capsys):
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"last\.ckpt: not a readable checkpoint"):
        WholeFiles().load_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    assert capsys.readouterr().out == "", "nothing in it was run"


def test_best_weights_of_a_step_come_back_and_others_go(tmp_path):
    best, module = BestWeights(tmp_path), nn.Linear(2, 2)
    best.keep(module, 4)
    kept = module.weight.detach().clone()
    nn.init.zeros_(module.weight)
    best.keep(module, 8)
    best.restore(module, 4)
    assert torch.equal(module.weight, kept)
    best.forget_others(8)
    assert [p.name for p in tmp_path.iterdir()] == ["best-8.safetensors"]
    with pytest.raises(UserError, match=r"best-4\.safetensors: no readable weights"):
        best.restore(module, 4)
