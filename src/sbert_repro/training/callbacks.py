"""What happens beside the steps: dev scores, checkpoints, the loss curve, the progress bar."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from sbert_repro.batch import Batch, Tokens
from sbert_repro.data.batches import Column, pad
from sbert_repro.errors import Diverged
from sbert_repro.progress import Progress
from sbert_repro.similarity import cosine, spearman
from sbert_repro.training.checkpoints import LAST, AtomicCheckpointIO, BestWeights
from sbert_repro.training.devices import ends_after
from sbert_repro.training.looks import is_look
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.optimizers import ShrinkingRate
from sbert_repro.training.tracking import Tracking

_BATCH = {"cpu": 64, "cuda": 1024}
"""Dev sentences in one pass of the network."""
_log = logging.getLogger(__name__)
_FETCH_EVERY = 50
"""Steps between two looks at the losses, at most."""
_SHOWN_ROWS = 16


class DevSet:
    """Rows whose score picks the best checkpoint, as in the authors' code.

    Scored pairs give Spearman's rank correlation of the cosine, or of a cross-encoder's score;
    triplets the share whose positive is closer to the anchor than the negative by Euclidean
    distance (sections 4.2 and 4.4); labelled pairs the share that the objective's head classifies
    correctly, as InferSent's dev set was scored.

    Args:
        columns: ``k`` columns of ``N`` sentences; one of ``N`` pairs for a cross-encoder.
        gold: Gold scores ``[N]`` on any scale, or class ids; ``None`` for triplets.
        pad_id: The padding token.
        labelled: Whether ``gold`` holds class ids.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        gold: np.ndarray | None,
        pad_id: int,
        labelled: bool = False,
    ) -> None:
        self.metric = "accuracy" if gold is None or labelled else "spearman"
        self._labelled = labelled
        self._columns, self._gold, self._pad_id = columns, gold, pad_id
        self._rows = [column.row(i) for column in columns for i in range(len(column))]
        # By length, so that hardly any padding is computed; the vectors do not depend on it.
        self._order = np.argsort([-row.shape[-1] for row in self._rows], kind="stable")

    def score(
        self,
        embed: Callable[[Tokens], Tensor],
        device: torch.device,
        logits: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> float:
        """Score a model.

        Args:
            embed: Returns vectors ``[N, D]`` of ``N`` sentences; scores ``[N, 1]`` of pairs.
            device: Where the model is.
            logits: Scores the classes of pairs ``u, v``; needed for labelled pairs only.

        Returns:
            × 100; NaN where a correlation is undefined (all vectors alike).
        """
        vectors: np.ndarray | None = None
        size = _BATCH.get(device.type, _BATCH["cpu"])
        for start in range(0, len(self._rows), size):
            chosen = self._order[start : start + size]
            tokens = pad([self._rows[i] for i in chosen], self._pad_id)
            found = embed(tokens.to(device)).float().cpu().numpy()
            if vectors is None:
                vectors = np.empty((len(self._rows), found.shape[1]), np.float32)
            vectors[chosen] = found
        assert vectors is not None, "a split has rows"
        columns = np.split(vectors, len(self._columns))
        if self._gold is None:
            anchor, positive, negative = columns
            near = np.linalg.norm(anchor - positive, axis=1)
            return 100 * float((near < np.linalg.norm(anchor - negative, axis=1)).mean())
        if self._labelled:
            assert logits is not None, "labelled pairs are refused for objectives without classes"
            return 100 * self._accuracy(columns[0], columns[1], device, logits)
        return 100 * spearman(
            cosine(*columns) if len(columns) > 1 else columns[0][:, 0], self._gold
        )

    def _accuracy(
        self,
        u: np.ndarray,
        v: np.ndarray,
        device: torch.device,
        logits: Callable[[Tensor, Tensor], Tensor],
    ) -> float:
        assert self._gold is not None
        correct = 0
        size = _BATCH.get(device.type, _BATCH["cpu"])
        for start in range(0, len(u), size):
            pair = (torch.from_numpy(x[start : start + size]).to(device) for x in (u, v))
            found = logits(*pair).argmax(1).cpu().numpy()
            correct += int((found == self._gold[start : start + size]).sum())
        return correct / len(u)


class LossCurve:
    """The training loss of every step, and the stop at the first NaN or infinity.

    A loss can be finite and its gradient not: the step then makes weights of NaN, and the loss
    shows it one step later, when they may have been saved. So the gradients' norm is checked too.
    Both are fetched from the device in groups, since asking a GPU for a number after every step
    would make it wait.

    Attributes:
        values: The loss of each step.
        last_good: Where the run stood when it was last saved, for the error message.

    Args:
        mend: What to do about a divergence, for the error message.
    """

    def __init__(self, mend: str = "") -> None:
        self.values: list[float] = []
        self.last_good = "nothing had been saved before it"
        self._mend = mend
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, norm: Tensor, rows: Tensor) -> None:
        """Add the loss of the next step.

        Args:
            loss: A scalar on any device.
            norm: Norm of all its gradients together before clipping; a scalar.
            rows: Row numbers of its examples ``[B]``.
        """
        self._waiting.append((loss.detach(), norm.detach(), rows))

    def fetch(self, mean: Callable[[Tensor], Tensor] = lambda values: values) -> float:
        """Fetch the waiting losses and norms from the device and check them.

        Args:
            mean: Takes the mean over the processes of the run.

        Returns:
            Mean of the losses; NaN if none was waiting.

        Raises:
            Diverged: If a loss or a norm is NaN or infinite; names the step, the rows and the last
                checkpoint.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return math.nan
        numbers = mean(torch.stack([n.float() for step in waiting for n in step[:2]])).tolist()
        losses, norms = numbers[::2], numbers[1::2]
        for (_, _, rows), loss, norm in zip(waiting, losses, norms, strict=True):
            self.values.append(loss)
            self._check("the loss", loss, rows)
            self._check("the norm of the gradients", norm, rows)
        return sum(losses) / len(losses)

    def thinned(self, points: int = 100) -> list[tuple[int, float]]:
        """Average the losses over equal stretches of the run, for a plot.

        Args:
            points: At most so many stretches.

        Returns:
            The last step of each stretch, counted from 1, and its mean loss.
        """
        ends = sorted({round(len(self.values) * part / points) for part in range(points + 1)})
        stretches = itertools.pairwise(ends)
        return [(end, sum(self.values[start:end]) / (end - start)) for start, end in stretches]

    def check_weights(self, weights: Iterable[Tensor], rows: Tensor) -> None:
        """Refuse NaN and infinite weights, before they are saved.

        Finite gradients lead to such weights too, if the learning rate is large enough.

        Args:
            weights: All weights of the module.
            rows: Row numbers of the last step's examples ``[B]``.

        Raises:
            Diverged: If one is NaN or infinite.
        """
        norm = float(nn.utils.get_total_norm(w.detach() for w in weights))
        self._check("the norm of the weights", norm, rows)

    def _check(self, what: str, value: float, rows: Tensor) -> None:
        if math.isfinite(value):
            return
        shown = ", ".join(map(str, rows[:_SHOWN_ROWS].tolist()))
        more = " …" if len(rows) > _SHOWN_ROWS else ""
        raise Diverged(
            f"{what} is {value} at step {len(self.values)} (rows {shown}{more}); {self.last_good}",
            mend=self._mend,
        )

    def ends(self) -> tuple[float, float]:
        """Return the mean loss of the first and of the last tenth of the steps."""
        count = max(1, len(self.values) // 10)
        first, last = self.values[:count], self.values[-count:]
        if not first:
            return math.nan, math.nan
        return sum(first) / len(first), sum(last) / len(last)


class Steps(Protocol):
    """What a callback knows of the run's loader: `epoch_steps` of an epoch, `steps` of the run."""

    epoch_steps: int
    steps: int


