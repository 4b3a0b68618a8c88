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
from sbert_repro.errors import UserError
from sbert_repro.losses.objective import Objective
from sbert_repro.training.devices import seed_dropout
from sbert_repro.training.pretrained import Backbone

BuildOptimizer = Callable[[nn.Module], tuple[Optimizer, LRScheduler]]


class SiameseModule(LightningModule):
    """Backbone, pooling and objective as in Figure 1, with tied weights.

    All sentences of a batch go through the backbone in one pass; the objective sees vectors only.

    Attributes:
        gradient_norm: Norm of all gradients of the last step together, before clipping; a scalar on
            the module's device, 0 before the first step.

    Args:
        backbone: Returns token states.
        pooling: Returns one vector per sentence.
        loss: The objective; its parameters are trained too.
        build_optimizer: Builds the optimizer and the learning rate schedule for this module.
        max_grad_norm: Maximum norm of all gradients together; ``None`` clips nothing.
    """

    gradient_norm: Tensor

    def __init__(
        self,
        backbone: Backbone,
        pooling: nn.Module,
        loss: Objective,
        build_optimizer: BuildOptimizer,
        max_grad_norm: float | None = 1.0,
    ) -> None:
        super().__init__()
        self.backbone, self.pooling, self.loss = backbone, pooling, loss
        self._build_optimizer, self._max_grad_norm = build_optimizer, max_grad_norm
        self._random_state: dict[str, Tensor] | None = None
        self.gradient_norm = torch.zeros(())
        self.train()  # a loaded backbone is in evaluation mode, without dropout

    def embed(self, tokens: Tokens) -> Tensor:
        """Return the vectors of ``N`` sentences, ``[N, D]`` float32."""
        vectors: Tensor = self.pooling(self.backbone(tokens), tokens.mask)
        return vectors

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of a batch, a scalar.

        Where several processes share the batch, it is times the share's weight, so that the mean
        over the processes is the loss of the whole batch.
        """
        vectors = batch.split(self.embed(batch.tokens))
        # The head and the cosine stay in float32 even when the backbone multiplies in bf16.
        with torch.autocast(self.device.type, enabled=False):
            loss: Tensor = self.loss(vectors, batch.target)
        return loss if batch.weight == 1.0 else loss * batch.weight

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer over all parameters, the objective's included, and its schedule."""
        optimizer, schedule = self._build_optimizer(self)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        """Clip the gradients of all parameters together, and keep their norm."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if self._max_grad_norm is not None:
            norm = nn.utils.clip_grad_norm_(parameters, self._max_grad_norm)
        else:
            norm = nn.utils.get_total_norm(p.grad for p in parameters if p.grad is not None)
        self.gradient_norm = norm.detach()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the random state of every process, so that dropout continues where it was."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        states: list[Any] = [state] * self.trainer.world_size
        if len(states) > 1:
            torch.distributed.all_gather_object(states, state)
        checkpoint["random_states"] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take this process's random state from a checkpoint; it is set before the first batch.

        Args:
            checkpoint: What was saved.

        Raises:
            UserError: If the checkpoint was made by another number of processes.
        """
        states, count = checkpoint["random_states"], self.trainer.world_size
        if len(states) != count:
            raise UserError(
                f"the checkpoint was made with trainer.devices={len(states)}, this run has {count}",
                mend="continue with the same number, or delete the run's checkpoints to start over",
            )
        self._random_state = states[self.trainer.global_rank]

    def on_train_start(self) -> None:
        """Set the random state of dropout, last of all, so that nothing draws in between."""
        if self._random_state is None:
            seed_dropout(self.trainer.global_rank)
            return
        torch.set_rng_state(self._random_state["cpu"].cpu())
        if "cuda" in self._random_state and self.device.type == "cuda":
            torch.cuda.set_rng_state(self._random_state["cuda"].cpu(), self.device)
        self._random_state = None
