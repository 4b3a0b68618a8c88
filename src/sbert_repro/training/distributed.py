"""One run over several processes: what they tell each other.

What is decided is decided by the first process, or by all from equal numbers. With one process
everything here gives back what it was given. Which rows each of them takes:
`sbert_repro.training.shares`; how they begin and end: `sbert_repro.training.processes`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from sbert_repro.errors import UserError

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

PATIENCE = timedelta(hours=1)
"""How long a process waits for others that are alive: for a look at dev, say, on a slow machine."""
TERMINATED = threading.Event()
"""Set in the first process when it is told to end (SIGTERM)."""


def ranks() -> int:
    """Give the number of processes of the run that is under way.

    Returns:
        int: 1 also where none is under way.
    """
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Give the number of this process.

    Returns:
        int: 0 for the one that saves, tracks and looks at dev.
    """
    return distributed.get_rank() if distributed.is_initialized() else 0


def mean_over_ranks(values: Tensor) -> Tensor:
    """Take the mean over the processes.

    Args:
        values: Numbers of this process, of equal shape in each.

    Returns:
        Tensor: The same numbers in all of them.
    """
    if ranks() == 1:
        return values
    total = values.detach().double().cpu()
    distributed.all_reduce(total)
    return total / ranks()


def of_first(value: float) -> float:
    """Give every process the number that the first one has.

    Args:
        value: A number; only the first process's counts.

    Returns:
        float: The first process's.
    """
    if ranks() == 1:
        return value
    told = torch.tensor(value, dtype=torch.float64)
    distributed.broadcast(told, 0)
    return float(told)


def of_every_rank(state: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Gather what every process holds.

    Args:
        state: Tensors on the CPU, of equal names and shapes in each process.

    Returns:
        list[dict[str, Tensor]]: One a process, in order.
    """
    every: list[dict[str, Tensor]] = [{} for _ in range(ranks())]
    if len(every) == 1:
        return [state]
    for name, value in state.items():
        found = [torch.empty_like(value) for _ in every]
        distributed.all_gather(found, value)
        for one, part in zip(every, found, strict=True):
            one[name] = part
    return every


def mine(states: Sequence[Any]) -> Any:
    """Choose what belongs to this process from what a checkpoint kept of all.

    Args:
        states: One a process, from `of_every_rank`.

    Returns:
        Any: This process's.

    Raises:
        UserError: If the checkpoint is of another number of processes.
    """
    if len(states) != ranks():
        raise UserError(
            f"the checkpoint was made with trainer.devices={len(states)}, this run has {ranks()}: "
            "go on with the same number, or delete the run's checkpoints to begin it anew"
        )
    return states[rank()]


def asked_to_end(trainer: Trainer) -> bool:
    """Say whether the run was told to end (SIGTERM); every process asks after every step.

    Args:
        trainer: Lightning's trainer, which ends after the step when this is so.

    Returns:
        bool: The same in each process.
    """
    if ranks() > 1:
        connector = trainer._signal_connector
        connector.received_sigterm = bool(of_first(float(TERMINATED.is_set())))
    return trainer.received_sigterm


def check_replicas(module: nn.Module) -> None:
    """Refuse to go on when the processes no longer hold the same weights, to the last bit.

    Args:
        module: The module.

    Raises:
        RuntimeError: If they do not.
    """
    # Sums of the bits as whole numbers: exact, in whatever order a device adds.
    weights = [p.detach().view(torch.int32).sum(dtype=torch.int64) for p in module.parameters()]
    found = [every["sums"] for every in of_every_rank({"sums": torch.stack(weights).cpu()})]
    if any(not torch.equal(one, found[0]) for one in found[1:]):
        raise RuntimeError("the processes of the run hold different weights: nothing was saved")
