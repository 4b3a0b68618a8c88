"""Lightning keeps and loads the stream's place by itself; its module docstring rests on this."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from sbert_repro.batch import Batch
from sbert_repro.data.batching import BatchStream
from sbert_repro.data.tokens import TokenColumn

ROWS, BATCH, EPOCHS = 11, 4, 2


class Watched(BatchStream):
    """Writes down what Lightning does with it."""

    calls: list[str]

    def set_epoch(self, epoch: int) -> None:
        self.calls.append(f"set_epoch({epoch})")
        super().set_epoch(epoch)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.calls.append("load_state_dict")
        super().load_state_dict(state)


class Follows(LightningModule):
    """One weight that depends on every batch and on their order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, list[int]]] = []

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch.rows.tolist()))
        return ((self.weight - batch.rows.float().mean()) ** 2).sum()

    def validation_step(self, batch: Batch, _: int) -> None:
        assert batch.rows.tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def stream(*, shuffle: bool = True) -> Watched:
    column = TokenColumn(np.arange(ROWS, dtype=np.int32), np.arange(ROWS + 1), 0, 0)
    made = Watched([column], None, batch_size=BATCH, seed=7, shuffle=shuffle)
    made.calls = []
    return made


def fit(
    folder: Path, options: dict[str, Any], resume: Path | None = None
) -> tuple[Follows, Watched]:
    module, batches = Follows(), stream()
    keep = ModelCheckpoint(
        folder, "{step}", every_n_train_steps=1, save_top_k=-1, save_on_train_epoch_end=False
    )
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        callbacks=[keep],
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(module, batches, stream(shuffle=False), ckpt_path=resume)
    return module, batches


@pytest.mark.parametrize(
    "options",
    [
        {"limit_val_batches": 0},
        {"val_check_interval": 2},
        {"val_check_interval": 2, "check_val_every_n_epoch": None},
        {"limit_train_batches": 2},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_resumed_after_any_step_it_trains_on_the_same_batches(
    options: dict[str, Any], tmp_path: Path
) -> None:
    whole, _ = fit(tmp_path / "whole", options)
    checkpoints = sorted((tmp_path / "whole").glob("*.ckpt"))
    assert len(checkpoints) == len(whole.seen)
    for checkpoint in checkpoints:
        step = int(checkpoint.stem.removeprefix("step="))
        resumed, batches = fit(tmp_path / "resumed", options, checkpoint)
        assert resumed.seen == whole.seen[step:], f"after step {step}"
        assert torch.equal(resumed.weight, whole.weight)
        assert "load_state_dict" in batches.calls


@pytest.mark.filterwarnings("ignore")
def test_each_epoch_is_announced_and_has_its_own_order(tmp_path: Path) -> None:
    module, batches = fit(tmp_path, {"limit_val_batches": 0})
    assert {"set_epoch(0)", "set_epoch(1)"} <= set(batches.calls)
    epochs = [[rows for epoch, rows in module.seen if epoch == wanted] for wanted in range(EPOCHS)]
    assert epochs[0] != epochs[1]
    for epoch in epochs:
        assert sorted(chain.from_iterable(epoch)) == list(range(ROWS))
