"""Optimizers and learning rate schedules: three readings of "Adam", InferSent's SGD."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

NamedParameters = Iterable[tuple[str, nn.Parameter]]
_NOT_DECAYED = ("bias", "LayerNorm.weight")


def parameter_groups(parameters: NamedParameters, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into two groups, so that biases and LayerNorms do not decay.

    Args:
        parameters: Names and parameters; frozen ones are left out.
        weight_decay: Weight decay of all other parameters.

    Returns:
        Two parameter groups for an optimizer.
    """
    trained = [(name, p) for name, p in parameters if p.requires_grad]
    decayed = [p for name, p in trained if not name.endswith(_NOT_DECAYED)]
    others = [p for name, p in trained if name.endswith(_NOT_DECAYED)]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


_BLOCK = 1 << 18
"""Numbers of a weight that a CPU takes at once: with its gradient and its moments some megabytes,
which stay in the cache from one operation to the next, and many enough for several cores."""


def _blocks(tensors: Sequence[Tensor]) -> Iterable[tuple[Tensor, ...]]:
    """Cut tensors of equal shape into equal blocks; what has no plain layout stays whole."""
    if not all(one.is_contiguous() for one in tensors):
        return [tuple(tensors)]
    return zip(*(one.view(-1).split(_BLOCK) for one in tensors), strict=True)


class UncorrectedAdam(Optimizer):
    """Adam without bias correction, whose first steps are several times as long.

    The moments of Kingma and Ba start at 0 and are not divided by 1 - β^t. The two old libraries
    that did so differ in when the weights decay and in whether each gradient is clipped on its own.

    Args:
        groups: Parameter groups, each with its ``weight_decay``.
        lr: Learning rate.
        betas: Decay rates of the first and the second moment.
        eps: Added to the square root of the second moment.
        clip_per_tensor: Maximum gradient norm of each single parameter.
        decay_last: Whether weights decay after the step rather than as part of it.
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
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self.betas, self.eps = betas, eps
        self.clip_per_tensor, self.decay_last = clip_per_tensor, decay_last

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters once.

        Args:
            closure: Computes the loss and its gradients, if that has not been done yet.

        Returns:
            The loss that the closure returned.
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
        gradients = [w.grad for w in weights if w.grad is not None]
        factors = self._factors(gradients)
        first, second = self._moments(weights)
        if weights[0].device.type != "cpu":
            self._step_tensors(group, weights, gradients, first, second, factors)
            return
        # One operation over all weights after the other takes 1.9 to 2.6 times as long on a CPU
        # (one thread, docs/log.md): each reads and writes half a gigabyte, some cleared first.
        for number, tensors in enumerate(zip(weights, gradients, first, second, strict=True)):
            factor = None if factors is None else [factors[number]]
            for w, g, m, v in _blocks(tensors):
                self._step_tensors(group, [w], [g], [m], [v], factor)

    def _step_tensors(
        self,
        group: dict[str, Any],
        weights: list[Tensor],
        gradients: list[Tensor],
        first: list[Tensor],
        second: list[Tensor],
        factors: list[Tensor] | None,
    ) -> None:
        (beta1, beta2), decay, lr = self.betas, group["weight_decay"], group["lr"]
        if factors is not None:
            gradients = list(torch._foreach_mul(gradients, factors))
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

    def _factors(self, gradients: list[Tensor]) -> list[Tensor] | None:
        if self.clip_per_tensor is None:
            return None
        norms = torch._foreach_norm(gradients)
        # One kernel for all on a GPU; at the norm of 1 that BertAdam has, the bits of a division.
        factors = torch._foreach_reciprocal(torch._foreach_add(norms, 1e-6))
        torch._foreach_mul_(factors, self.clip_per_tensor)
        torch._foreach_clamp_max_(factors, 1.0)
        return list(factors)

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
    """Adam with decoupled weight decay.

    # paper: "Adam", learning rate 2e-5; neither weight decay nor eps is given
    # here: AdamW with weight decay 0.01, as any current trainer has it; `AdamW2019` and `BertAdam`
    # are what the authors had
    # effect: rows of profiles other than paper; measured in the table of recipes

    Attributes:
        VERSION: Raised by hand when the same options would lead to other steps.
        lr: Peak learning rate.
        weight_decay: Not applied to biases and LayerNorms.
        eps: Added to the square root of the second moment.
        beta1: Decay rate of the first moment.
        beta2: Decay rate of the second moment.
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

    def over(self, parameters: NamedParameters) -> Optimizer:
        """Return the optimizer for a model.

        Args:
            parameters: Names and parameters of the whole model, head included.

        Returns:
            It holds every parameter that is trained.
        """
        groups, betas = parameter_groups(parameters, self.weight_decay), (self.beta1, self.beta2)
        if not self.correct_bias:
            return UncorrectedAdam(groups, lr=self.lr, betas=betas, eps=self.eps, decay_last=True)
        # One pass over each weight instead of a dozen: several times faster, on the CPU too.
        return torch.optim.AdamW(groups, lr=self.lr, betas=betas, eps=self.eps, fused=True)


