"""Files that a killed run goes on from: whole or not there, and loaded without unpickling code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from safetensors.torch import load_file, save_file
from torch import nn

from sbert_repro.errors import UserError
from sbert_repro.storage import as_system_errors, replacing

LAST = "last.ckpt"


class WholeFiles(TorchCheckpointIO):
    """Lightning's checkpoints, written beside their place and then renamed.

    Its own way writes to the system's temporary folder first, so that the last move may copy.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: Tensors and plain values.
            path: Where to.
            storage_options: Not used.
        """
        with replacing(Path(path)) as temporary, as_system_errors():
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read a checkpoint.

        Args:
            path: Where from.
            map_location: To which device.
            weights_only: Not used: never anything but tensors and plain values.

        Returns:
            dict[str, Any]: What was saved.

        Raises:
            UserError: If it is damaged.
        """
        try:
            found: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        except Exception as problem:  # torch has several kinds for a damaged file
            raise UserError(
                f"{path}: not a readable checkpoint ({type(problem).__name__}): delete it to begin "
                "this run anew"
            ) from problem
        return found


class BestWeights:
    """Weights of the best step so far, one file a step.

    The step is part of the name and the checkpoint knows the step: a run killed after it found a
    better step and before it saved goes back to a file that is still there.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder.

        Args:
            folder: Where the checkpoints lie.
        """
        self._folder = folder

    def _path(self, step: int) -> Path:
        return self._folder / f"best-{step}.safetensors"

    def keep(self, module: nn.Module, step: int) -> None:
        """Write the weights, the objective's included.

        Args:
            module: The module.
            step: Its step.
        """
        weights = {name: value.detach().cpu() for name, value in module.state_dict().items()}
        with replacing(self._path(step)) as temporary, as_system_errors():
            save_file(weights, temporary)

    def forget_others(self, step: int | None) -> None:
        """Delete what no checkpoint refers to any more.

        Args:
            step: The step to keep.
        """
        for path in self._folder.glob("best-*.safetensors"):
            if step is None or path != self._path(step):
                path.unlink(missing_ok=True)

    def restore(self, module: nn.Module, step: int) -> None:
        """Put the weights of a step back.

        Args:
            module: The module.
            step: The step.

        Raises:
            UserError: If the file is gone or damaged.
        """
        try:
            module.load_state_dict(load_file(self._path(step)))
        except Exception as problem:
            raise UserError(
                f"{self._path(step)}: no readable weights ({type(problem).__name__}): delete "
                f"{self._folder} to begin this run anew"
            ) from problem
