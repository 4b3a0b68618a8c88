"""What happens beside the steps: looks at dev, checkpoints, curves."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer

from sbert_repro.batch import Batch
from sbert_repro.training.checkpoints import LAST, BestWeights
from sbert_repro.training.curve import LossCurve
from sbert_repro.training.distributed import asked_to_end, of_first, rank
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.order import RunOrder
from sbert_repro.training.sgd_shrink import ShrinkingRate
from sbert_repro.training.tracking import Tracking
from sbert_repro.training.validation import DevSet

_FETCH_EVERY = 50


class Watch(Callback):
    """Looks at dev, keeps the best weights and saves checkpoints, in this order at one step.

    Everything it knows is in the checkpoint, so a run that was killed ends with the same numbers.
    """

    def __init__(
        self,
        folder: Path,
        order: RunOrder,
        dev: DevSet | None,
        *,
        evaluate_every: int | None,
        save_every: int,
        keep_best: bool,
        tracking: Tracking,
        advice: str,
    ) -> None:
        """Set the rhythm.

        Args:
            folder: For the checkpoints.
            order: Knows how many steps an epoch and the run have.
            dev: What is looked at, if anything.
            evaluate_every: Steps between looks at dev; ``None``: only at each epoch's end.
            save_every: Steps between checkpoints; also at the end.
            keep_best: Whether the weights of the best look are kept.
            tracking: Gets the curves.
            advice: What to do about a loss or a gradient that is no number.
        """
        self.curve = LossCurve(advice)
        self.scores: list[tuple[int, float]] = []
        self.best_step: int | None = None
        self.ended_at: int | None = None
        self.seconds = 0.0
        self._folder, self._order, self._dev, self._tracking = folder, order, dev, tracking
        self._evaluate_every, self._save_every = evaluate_every, save_every
        self._best = BestWeights(folder) if keep_best else None
        self._clock = time.monotonic()

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the best look are what the run keeps."""
        return self._best is not None

    @property
    def best_score(self) -> float:
        """The score of the best look; NaN if there was none."""
        return dict(self.scores).get(self.best_step or 0, math.nan)

    @property
    def last_score(self) -> float:
        """The score of the last look; NaN if there was none."""
        return self.scores[-1][1] if self.scores else math.nan

    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        """Start the clock; a run that goes on knows which checkpoint it came from.

        Args:
            trainer: Lightning's trainer.
            module: The module.
        """
        self._clock = time.monotonic()
        if trainer.global_step:
            self._saved(trainer.global_step)
        # Killed after its last step and before its record, a run has nothing left to do.
        trainer.should_stop = self.ended_at is not None

    def _saved(self, step: int) -> None:
        self.curve.last_good = f"the last good checkpoint is that of step {step}"

    def on_train_batch_end(
        self, trainer: Trainer, module: Any, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Do what is due after a step.

        Args:
            trainer: Lightning's trainer.
            module: The module.
            outputs: The loss.
            batch: The batch of the step.
            index: Its number.
        """
        step, end = trainer.global_step, self._order.steps
        self.curve.add(outputs["loss"], module.gradient_norm, batch.rows)
        look = self._dev is not None and self._is_look(step)
        # Asked first: of several processes each must ask at every step.
        save = asked_to_end(trainer) or step % self._save_every == 0 or step == end
        if look or save or step % _FETCH_EVERY == 0:
            loss = self.curve.fetch()
            self._tracking.log({"train/loss": loss, "epoch": step / self._order.epoch_steps}, step)
        if look or save:
            # Before anything is saved: what was fetched says nothing about the step's own result.
            self.curve.look_at(module.parameters(), batch.rows)
        if look:
            self._look(module, step)
            self._steer(trainer, step)
        if save or self.ended_at is not None:
            self.seconds += time.monotonic() - self._clock
            self._clock = time.monotonic()
            trainer.save_checkpoint(self._folder / LAST)
            self._saved(step)
            if self._best is not None and rank() == 0:
                self._best.forget_others(self.best_step)

    def _is_look(self, step: int) -> bool:
        order = self._order
        often = self._evaluate_every is not None and step % self._evaluate_every == 0
        due = often or step % order.epoch_steps == 0
        return due or step == order.steps

    def _look(self, module: SiameseModule, step: int) -> None:
        assert self._dev is not None
        # Of several processes one looks; the others wait, know its score, and decide alike.
        score = of_first(self._score(self._dev, module) if rank() == 0 else math.nan)
        self.scores.append((step, score))
        self._tracking.log({f"dev/{self._dev.metric}": score}, step)
        # A NaN is never better, and of equal scores the first one stays.
        if not math.isnan(score) and not score <= self.best_score:
            self.best_step = step
            if self._best is not None and rank() == 0:
                self._best.keep(module, step)

    @staticmethod
    def _score(dev: DevSet, module: SiameseModule) -> float:
        module.eval()
        with torch.no_grad(), module.trainer.precision_plugin.val_step_context():
            score = dev.score(
                lambda tokens: module.loss.predict(module.embed(tokens)),
                module.device,
                getattr(module.loss, "logits", None),
            )
        module.train()
        return score

    def _steer(self, trainer: Trainer, step: int) -> None:
        """Let a rate that depends on the score know it; it may end the run before its last step."""
        rate = trainer.lr_scheduler_configs[0].scheduler
        if isinstance(rate, ShrinkingRate) and step % self._order.epoch_steps == 0:
            if rate.looked(self.last_score):
                self.ended_at = step
                trainer.should_stop = True

    def restore_best(self, module: SiameseModule) -> None:
        """Put the best weights back when they are what the run keeps.

        Args:
            module: The module.
        """
        if self._best is not None and self.best_step is not None:
            self._best.restore(module, self.best_step)

    def state_dict(self) -> dict[str, Any]:
        """Give everything seen so far.

        Returns:
            dict[str, Any]: For `load_state_dict`.
        """
        return {
            "losses": torch.tensor(self.curve.values, dtype=torch.float64),
            "scores": [list(look) for look in self.scores],
            "best_step": self.best_step,
            "ended_at": self.ended_at,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what another run saw.

        Args:
            state_dict: From `state_dict`.
        """
        self.curve.values = state_dict["losses"].tolist()
        self.scores = [(int(step), float(score)) for step, score in state_dict["scores"]]
        self.best_step, self.seconds = state_dict["best_step"], state_dict["seconds"]
        self.ended_at = state_dict.get("ended_at")