class DevAndCheckpoint(Callback):
    """Scores dev, keeps the best weights and saves checkpoints; at one step in this order.

    Everything it knows is part of the checkpoint, so a run that was killed and resumed ends with
    the same numbers.

    Attributes:
        curve: The training loss of every step.
        scores: Step and dev score of each evaluation.
        best_step: Step of the best score, if there is any.
        ended_at: Step at which a shrinking learning rate ended the run, if it did.
        seconds: Spent on steps, interruptions left out.
        saved_at: Step that a run goes on from if it is killed now; ``None``: not known yet.

    Args:
        folder: The folder of the checkpoints.
        loader: Knows how many steps an epoch and the run have.
        dev: The rows to score, if any.
        evaluate_every: Steps between evaluations, counted anew in each epoch; ``None``: only at
            the end of each epoch.
        save_every: Steps between checkpoints; ``None``: they are made by time alone.
        save_minutes: Minutes between checkpoints; ``None``: they are made by steps alone. The last
            step is saved in any case.
        keep_best: Whether to keep the weights of the best evaluation.
        tracking: Gets the curves.
        mend: What to do about a divergence, for the error message.
    """

    def __init__(
        self,
        folder: Path,
        loader: Steps,
        dev: DevSet | None,
        *,
        evaluate_every: int | None,
        save_every: int | None,
        save_minutes: float | None,
        keep_best: bool,
        tracking: Tracking,
        mend: str,
    ) -> None:
        self.curve = LossCurve(mend)
        self.scores: list[tuple[int, float]] = []
        self.best_step: int | None = None
        self.ended_at: int | None = None
        self.seconds = 0.0
        self._points: list[tuple[int, dict[str, float]]] = []
        self._folder, self._loader, self._dev, self._tracking = folder, loader, dev, tracking
        self._evaluate_every, self._save_every = evaluate_every, save_every
        self._save_seconds = math.inf if save_minutes is None else 60 * save_minutes
        self._last_saved = time.monotonic()
        self.saved_at: int | None = None
        self._best_on_disk: int | None = None
        self._unsettled = False
        self._best = BestWeights(folder) if keep_best else None
        self._clock = time.monotonic()
        self._last_logged = (0, self._clock)

    @property
    def best_score(self) -> float:
        """The best dev score; NaN if there is none."""
        return dict(self.scores).get(self.best_step or 0, math.nan)

    @property
    def last_score(self) -> float:
        """The last dev score; NaN if there is none."""
        return self.scores[-1][1] if self.scores else math.nan

    @property
    def kept_score(self) -> float:
        """The dev score of the weights that the run keeps."""
        return self.last_score if self._best is None else self.best_score

    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        """Start the clock."""
        self._clock = self._last_saved = time.monotonic()
        self._last_logged = (trainer.global_step, self._clock)
        self.saved_at = trainer.global_step
        if trainer.global_step:
            self._note_saved(trainer.global_step)
            self._tracking.replay(self._points)
        # If it was killed after its last step and before its record, nothing is left to train.
        trainer.should_stop = self.ended_at is not None

    def _note_saved(self, step: int) -> None:
        self.saved_at = step
        self.curve.last_good = f"the last good checkpoint is that of step {step}"

    def on_train_batch_end(
        self, trainer: Trainer, module: Any, outputs: Any, batch: Batch, index: int
    ) -> None:
        """Do what is due after a step: check the losses, score dev, save."""
        step = trainer.global_step
        self.curve.add(outputs["loss"], module.gradient_norm, batch.rows)
        evaluate = self._dev is not None and self._is_evaluation(step)
        # Lightning ends a run of one process after this step if it has received SIGTERM.
        ends = trainer.received_sigterm or ends_after(step, trainer.global_rank)
        last = step == self._loader.steps
        save = ends or last or self._is_save(trainer, step)
        self._settle(trainer)
        if evaluate or save or step % _FETCH_EVERY == 0:
            loss = self.curve.fetch(trainer.strategy.reduce)
            rows = len(batch.rows) * trainer.world_size
            unit = "triplets" if module.loss.columns == len(("a", "p", "n")) else "pairs"
            self._log(
                step,
                {
                    "train/loss": loss,
                    "train/gradient_norm": float(module.gradient_norm),
                    "train/learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
                    f"train/{unit}_per_second": self._speed(step) * rows,
                    "epoch": step / self._loader.epoch_steps,
                },
            )
        if evaluate or save:
            # Before anything is saved: the losses so far say nothing about this step's result.
            self.curve.check_weights(module.parameters(), batch.rows)
        if evaluate:
            self._evaluate(trainer, module, step)
            self._adapt_rate(trainer, step)
        if save or self.ended_at is not None:
            self.seconds += time.monotonic() - self._clock
            self._clock = time.monotonic()
            trainer.save_checkpoint(self._folder / LAST)
            self._last_saved = time.monotonic()
            self._note_saved(step)
            self._best_on_disk = self.best_step
            self._unsettled = True
            self._settle(trainer, wait=ends or last or self.ended_at is not None)
        if ends and trainer.is_global_zero:
            _log.warning(
                "ended by SIGTERM: checkpoint saved at step %s of %s; the same command goes on",
                f"{step:,}",
                f"{self._loader.steps:,}",
            )
        if ends and not trainer.received_sigterm:
            raise SIGTERMException

    def _is_save(self, trainer: Trainer, step: int) -> bool:
        """Tell whether a checkpoint is due by steps or by time."""
        if self._save_every is not None and step % self._save_every == 0:
            return True
        due = time.monotonic() - self._last_saved >= self._save_seconds
        if trainer.world_size == 1:
            return due
        # All processes have to save at the same step, and to agree at each step would cost time.
        return step % _FETCH_EVERY == 0 and bool(trainer.strategy.broadcast(due))

    def _settle(self, trainer: Trainer, *, wait: bool = False) -> None:
        """Delete the weights that no checkpoint refers to, once the last checkpoint is written.

        Until then the one before it is there, and refers to its own. An error of the write is
        raised here.
        """
        disk = trainer.strategy.checkpoint_io
        assert isinstance(disk, AtomicCheckpointIO)
        if not self._unsettled or (disk.is_writing and not wait):
            return
        disk.wait()
        self._unsettled = False
        if self._best is not None and trainer.is_global_zero:
            self._best.delete_others(self._best_on_disk, self.best_step)

    def _log(self, step: int, values: dict[str, float]) -> None:
        self._points.append((step, values))
        self._tracking.log(values, step)

    def _speed(self, step: int) -> float:
        """Return the steps per second since the last point of the curves."""
        (before, then), now = self._last_logged, time.monotonic()
        self._last_logged = (step, now)
        return (step - before) / max(now - then, 1e-9)

    def _is_evaluation(self, step: int) -> bool:
        return is_look(step, self._loader.epoch_steps, self._evaluate_every) or (
            step == self._loader.steps
        )

    def _evaluate(self, trainer: Trainer, module: SiameseModule, step: int) -> None:
        assert self._dev is not None
        # Of several processes the first one scores; the others wait for it and decide alike.
        score = self._score(self._dev, module) if trainer.is_global_zero else math.nan
        score = trainer.strategy.broadcast(score)
        self.scores.append((step, score))
        self._log(step, {f"dev/{self._dev.metric}": score})
        # NaN is never better, and of equal scores the first one stays.
        if not math.isnan(score) and not score <= self.best_score:
            self.best_step = step
            if self._best is not None and trainer.is_global_zero:
                self._best.save(module, step)

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

    def _adapt_rate(self, trainer: Trainer, step: int) -> None:
        """Tell a learning rate that depends on the dev score; it may end the run early."""
        rate = trainer.lr_scheduler_configs[0].scheduler
        if isinstance(rate, ShrinkingRate) and step % self._loader.epoch_steps == 0:
            if rate.end_epoch(self.last_score):
                self.ended_at = step
                trainer.should_stop = True

    def restore_best(self, module: SiameseModule) -> None:
        """Load the best weights back into the module, if they are what the run keeps."""
        if self._best is not None and self.best_step is not None:
            self._best.restore(module, self.best_step)

    def state_dict(self) -> dict[str, Any]:
        """Return everything seen so far, for the checkpoint."""
        return {
            "losses": torch.tensor(self.curve.values, dtype=torch.float64),
            "scores": [list(score) for score in self.scores],
            "best_step": self.best_step,
            "ended_at": self.ended_at,
            "seconds": self.seconds,
            "points": list(self._points),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.curve.values = state_dict["losses"].tolist()
        self.scores = [(int(step), float(score)) for step, score in state_dict["scores"]]
        self.best_step, self.ended_at = state_dict["best_step"], state_dict["ended_at"]
        self.seconds = state_dict["seconds"]
        self._points = list(state_dict.get("points", []))  # earlier versions kept none


class ProgressBar(Callback):
    """Steps done and left, with the last dev score: a bar, or lines where there is no terminal.

    Args:
        evaluation: Knows the dev scores.
        steps: Steps of the run.
    """

    def __init__(self, evaluation: DevAndCheckpoint, steps: int) -> None:
        self._evaluation, self._steps = evaluation, steps
        self._shown: Progress | None = None

    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        """Begin, in the first of several processes."""
        if trainer.is_global_zero:
            self._shown = Progress("training", self._steps, "steps", done=trainer.global_step)
            self._shown.start()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Advance."""
        dev = self._evaluation.last_score
        if self._shown is not None:
            said = "" if math.isnan(dev) else f"dev {dev:.2f}"
            self._shown.to(trainer.global_step, said)

    def on_train_end(self, trainer: Trainer, module: Any) -> None:
        """End."""
        self._stop(finished=True)

    def on_exception(self, trainer: Trainer, module: Any, exception: BaseException) -> None:
        """End; somebody else says why."""
        self._stop(finished=False)

    def _stop(self, *, finished: bool) -> None:
        if self._shown is not None:
            self._shown.stop(finished=finished)
            self._shown = None
