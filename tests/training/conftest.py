"""A data root of a few made-up rows, and options small enough to train in a second."""

import numpy as np
import pandas as pd
import pytest
import torch

from sbert_repro.compose import compose
from sbert_repro.training.callbacks import DevAndCheckpoint
from sbert_repro.training.fit import fit
from sbert_repro.training.optimizers import ShrinkingRate

WORDS = "a the man woman dog cat plays runs eats sings red green big small outside no".split()
LABELS = ["contradiction", "entailment", "neutral"]


def sentences(count, seed):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 9, count)
    return [" ".join(generator.choice(WORDS, n)) for n in lengths]


def rows(count, seed):
    generator = np.random.default_rng(seed)
    return {
        "sentence1": sentences(count, seed + 1),
        "sentence2": sentences(count, seed + 2),
        "score": generator.uniform(0, 5, count).round(2),
    }


@pytest.fixture(scope="session")
def small_root(tmp_path_factory):
    """22 training rows: with batches of 4, an epoch of 6 steps whose last batch is smaller."""
    root = tmp_path_factory.mktemp("data")
    (root / "stsb").mkdir()
    (root / "nli").mkdir()
    for split, count in (("train", 22), ("dev", 12)):
        pd.DataFrame(rows(count, count)).to_parquet(root / "stsb" / f"{split}.parquet")
    pairs = {"premise": sentences(22, 5), "hypothesis": sentences(22, 6)}
    pairs |= {"label": [LABELS[i % 3] for i in range(22)], "source": ["snli"] * 22}
    pd.DataFrame(pairs).to_parquet(root / "nli" / "train.parquet")
    return root


class Killed(BaseException):
    """Stands for the end of the process: nobody catches it, nothing is written after it."""


def at_step(monkeypatch, step, action, before=False):
    """Call a function right after (or before) the callback has done its work at a step."""
    whole = DevAndCheckpoint.on_train_batch_end

    def hook(self, trainer, *rest):
        if before and trainer.global_step == step:
            action()
        whole(self, trainer, *rest)
        if not before and trainer.global_step == step:
            action()

    monkeypatch.setattr(DevAndCheckpoint, "on_train_batch_end", hook)


def die():
    raise Killed


@pytest.fixture
def killed(monkeypatch):
    """A function that fits until it is killed after a step."""

    def run(config, folder, step):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            at_step(patch, step, die)
            fit(config, folder)

    return run


def outcome(folder, result):
    """Everything a run ends with: the bytes of its weights, its scores, its facts."""
    files = sorted((folder / "model").glob("*.safetensors"))
    assert len(files) == 2, "backbone and head"
    return [f.read_bytes() for f in files], result.scores, result.facts, result.steps


@pytest.fixture(scope="session")
def token_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def overrides(tiny_bert, small_root, token_cache, tmp_path):
    """Overrides of a run of 12 steps that scores dev every 4 and saves every 5."""

    def of(*more, results="results"):
        return [
            "encoder=transformer",
            f"encoder.path={tiny_bert}",
            f"paths.data={small_root}",
            f"paths.models={tmp_path}",
            f"paths.results={tmp_path / results}",
            f"paths.cache={token_cache}",
            "data.allow_partial=true",
            "trainer.batch_size=4",
            "trainer.epochs=2",
            "trainer.evaluate_every=4",
            "trainer.save_every=5",
            "trainer.accelerator=cpu",
            "optimizer.lr=1e-3",
            *more,
        ]

    return of


@pytest.fixture(scope="session")
def word_file(tmp_path_factory):
    values = np.random.default_rng(0).normal(size=(len(WORDS), 6)).round(3)
    lines = [" ".join([word, *map(str, row)]) for word, row in zip(WORDS, values, strict=True)]
    path = tmp_path_factory.mktemp("words") / "small.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def infersent(small_root, word_file, tmp_path):
    """Overrides of a run of 3 epochs of 6 steps; dev pairs are the training pairs."""
    root = tmp_path / "data"
    (root / "nli").mkdir(parents=True)
    frame = pd.read_parquet(small_root / "nli" / "train.parquet")
    for split in ("train", "dev"):
        frame.to_parquet(root / "nli" / f"{split}.parquet")

    def of(*more, results="results"):
        return [
            "experiment=infersent",
            f"encoder.path={word_file}",
            "encoder.hidden=4",
            "loss.fc_dim=5",
            f"paths.data={root}",
            f"paths.results={tmp_path / results}",
            f"paths.cache={tmp_path / 'cache'}",
            "data.allow_partial=true",
            "trainer.batch_size=4",
            "trainer.epochs=3",
            "trainer.save_every=5",
            "trainer.accelerator=cpu",
            *more,
        ]

    return of


@pytest.fixture
def hopeless(infersent, monkeypatch):
    """The same, where every dev score after the first is worse and the first division ends it."""
    end_epoch = ShrinkingRate.end_epoch
    monkeypatch.setattr(
        ShrinkingRate, "end_epoch", lambda self, score: end_epoch(self, -float(self.last_epoch))
    )
    return infersent("optimizer.min_lr=0.05")


@pytest.fixture
def config_of(overrides):
    return lambda *more, **where: compose(overrides(*more, **where))


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in another order would not be equal to the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
