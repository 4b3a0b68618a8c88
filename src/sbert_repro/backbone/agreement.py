"""Whether a faster way of computing a network gives its states and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Way = Callable[[], Tensor]
"""Computes the states ``[N, T, D]`` of one batch, with gradients."""

ROUNDING = 1e-4
"""Relative error of states and gradients that two right ways may have in fp32."""
TIMES_ITS_OWN = 4
"""How much more than the network itself a faster way may lose in bf16 against fp32."""
_FLOOR = 0.1


@dataclass(frozen=True)
class _Computed:
    states: Tensor
    gradients: list[Tensor]


def disagreement(
    network: nn.Module, plain: Way, faster: Way, mask: Tensor, times: int = 1
) -> str | None:
    """Compute a batch both ways with dropout off, and compare.

    Both are compared with the network in fp32: what it loses itself in the run's format says what
    a faster way may lose. A fixed limit would not do, since in a network of small weights a wrong
    mask changes less than rounding does in another.

    A gradient's error is taken in units of its norm plus a tenth of the norm of all of them: that
    of the keys' bias is 0 but for rounding. No random number is drawn and no gradient is kept.

    Args:
        network: Whose parameters; in training mode, and left in it.
        plain: The way that is known to be right.
        faster: The other one.
        mask: ``True`` where a word piece stands, ``[N, T]``.
        times: How often the faster way is asked: a graph is recorded first and replayed later.

    Returns:
        str | None: What differs, in few words; ``None``: they agree.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    with _without_dropout(network, mask.device):
        with torch.autocast(mask.device.type, enabled=False):
            exact = _computed(plain, mask, parameters)
        own = _errors(_computed(plain, mask, parameters), exact)
        for _ in range(times):
            found = _errors(_computed(faster, mask, parameters), exact)
            for what, error, usual in zip(
                ("its states are", "a gradient is"), found, own, strict=True
            ):
                most = ROUNDING + TIMES_ITS_OWN * usual
                if not error <= most:  # NaN is no agreement
                    return f"{what} off by {error:.2g}, more than {most:.2g}"
    return None


@contextmanager
def _without_dropout(network: nn.Module, device: torch.device) -> Iterator[None]:
    """A compiler may draw seeds that nobody uses; the run's dropout must not notice."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        network.eval()
        try:
            yield
        finally:
            network.train()


def _computed(way: Way, mask: Tensor, parameters: Sequence[nn.Parameter]) -> _Computed:
    states = way().float() * mask.unsqueeze(-1)
    # Any direction would do; this one is the same for both ways and needs no random number.
    along = torch.arange(states.numel(), device=states.device).sin().view_as(states)
    found = torch.autograd.grad(states, parameters, along, allow_unused=True)
    gradients = [
        torch.zeros_like(parameter) if gradient is None else gradient.detach().clone()
        for parameter, gradient in zip(parameters, found, strict=True)
    ]
    return _Computed(states.detach().clone(), gradients)


def _errors(found: _Computed, exact: _Computed) -> tuple[float, float]:
    """Relative error of the states, and of the gradient that is off the most."""
    of_states = (found.states - exact.states).norm() / exact.states.norm()
    floor = _FLOOR * nn.utils.get_total_norm(exact.gradients)
    of_gradients = [
        (one - right).norm() / (right.norm() + floor)
        for one, right in zip(found.gradients, exact.gradients, strict=True)
    ]
    # NaN goes through torch's maximum, not through Python's.
    return float(of_states), float(torch.stack(of_gradients).max())
