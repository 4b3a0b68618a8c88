"""Dev scores, the loss curve and its stop at NaN, checkpoint files, best weights."""

import errno
import math
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr
from torch import nn

from sbert_repro.data.tokens import TokenColumn
from sbert_repro.errors import Diverged, UserError
from sbert_repro.training.callbacks import DevSet, LossCurve
from sbert_repro.training.checkpoints import LAST, AtomicCheckpointIO, BestWeights
from sbert_repro.training.fit import fit
from sbert_repro.training.looks import is_look
from sbert_repro.training.module import SiameseModule

TABLE = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")


def column(rows):
    lengths = [len(row) for row in rows]
    return TokenColumn(np.concatenate(rows).astype(np.int32), np.cumsum([0, *lengths]), 0, 0)


def rows(count, seed):
    generator = np.random.default_rng(seed)
    return [generator.integers(1, 50, generator.integers(1, 12)) for _ in range(count)]


def embed(tokens):
    """A bag of word pieces, which padding must not enter."""
    return (TABLE[tokens.ids] * tokens.mask.unsqueeze(-1)).sum(1)


def by_hand(texts):
    return np.stack([TABLE[torch.from_numpy(row)].sum(0).numpy() for row in texts])


@pytest.mark.parametrize("count", [5, 150])
def test_scored_pairs_give_spearman_of_the_cosine(count):
    texts, gold = [rows(count, 1), rows(count, 2)], np.random.default_rng(3).uniform(0, 5, count)
    u, v = map(by_hand, texts)
    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    dev = DevSet([column(t) for t in texts], gold, pad_id=0)
    assert dev.metric == "spearman"
    assert dev.score(embed, CPU) == pytest.approx(100 * spearmanr(cosine, gold).statistic)


def test_triplets_give_the_share_whose_positive_is_closer():
    texts = [rows(40, seed) for seed in (1, 2, 3)]
    a, p, n = map(by_hand, texts)
    closer = ((a - p) ** 2).sum(1) < ((a - n) ** 2).sum(1)
    dev = DevSet([column(t) for t in texts], None, pad_id=0)
    assert dev.metric == "accuracy"
    assert dev.score(embed, CPU) == pytest.approx(100 * closer.mean())
    same = DevSet([column(texts[0])] * 3, None, pad_id=0)
    assert same.score(embed, CPU) == 0, "a tie is not closer"


def test_vectors_all_alike_give_no_number():
    dev = DevSet([column(rows(9, 1)), column(rows(9, 2))], np.arange(9.0), pad_id=0)
    assert np.isnan(dev.score(lambda tokens: torch.ones(len(tokens.ids), 4), CPU))


def filled(values):
    curve = LossCurve("lower the rate")
    for step, value in enumerate(values):
        curve.add(torch.tensor(value), torch.tensor(1.0), torch.tensor([step, step + 100]))
    return curve


def test_values_are_fetched_in_groups_and_kept_in_order():
    curve = filled([1.0, 3.0])
    assert curve.values == []
    assert curve.fetch() == 2.0
    curve.add(torch.tensor(5.0), torch.tensor(1.0), torch.tensor([0]))
    assert curve.fetch() == 5.0
    assert curve.values == [1.0, 3.0, 5.0]
    assert math.isnan(curve.fetch())


def test_ends_are_means_of_a_tenth():
    curve = filled([float(i) for i in range(40)])
    curve.fetch()
    assert curve.ends() == (1.5, 37.5)
    assert all(math.isnan(end) for end in LossCurve().ends())


def test_a_thinned_curve_keeps_every_step_once():
    curve = LossCurve()
    curve.values = [float(step) for step in range(1, 251)]
    points = curve.thinned(100)
    assert len(points) == 100 and points[-1][0] == 250
    starts = [0, *(step for step, _ in points)]
    total = sum(mean * (end - start) for start, (end, mean) in zip(starts, points, strict=False))
    assert total == pytest.approx(sum(curve.values))
    assert LossCurve().thinned() == []
    curve.values = [2.0, 4.0]
    assert curve.thinned(100) == [(1, 2.0), (2, 4.0)]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_first_bad_step_is_named_with_its_rows(bad):
    curve = filled([1.0, bad, bad, 1.0])
    with pytest.raises(
        UserError, match=rf"loss is {bad} at step 2 \(rows 1, 101\); nothing .* it: lower"
    ):
        curve.fetch()


def test_many_rows_are_cut_short():
    curve = LossCurve()
    curve.add(torch.tensor(math.nan), torch.tensor(1.0), torch.arange(64))
    with pytest.raises(UserError, match=r"13, 14, 15 …\)"):
        curve.fetch()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_finite_loss_with_a_gradient_that_is_none_is_named_too(bad):
    curve = filled([1.0, 2.0])
    curve.add(torch.tensor(3.0), torch.tensor(bad), torch.tensor([7, 8]))
    curve.add(torch.tensor(math.nan), torch.tensor(math.nan), torch.tensor([9]))
    curve.last_good = "the last good checkpoint is that of step 2"
    with pytest.raises(
        Diverged,
        match=rf"norm of the gradients is {bad} at step 3 \(rows 7, 8\); .* step 2: lower",
    ):
        curve.fetch()