@dataclass(frozen=True)
class AdamW2019(AdamW):
    """AdamW as the authors' library had it from its commit of 26 July 2019 on, to its v0.4.

    # paper: "Adam"
    # here: no bias correction and eps 1e-6, "to reproduce BertAdam", but all gradients are clipped
    # together; the optimizer of what needs pytorch-transformers, which came after BertAdam
    # effect: SRoBERTa rows, and SBERT-WikiSec-base of table 4

    Attributes:
        VERSION: Raised by hand when the same options would lead to other steps.
        eps: Added to the square root of the second moment.
        correct_bias: Whether the moments are corrected for starting at 0.
    """

    name: ClassVar[str] = "adamw_2019"
    VERSION: ClassVar[int] = 1
    eps: float = 1e-6
    correct_bias: bool = False


@dataclass(frozen=True)
class BertAdam:
    """The optimizer of pytorch_pretrained_bert, with which the paper's models were trained.

    # paper: "Adam"; its author says the models were made with pytorch_pretrained_bert
    # here: no bias correction, each gradient clipped to norm 1 on its own, decay part of the step
    # effect: the BERT rows of profile paper

    Its own warm-up and decay equal those of `warm_up`, so both optimizers share that schedule.

    Attributes:
        VERSION: Raised by hand when the same options would lead to other steps.
        lr: Peak learning rate.
        weight_decay: Not applied to biases and LayerNorms.
        eps: Added to the square root of the second moment.
        beta1: Decay rate of the first moment.
        beta2: Decay rate of the second moment.
        clip_per_tensor: Maximum gradient norm of each single parameter.
    """

    name: ClassVar[str] = "bertadam"
    VERSION: ClassVar[int] = 1
    lr: float = 2e-5
    weight_decay: float = 0.01
    eps: float = 1e-6
    beta1: float = 0.9
    beta2: float = 0.999
    clip_per_tensor: float | None = 1.0

    def over(self, parameters: NamedParameters) -> Optimizer:
        """Return the optimizer for a model.

        Args:
            parameters: Names and parameters of the whole model, head included.

        Returns:
            It holds every parameter that is trained.
        """
        return UncorrectedAdam(
            parameter_groups(parameters, self.weight_decay),
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            clip_per_tensor=self.clip_per_tensor,
        )


def warm_up(optimizer: Optimizer, share: float, steps: int, decay: str = "linear") -> LambdaLR:
    """Raise the learning rate linearly, then decay it linearly or keep it (section 3.1).

    # paper: "linear learning rate warm-up over 10% of the training data"; silent on what follows
    # here: linear decay to 0, as in the authors' code; ``decay=constant`` is the other reading.
    # Their code for BERT on AFS multiplies warm-up and decay in itself, and its optimizer does so
    # again: ``decay=linear_twice``
    # effect: every trained row

    Args:
        optimizer: The optimizer to schedule.
        share: Share of all steps spent on warm-up, 0..1.
        steps: Number of steps of the run.
        decay: ``linear``, ``linear_twice`` or ``constant``.

    Returns:
        A schedule to be stepped after each optimizer step. With any warm-up at all, the very first
        step has rate 0, as in the authors' code.
    """
    rising = math.ceil(steps * share)

    def factor(step: int) -> float:
        if step < rising:
            return step / rising
        return 1.0 if decay == "constant" else max(0.0, (steps - step) / max(1, steps - rising))

    times = 2 if decay == "linear_twice" else 1
    return LambdaLR(optimizer, lambda step: factor(step) ** times)


