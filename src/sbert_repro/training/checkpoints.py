"""A run's checkpoints: what is on the disk while it trains, and what a killed run goes on from.

``checkpoints/last.ckpt`` holds weights, optimizer, schedule, loss curve, dev scores, place in the
data and the state of every random generator, so a run that continues from it ends with the same
bits as an undisturbed one. ``checkpoints/best-<step>.safetensors`` holds the weights of the best
dev score. `DevAndCheckpoint` decides when they are written, `fit` continues from them, and both are
removed when the run is recorded.
"""

from __future__ import annotations

import copy
import hashlib
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sbert_repro.errors import UserError
from sbert_repro.json_files import set_aside
from sbert_repro.storage import as_system_errors, replacing

LAST = "last.ckpt"
_COUNT = "number_of_tensors"
_DIGEST = "sha256"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints: whole or absent, and read without unpickling code.

    Lightning itself writes to the system's temporary folder first, so its last move may be a copy.
    Its own asynchronous writer starts a second write beside the first, and says only at the end of
    the run that one has failed.

    Args:
        background: Write from a thread, while training goes on; one file at a time.
    """

    def __init__(self, background: bool = False) -> None:
        super().__init__()
        self._thread = ThreadPoolExecutor(1, "checkpoint") if background else None
        self._writing: Future[None] | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint of tensors and plain values.

        In the background, this copies it and returns, after the write before it has ended.

        Args:
            checkpoint: Its content.
            path: The file.
            storage_options: Lightning's; not used.

        Raises:
            UserError: If it, or the one before it, cannot be written, on a full disk for example.
        """
        if self._thread is None:
            _write(checkpoint, Path(path))
            return
        self.wait()
        self._writing = self._thread.submit(_write, _copied(checkpoint), Path(path))

    @property
    def is_writing(self) -> bool:
        """Whether the thread is at work."""
        return self._writing is not None and not self._writing.done()

    def wait(self) -> None:
        """Wait until the file is written.

        Raises:
            UserError: If it cannot be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Let the thread finish what it writes, and end it; what has failed is not said again."""
        if self._thread is not None:
            self._thread.shutdown()

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read a checkpoint of tensors and plain values, whatever ``weights_only`` says.

        Args:
            path: The file.
            map_location: Where its tensors go.
            weights_only: Lightning's; always true here.

        Returns:
            Its content.

        Raises:
            UserError: If it is damaged.
        """
        try:
            with zipfile.ZipFile(path) as packed:
                if name := packed.testzip():  # torch itself does not look at the checksums
                    raise ValueError(f"{name} was changed")
            found: Any = torch.load(path, map_location=map_location, weights_only=True)
            if not isinstance(found, dict) or found.pop(_COUNT, None) != _count(found):
                raise ValueError("it does not hold all that was written")
        except Exception as problem:  # zipfile and torch have several kinds for a damaged file
            raise UserError(
                f"not a readable checkpoint ({type(problem).__name__}: {problem})",
                where=path,
                mend="delete it to start this run over",
                code="damaged",
            ) from problem
        return found


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    with replacing(path) as temporary, as_system_errors():
        torch.save({**checkpoint, _COUNT: _count(checkpoint)}, temporary)


def _copied(content: Any) -> Any:
    """Copy a checkpoint into the CPU's memory, so that the next step does not change it."""
    if isinstance(content, Tensor):
        return content.detach().to("cpu", copy=True)
    if isinstance(content, dict):
        whole = copy.copy(content)  # a network's state has attributes beside its items
        whole.update({key: _copied(value) for key, value in content.items()})
        return whole
    if isinstance(content, list | tuple):
        return type(content)(map(_copied, content))
    return content


def _count(content: Any) -> int:
    """Count the tensors in nested dicts and lists: weights, moments, losses, random states."""
    if isinstance(content, Tensor):
        return 1
    items = content.values() if isinstance(content, dict) else content
    return sum(map(_count, items)) if isinstance(content, dict | list | tuple) else 0


def to_continue(folder: Path, module: nn.Module, keep_best: bool) -> Path | None:
    """Find the checkpoint that a run goes on from; one that is damaged is set aside.

    Args:
        folder: The folder of the run's checkpoints.
        module: What is trained, whose weights the checkpoint must have.
        keep_best: Whether the run keeps the weights of its best dev score.

    Returns:
        ``last.ckpt``; ``None`` where the run starts from its beginning.
    """
    last = folder / LAST
    if not last.exists():
        return None
    try:
        found = AtomicCheckpointIO().load_checkpoint(last)
        has = {name: weight.shape for name, weight in module.state_dict().items()}
        if has != {name: weight.shape for name, weight in found["state_dict"].items()}:
            raise UserError("holds the weights of another network", where=last)
        for state in found["callbacks"].values():
            if keep_best and state.get("best_step") is not None:
                BestWeights(folder).read(state["best_step"])
    except UserError as problem:
        set_aside(last, problem.found, "this run starts over")
        return None
    return last


class BestWeights:
    """The weights of the best step so far, one file per step.

    The step is part of the file's name, and the checkpoint knows the step: a run that was killed
    after it found a better step, but before it saved a checkpoint, resumes from an older step whose
    file is still there.

    Args:
        folder: The folder of the run's checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, step: int) -> Path:
        return self._folder / f"best-{step}.safetensors"

    def save(self, module: nn.Module, step: int) -> None:
        """Write a module's weights, the objective's included."""
        weights = {name: value.detach().cpu() for name, value in module.state_dict().items()}
        with replacing(self._path(step)) as temporary, as_system_errors():
            save_file(weights, temporary, {_DIGEST: _digest(weights)})

    def delete_others(self, *steps: int | None) -> None:
        """Delete the files that no checkpoint refers to any more: all but those of ``steps``."""
        kept = [self._path(step) for step in steps if step is not None]
        for path in self._folder.glob("best-*.safetensors"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def restore(self, module: nn.Module, step: int) -> None:
        """Load the weights of a step back into a module.

        Args:
            module: It is changed.
            step: The step they were kept at.

        Raises:
            UserError: If the file is gone or damaged.
        """
        module.load_state_dict(self.read(step))

    def read(self, step: int) -> dict[str, Tensor]:
        """Read the weights of a step.

        Args:
            step: The step they were kept at.

        Returns:
            Name → weight.

        Raises:
            UserError: If the file is gone or damaged.
        """
        try:
            with safe_open(self._path(step), framework="pt") as file:
                weights = {name: file.get_tensor(name) for name in file.keys()}
                if (file.metadata() or {}).get(_DIGEST) != _digest(weights):
                    raise ValueError("they were changed")
        except Exception as problem:
            raise UserError(
                f"no readable weights ({type(problem).__name__}: {problem})",
                where=self._path(step),
                mend=f"delete {self._folder} to start this run over",
                code="damaged",
            ) from problem
        return weights


def _digest(weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
