"""The two readings of "Adam", and the learning rate over the steps (section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

Named = Iterable[tuple[str, nn.Parameter]]
_NOT_DECAYED = ("bias", "LayerNorm.weight")


def parameter_groups(parameters: Named, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into those that decay and biases and LayerNorms, which do not.

    Args:
        parameters: Names and parameters; frozen ones are left out.
        weight_decay: Of the first group.

    Returns:
        list[dict[str, Any]]: Two groups for an optimizer.
    """
    trained = [(name, p) for name, p in parameters if p.requires_grad]
    decayed = [p for name, p in trained if not name.endswith(_NOT_DECAYED)]
    others = [p for name, p in trained if name.endswith(_NOT_DECAYED)]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


class UncorrectedAdam(Optimizer):
    """Adam without bias correction, so that its first steps are several times as long.

    The moments of Kingma and Ba start at 0 and are not divided by 1 - β^t. The two old libraries
    that did so differ in when the weights decay and in whether each gradient is clipped alone.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        clip_per_tensor: float | None = None,
        decay_last: bool = False,
    ) -> None:
        """Take over parameters.

        Args:
            groups: Parameter groups, each with its ``weight_decay``.
            lr: Learning rate.
            betas: Decay of the first and of the second moment.
            eps: Added to the root of the second moment.
            clip_per_tensor: Largest norm of the gradient of each single parameter.
            decay_last: Whether weights decay after the step rather than with it.
        """
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.betas, self.eps = betas, eps
        self.clip_per_tensor, self.decay_last = clip_per_tensor, decay_last

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step.

        Args:
            closure: Computes loss and gradients, if they are not there yet.

        Returns:
            Any: What the closure gave.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        weights: list[Tensor] = [p for p in group["params"] if p.grad is not None]
        if not weights:
            return
        gradients = self._clipped([w.grad for w in weights if w.grad is not None])
        first, second = self._moments(weights)
        (beta1, beta2), decay, lr = self.betas, group["weight_decay"], group["lr"]
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        scale = torch._foreach_sqrt(second)
        torch._foreach_add_(scale, self.eps)
        update = torch._foreach_div(first, scale)
        if decay and not self.decay_last:
            torch._foreach_add_(update, weights, alpha=decay)
        torch._foreach_add_(weights, update, alpha=-lr)
        if decay and self.decay_last:
            torch._foreach_mul_(weights, 1 - lr * decay)

    def _clipped(self, gradients: list[Tensor]) -> list[Tensor]:
        if self.clip_per_tensor is None:
            return gradients
        norms = torch._foreach_norm(gradients)
        factors = [(self.clip_per_tensor / (norm + 1e-6)).clamp(max=1.0) for norm in norms]
        return [gradient * factor for gradient, factor in zip(gradients, factors, strict=True)]

    def _moments(self, weights: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] = {
                    "first": torch.zeros_like(weight),
                    "second": torch.zeros_like(weight),
                }
        states = [self.state[weight] for weight in weights]
        return [state["first"] for state in states], [state["second"] for state in states]


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay, as in the authors' code.

    # paper: "Adam", learning rate 2e-5; neither weight decay nor eps are given
    # here: AdamW with weight decay 0.01; ``correct_bias=false, eps=1e-6`` is their v0.2.x to v0.4.x
    # effect: every trained row

    Attributes:
        VERSION: Raised by hand when the same options would make other steps.
        lr: Highest learning rate.
        weight_decay: Not applied to biases and LayerNorms.
        eps: Added to the root of the second moment.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        correct_bias: Whether the moments are corrected for starting at 0.
    """

    name: ClassVar[str] = "adamw"
    VERSION: ClassVar[int] = 1
    lr: float = 2e-5
    weight_decay: float = 0.01
    eps: float = 1e-8
    beta1: float = 0.9
    beta2: float = 0.999
    correct_bias: bool = True

    def over(self, parameters: Named) -> Optimizer:
        """Make the optimizer.

        Args:
            parameters: Names and parameters of the whole model, head included.

        Returns:
            Optimizer: With one group that decays and one that does not.
        """
        groups, betas = parameter_groups(parameters, self.weight_decay), (self.beta1, self.beta2)
        if not self.correct_bias:
            return UncorrectedAdam(groups, lr=self.lr, betas=betas, eps=self.eps, decay_last=True)
        # One pass over each weight instead of a dozen: a few times faster, on the CPU too.
        return torch.optim.AdamW(groups, lr=self.lr, betas=betas, eps=self.eps, fused=True)


@dataclass(frozen=True)
class BertAdam:
    """The optimizer of pytorch_pretrained_bert, with which the paper's models were trained.

    # paper: "Adam"; its author says the models were made with pytorch_pretrained_bert
    # here: no bias correction, each gradient clipped to norm 1 alone, decay as part of the step
    # effect: every trained row; measured as optimizer=bertadam

    Its own warm-up and decay are those of `warm_up`, so both optimizers share that schedule.

    Attributes:
        VERSION: Raised by hand when the same options would make other steps.
        lr: Highest learning rate.
        weight_decay: Not applied to biases and LayerNorms.
        eps: Added to the root of the second moment.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        clip_per_tensor: Largest norm of the gradient of each single parameter.
    """

    name: ClassVar[str] = "bertadam"
    VERSION: ClassVar[int] = 1
    lr: float = 2e-5
    weight_decay: float = 0.01
    eps: float = 1e-6
    beta1: float = 0.9
    beta2: float = 0.999
    clip_per_tensor: float | None = 1.0

    def over(self, parameters: Named) -> Optimizer:
        """Make the optimizer.

        Args:
            parameters: Names and parameters of the whole model, head included.

        Returns:
            Optimizer: With one group that decays and one that does not.
        """
        return UncorrectedAdam(
            parameter_groups(parameters, self.weight_decay),
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            clip_per_tensor=self.clip_per_tensor,
        )


def warm_up(optimizer: Optimizer, share: float, steps: int, decay: str = "linear") -> LambdaLR:
    """Let the learning rate rise in a line, then fall in a line or stay (section 3.1).

    # paper: "linear learning rate warm-up over 10% of the training data"; what follows is not said
    # here: linear decay to 0, as in the authors' code; ``decay=constant`` is the other reading
    # effect: every trained row

    Args:
        optimizer: Whose learning rate.
        share: Share of all steps that warms up, 0..1.
        steps: All steps of the run.
        decay: ``linear`` or ``constant``.

    Returns:
        LambdaLR: To be stepped after each optimizer step; the very first step has rate 0 if there
        is any warm-up, as in the authors' code.
    """
    rising = math.ceil(steps * share)

    def factor(step: int) -> float:
        if step < rising:
            return step / rising
        return 1.0 if decay == "constant" else max(0.0, (steps - step) / max(1, steps - rising))

    return LambdaLR(optimizer, factor)
