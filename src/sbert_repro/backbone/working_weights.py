"""Weights in the format that products are made in, beside the fp32 ones that learn.

The optimizer, checkpoints and saved models see the parameters alone, in fp32 and by their names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed
from torch import Tensor, nn


class WorkingWeights:
    """One matrix or vector made of parameters, in the working format.

    Several parameters are stacked, so that query, key and value are one product.

    Attributes:
        parameters: What it is made of, in order.
        value: The weights in the working format, as they were at the last `refresh`.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], dtype: torch.dtype) -> None:
        """Make room.

        Args:
            parameters: Of equal shape but for the first dimension.
            dtype: The working format.
        """
        self.parameters = tuple(parameters)
        self._sizes = [parameter.shape[0] for parameter in self.parameters]
        shape = (sum(self._sizes), *self.parameters[0].shape[1:])
        self.value = torch.empty(shape, dtype=dtype)
        self.refresh()

    def refresh(self) -> None:
        """Take the parameters over as they are now; to be called before each pass.

        Nothing tells cheaply whether they have changed: the fused optimizers of PyTorch do not
        count their steps in a parameter's version.
        """
        parts = self.value.split(self._sizes)
        for part, parameter in zip(parts, self.parameters, strict=True):
            part.copy_(parameter.detach())

    def gradients(self, gradient: Tensor, memory: GradientMemory) -> tuple[Tensor, ...]:
        """Take the gradient of the whole apart.

        Args:
            gradient: Of the working weights.
            memory: Where the parts are written.

        Returns:
            tuple[Tensor, ...]: One a parameter, fp32.
        """
        parts = gradient.split(self._sizes)
        pairs = zip(self.parameters, parts, strict=True)
        return tuple(memory.like(parameter).copy_(part) for parameter, part in pairs)


class GradientMemory:
    """Memory of gradients, used again at every step.

    Half a gigabyte that is given back and asked for at every step costs about as much as the
    optimizer: the system clears each page anew. Memory that anyone still holds is left to them.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._held: dict[Tensor, torch.UntypedStorage] = {}
        self._written: dict[Tensor, Tensor] = {}

    def like(self, parameter: Tensor) -> Tensor:
        """Give memory for the gradient of a parameter.

        Args:
            parameter: A parameter.

        Returns:
            Tensor: Of its shape, with anything in it.
        """
        return self._take(parameter)[0]

    def rows(self, parameter: Tensor, used: Tensor, values: Tensor) -> Tensor:
        """Give the gradient of a table of which few rows were used.

        It is dense, as optimizers and clipping expect, but only rows that were written the last
        time are cleared. Whoever changes it may scale it, not write to other rows; where several
        processes take the mean of their gradients, which does, all of it is cleared.

        Args:
            parameter: The table ``[V, D]``.
            used: Row of each value ``[S]``.
            values: To be added up ``[S, D]``.

        Returns:
            Tensor: ``[V, D]``.
        """
        gradient, again = self._take(parameter)
        if again and not torch.distributed.is_initialized():
            gradient.index_fill_(0, self._written[parameter], 0.0)
        else:
            gradient.zero_()
        self._written[parameter] = used
        return gradient.index_add_(0, used, values)

    def _take(self, parameter: Tensor) -> tuple[Tensor, bool]:
        """Give memory, and whether it is that of the last time."""
        storage = self._held.get(parameter)
        # Ours alone: neither the parameter nor anybody else holds the gradient of the last step.
        if storage is not None and torch._C._storage_Use_Count(storage._cdata) == 1:
            # A tensor of its own, so that autograd takes it as it is instead of copying it.
            empty = torch.empty(0, dtype=parameter.dtype)
            return empty.set_(storage, 0, parameter.shape, parameter.stride()), True
        fresh = torch.empty_like(parameter, requires_grad=False)
        self._held[parameter] = fresh.untyped_storage()
        return fresh, False
