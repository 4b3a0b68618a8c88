"""The one LightningModule: every objective, pooling and optimizer trains through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sbert_repro.batch import Batch, Tokens
from sbert_repro.losses.objective import Objective
from sbert_repro.training.distributed import mine, of_every_rank
from sbert_repro.training.start import Backbone

Drive = Callable[[nn.Module], tuple[Optimizer, LRScheduler]]


class SiameseModule(LightningModule):
    """Backbone, pooling and objective as Figure 1 puts them together, with tied weights.

    All sentences of a batch go through the backbone in one pass; the objective sees vectors only.

    Attributes:
        gradient_norm: Norm of all gradients of the last step together, before they were clipped; a
            scalar on the module's device, 0 before the first step.
    """

    gradient_norm: Tensor

    def __init__(
        self,
        backbone: Backbone,
        pooling: nn.Module,
        loss: Objective,
        drive: Drive,
        max_grad_norm: float | None = 1.0,
    ) -> None:
        """Put the parts together.

        Args:
            backbone: Gives token states.
            pooling: Gives one vector a sentence.
            loss: The objective; its parameters are trained too.
            drive: Makes optimizer and learning-rate schedule for this module.
            max_grad_norm: Largest norm of all gradients together; ``None`` clips nothing.
        """
        super().__init__()
        self.backbone, self.pooling, self.loss = backbone, pooling, loss
        self._drive, self._max_grad_norm = drive, max_grad_norm
        self._random: dict[str, Tensor] | None = None
        self.gradient_norm = torch.zeros(())
        self.train()  # a loaded backbone is in evaluation mode, which means without dropout

    def embed(self, tokens: Tokens) -> Tensor:
        """Give a vector for each sentence.

        Args:
            tokens: ``N`` sentences.

        Returns:
            Tensor: ``[N, D]``, float32.
        """
        vectors: Tensor = self.pooling(self.backbone(tokens), tokens.mask)
        return vectors

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Give the loss of a batch.

        Args:
            batch: ``B`` examples.
            index: Number of the batch.

        Returns:
            Tensor: A scalar; times the batch's weight where several processes share it.
        """
        vectors = batch.split(self.embed(batch.tokens))
        # The head and the cosine stay in float32 also when the backbone multiplies in bf16.
        with torch.autocast(self.device.type, enabled=False):
            loss: Tensor = self.loss(vectors, batch.target)
        return loss if batch.weight == 1.0 else loss * batch.weight

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make the optimizer over all parameters, the objective's included.

        Returns:
            OptimizerLRScheduler: Optimizer and schedule, which moves after every step.
        """
        optimizer, schedule = self._drive(self)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        """Clip the gradients of all parameters together, and keep their norm.

        Args:
            optimizer: Whose parameters.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if self._max_grad_norm is not None:
            norm = nn.utils.clip_grad_norm_(parameters, self._max_grad_norm)
        else:
            norm = nn.utils.get_total_norm(p.grad for p in parameters if p.grad is not None)
        self.gradient_norm = norm.detach()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the random numbers, so that dropout goes on where it was.

        Args:
            checkpoint: What is saved.
        """
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoint["random"], *others = of_every_rank(state)
        if others:
            checkpoint["random_of_others"] = others

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the state of the random numbers until the first batch.

        Args:
            checkpoint: What was saved.
        """
        self._random = mine([checkpoint["random"], *checkpoint.get("random_of_others", [])])

    def on_train_start(self) -> None:
        """Put the random numbers back, last of all, so that nothing draws in between."""
        if self._random is None:
            return
        torch.set_rng_state(self._random["cpu"].cpu())
        if "cuda" in self._random and self.device.type == "cuda":
            torch.cuda.set_rng_state(self._random["cuda"].cpu(), self.device)
        self._random = None