def test_weights_that_are_no_numbers_are_refused():
    curve = filled([1.0])
    curve.fetch()
    curve.check_weights([torch.ones(3), torch.zeros(2, 2)], torch.tensor([4]))
    with pytest.raises(Diverged, match=r"norm of the weights is nan at step 1 \(rows 4\)"):
        curve.check_weights([torch.ones(3), torch.tensor([0.0, math.nan])], torch.tensor([4]))


def test_a_checkpoint_survives_a_round_trip(tmp_path):
    content = {"weights": torch.arange(3), "step": 7, "best": None}
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "new" / "last.ckpt")
    found = AtomicCheckpointIO().load_checkpoint(tmp_path / "new" / "last.ckpt")
    assert torch.equal(found["weights"], content["weights"])
    assert (found["step"], found["best"]) == (7, None)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, path)

    def save(content, place):
        place.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.save", save)
    with pytest.raises(UserError, match=r"last\.ckpt: cannot be written: no space left"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, path)
    monkeypatch.undo()
    assert AtomicCheckpointIO().load_checkpoint(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps(Evil())])
def test_damaged_or_foreign_files_are_refused_in_one_line(tmp_path, content, capsys):
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"last\.ckpt: not a readable checkpoint"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    assert capsys.readouterr().out == "", "nothing in it was run"


def test_best_weights_of_a_step_come_back_and_others_go(tmp_path):
    best, module = BestWeights(tmp_path), nn.Linear(2, 2)
    best.save(module, 4)
    kept = module.weight.detach().clone()
    nn.init.zeros_(module.weight)
    best.save(module, 8)
    best.restore(module, 4)
    assert torch.equal(module.weight, kept)
    best.delete_others(8)
    assert [p.name for p in tmp_path.iterdir()] == ["best-8.safetensors"]
    with pytest.raises(UserError, match=r"best-4\.safetensors: no readable weights"):
        best.restore(module, 4)


def test_a_loss_that_is_no_number_stops_with_step_and_rows(config_of, tmp_path, monkeypatch):
    whole = SiameseModule.training_step

    def step(self, batch, index):
        loss = whole(self, batch, index)
        return loss * float("nan") if index == 6 else loss

    monkeypatch.setattr(SiameseModule, "training_step", step)
    with pytest.raises(UserError, match=r"loss is nan at step 7 \(rows \d+, \d+, \d+, \d+\)"):
        fit(config_of("loss=regression"), tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "checkpoints" / LAST, weights_only=True)
    assert saved["global_step"] == 5, "nothing was saved after it"
    assert not (tmp_path / "run" / "model").exists()


@pytest.mark.parametrize(
    ("bad", "saved_at", "largest"), [(5, None, "1.0"), (7, 5, "null"), (9, 5, "1.0")]
)
def test_a_gradient_that_is_no_number_stops_before_anything_is_saved(
    config_of, tmp_path, monkeypatch, bad, saved_at, largest
):
    """Steps 4, 8 and 12 are looked at, 5 and 10 saved; the loss of a bad step is finite."""
    whole = SiameseModule.configure_gradient_clipping

    def clip(self, optimizer, *rest, **more):
        if self.trainer.global_step == bad - 1:
            self.backbone.model.embeddings.word_embeddings.weight.grad[7, 3] = float("inf")
        whole(self, optimizer, *rest, **more)

    monkeypatch.setattr(SiameseModule, "configure_gradient_clipping", clip)
    config = config_of("loss=regression", f"trainer.max_grad_norm={largest}")
    before = "nothing had been saved" if saved_at is None else "good checkpoint is that of step 5"
    said = rf"norm of the gradients is inf at step {bad} \(rows \d+, \d+, \d+, \d+\).*{before}"
    with pytest.raises(Diverged, match=said):
        fit(config, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    assert (folder / LAST).exists() == (saved_at is not None)
    for path in folder.glob("best-*.safetensors"):
        assert int(path.stem.removeprefix("best-")) < bad
        assert all(w.isfinite().all() for w in load_file(path).values())
    if saved_at is not None:
        saved = torch.load(folder / LAST, weights_only=True)
        assert saved["global_step"] == saved_at
        assert all(w.isfinite().all() for w in saved["state_dict"].values())


def test_weights_that_are_no_numbers_are_never_saved(config_of, tmp_path, monkeypatch):
    """Finite gradients and a rate that is too large; the last step has nothing after it."""
    whole = SiameseModule.configure_gradient_clipping

    def clip(self, optimizer, *rest, **more):
        whole(self, optimizer, *rest, **more)
        if self.trainer.global_step == 9:
            optimizer.param_groups[0]["lr"] = float("inf")

    monkeypatch.setattr(SiameseModule, "configure_gradient_clipping", clip)
    with pytest.raises(Diverged, match=r"norm of the weights is (nan|inf) at step 10 .* step 5:"):
        fit(config_of("loss=regression"), tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "checkpoints" / LAST, weights_only=True)
    assert saved["global_step"] == 5


def test_looks_are_counted_from_each_epochs_start():
    assert [s for s in range(1, 1441) if is_look(s, 360, 1000)] == [360, 720, 1080, 1440]
    assert [s for s in range(1, 3001) if is_look(s, 2500, 1000)] == [1000, 2000, 2500]
    assert [s for s in range(1, 7) if is_look(s, 3, None)] == [3, 6]
