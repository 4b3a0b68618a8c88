"""All batches of a run, one after another, from any step on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sbert_repro.batch import Batch
from sbert_repro.data.batching import BatchStream


class RunOrder:
    """The epochs of a run as one sequence of steps.

    For Lightning the whole run is one epoch: a step is then the only place there is, and going on
    from a checkpoint at an epoch's last step, or ending in the middle of one, are no special cases.
    Its way of saving and loading a loader's state is used as it is.
    """

    def __init__(self, stream: BatchStream, epochs: int, max_steps: int | None = None) -> None:
        """Line the epochs up.

        Args:
            stream: The batches of an epoch.
            epochs: How many.
            max_steps: End after so many steps, if that is earlier.
        """
        self.epoch_steps = len(stream)
        whole = epochs * self.epoch_steps
        self.steps = whole if max_steps is None else min(whole, max_steps)
        self._stream, self._step = stream, 0

    def __len__(self) -> int:
        """Give the steps of the run."""
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        """Give the batches that are left."""
        while self._step < self.steps:
            epoch, position = divmod(self._step, self.epoch_steps)
            state = self._stream.state_dict()
            self._stream.load_state_dict({**state, "epoch": epoch, "position": position})
            for batch in self._stream:
                # Counted before it leaves: what was given out is trained on when a state is kept.
                self._step += 1
                yield batch
                if self._step >= self.steps:
                    return

    def state_dict(self) -> dict[str, Any]:
        """Give where the run stands.

        Returns:
            dict[str, Any]: For `load_state_dict`.
        """
        return {"step": self._step, "stream": self._stream.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another run stood.

        Args:
            state: From `state_dict`.
        """
        self._stream.load_state_dict(state["stream"])
        self._step = state["step"]
