"""Which numbers dropout keeps, drawn many times faster than one Bernoulli draw a number.

On a CPU PyTorch draws `bernoulli_` one number after the other on one core, which for a training
step of BERT-base costs as much as several of its layers. Here a fast generator, seeded by
PyTorch's own, gives 64 bits at a time, and 16 of them decide on one number.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_STEPS = 1 << 16
_ONE = 0x3F80
"""The bits of 1.0 in bfloat16."""


class DropoutDraws:
    """The draws of one pass through a network.

    Each pass takes its seed from PyTorch's global generator, so that whoever restores that
    generator's state gets the same draws again.

    # paper: dropout as BERT was pre-trained with, 0.1
    # here: 6,554 of 65,536 instead of 1 of 10; the numbers kept are scaled by exactly 1 / 0.9
    # effect: none that could be measured; rows trained with trainer.precision=bf16 on a CPU
    """

    def __init__(self) -> None:
        """Take a seed."""
        seed = int(torch.randint(2**62, ()))
        self._random = np.random.Generator(np.random.SFC64(seed))

    def kept(self, shape: tuple[int, ...], share: float, dtype: torch.dtype) -> Tensor | None:
        """Draw which numbers are kept.

        Args:
            shape: Of the numbers.
            share: Dropped of them, 0 to less than 1.
            dtype: Of the answer.

        Returns:
            Tensor: 1 where a number is kept, else 0; ``None`` where all of them are.
        """
        dropped = round(share * _STEPS)
        if dropped == 0:
            return None
        count = math.prod(shape)
        words = self._random.integers(0, 2**64, -(-count // 4), dtype=np.uint64)
        drawn = torch.from_numpy(words.view(np.int16)[:count])
        first = dropped - _STEPS // 2  # of the 65,536 values, from -32,768 on, the first that stays
        # 0 or 1 as an integer, then the bits of 0.0 or 1.0: no slow conversion of single numbers.
        kept = drawn.clamp_(first - 1, first).sub_(first - 1).mul_(_ONE).view(torch.bfloat16)
        return kept.view(shape).to(dtype)