class ShrinkingRate(LRScheduler):
    """A rate that decays from epoch to epoch and is divided after an epoch without a better score.

    Attributes:
        shrinks: How often the rate has been divided.
        best: The best dev score at an epoch's end.

    Args:
        optimizer: The optimizer to schedule; its learning rate is that of the first epoch.
        epoch_steps: Steps of an epoch.
        decay: Factor from one epoch to the next.
        shrink: Divisor after an epoch without a better score.
        min_lr: The rate below which training ends.
    """

    def __init__(
        self, optimizer: Optimizer, epoch_steps: int, *, decay: float, shrink: float, min_lr: float
    ) -> None:
        self.epoch_steps, self.decay, self.shrink, self.min_lr = epoch_steps, decay, shrink, min_lr
        self.shrinks, self.best = 0, float("-inf")
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of the next step for each parameter group."""
        return [float(base) * self._factor(self.last_epoch) for base in self.base_lrs]

    def _factor(self, step: int) -> float:
        return float(self.decay ** (step // self.epoch_steps) / self.shrink**self.shrinks)

    def end_epoch(self, score: float) -> bool:
        """Take an epoch's dev score into account.

        Args:
            score: The dev score at the end of the epoch; NaN is never better.

        Returns:
            Whether training ends here.
        """
        if score > self.best:
            self.best = score
            return False
        self.shrinks += 1
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate
        # The rate of the epoch that has just ended, divided; the decay comes with the next epoch.
        ended = self._factor(self.last_epoch - 1)
        return bool(max(map(float, self.base_lrs)) * ended < self.min_lr)


@dataclass(frozen=True)
class ShrinkingSgd:
    """Plain stochastic gradient descent with `ShrinkingRate`.

    # paper: Conneau et al. (2017): SGD, learning rate 0.1, weight decay 0.99; divided by 5 after an
    #   epoch whose dev accuracy has decreased, ended below 1e-5
    # here: as their code reads this: 0.99 is a decay of the rate from one epoch to the next, and an
    #   accuracy that has not risen above the best so far counts as a decrease
    # effect: the InferSent rows of profiles that train it

    Attributes:
        VERSION: Raised by hand when the same options would lead to other steps.
        lr: Learning rate of the first epoch.
        decay: Factor from one epoch to the next.
        shrink: Divisor after an epoch whose dev score is not the best so far.
        min_lr: Training ends when the rate has shrunk below this.
    """

    name: ClassVar[str] = "sgd_shrink"
    VERSION: ClassVar[int] = 1
    lr: float = 0.1
    decay: float = 0.99
    shrink: float = 5.0
    min_lr: float = 1e-5

    def over(self, parameters: NamedParameters) -> Optimizer:
        """Return the optimizer for a model.

        Args:
            parameters: Names and parameters of the whole model, head included.

        Returns:
            It holds every parameter that is trained.
        """
        return torch.optim.SGD([p for _, p in parameters if p.requires_grad], lr=self.lr)

    def schedule(self, optimizer: Optimizer, epoch_steps: int) -> ShrinkingRate:
        """Return the schedule of an optimizer from `over`, to be stepped after each of its steps.

        Args:
            optimizer: The optimizer.
            epoch_steps: Steps of an epoch.

        Returns:
            It also needs to be told each dev score.
        """
        return ShrinkingRate(
            optimizer, epoch_steps, decay=self.decay, shrink=self.shrink, min_lr=self.min_lr
        )
