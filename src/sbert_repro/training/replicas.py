"""Lightning's part in a run over several processes: DDP, without its way to begin and end them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.strategies import DDPStrategy

from sbert_repro.backbone.transformer import LAYERS
from sbert_repro.training.distributed import PATIENCE, check_replicas, rank
from sbert_repro.training.start import Backbone


class Place(LightningEnvironment):
    """Tells Lightning which process this is; variables of a cluster say nothing about it."""

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning begins none."""
        return True

    def local_rank(self) -> int:
        """Give the number of this process.

        Returns:
            int: From 0; also the number of its GPU.
        """
        return rank()

    def node_rank(self) -> int:
        """Give the number of the machine.

        Returns:
            int: There is one.
        """
        return 0


def _leaves_some_out(backbone: Backbone) -> bool:
    pooler = any(name.startswith("model.pooler.") for name, _ in backbone.named_parameters())
    return pooler or (backbone.layer in LAYERS and LAYERS[backbone.layer][-1] != -1)


class Replicas(DDPStrategy):
    """Lightning's DDP among processes that `sbert_repro.training.processes` has begun."""

    def __init__(self, backbone: Backbone) -> None:
        """Choose how gradients are brought together.

        Args:
            backbone: What is trained; it may hold weights that its states do not depend on.
        """
        # All begin with equal weights, which is checked; and nothing but weights changes. Buffers
        # would cost: the word vectors of a BiLSTM are 2 GB, mapped from the disk for reading.
        super().__init__(
            find_unused_parameters=_leaves_some_out(backbone),
            broadcast_buffers=False,
            init_sync=False,
            timeout=PATIENCE,
        )

    def _configure_launcher(self) -> None:
        """Begin no processes: Lightning would run the command line once more in each."""


def _nothing() -> None:
    pass


class Together(Callback):
    """What the processes of a run agree on before the first step."""

    def setup(self, trainer: Trainer, module: Any, stage: str) -> None:
        """Take the end of a run (SIGTERM) into our own hands.

        Lightning's handler speaks to the others in the midst of whatever they are saying, and its
        question before each step makes a GPU wait; `asked_to_end` asks in its place.

        Args:
            trainer: Lightning's trainer.
            module: The module.
            stage: Not used.
        """
        signals = trainer._signal_connector
        signals.register_signal_handlers = _nothing  # type: ignore[method-assign]
        loop = trainer.fit_loop.epoch_loop
        loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        """Check that all hold the same weights, and let each draw its own dropout.

        Args:
            trainer: Lightning's trainer.
            module: The module; it puts the draws of a checkpoint back after this.
        """
        check_replicas(module)
        if rank():
            # Not seed + rank, which would be what the next seed's first process draws.
            mixed = np.random.SeedSequence([torch.initial_seed(), rank()]).generate_state(2)
            torch.manual_seed(int(mixed[0]) << 31 | int(mixed[1]))

    def on_save_checkpoint(self, trainer: Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """Check that all hold the same weights before they are written.

        Args:
            trainer: Lightning's trainer.
            module: The module.
            checkpoint: What is saved.
        """
        check_replicas(module)
