"""One fit, from options to a saved model; killed at any point, the same call continues it."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sbert_repro.compose import build, check_training, described
from sbert_repro.config import plain
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.signals import TERMINATED, Interrupted, on_sigterm
from sbert_repro.training import pretrained
from sbert_repro.training.callbacks import DevAndCheckpoint, ProgressBar
from sbert_repro.training.checkpoints import AtomicCheckpointIO, to_continue
from sbert_repro.training.datamodule import TrainLoader, load_examples, prepare_for
from sbert_repro.training.devices import check_devices, ddp, run_processes, share
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.optimizers import ShrinkingSgd, warm_up
from sbert_repro.training.save import save_model
from sbert_repro.training.tracking import Tracking

_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class FitResult:
    """What a finished fit reports.

    Attributes:
        scores: Dev scores × 100 of the kept, the best and the last weights, and the training loss
            at both ends of the run.
        facts: What is true of every number that rests on this model.
        steps: Optimizer steps.
        seconds: Time spent on them, interruptions left out.
        curves: ``loss``, the training loss in means over stretches of steps, and ``dev``, the dev
            scores × 100; each a list of (step, value).
    """

    scores: dict[str, float | int | None]
    facts: list[Fact]
    steps: int
    seconds: float
    curves: dict[str, list[tuple[int, float]]]


def fit(
    config: DictConfig,
    folder: Path,
    parent_model: Path | None = None,
    tracking: Tracking | None = None,
) -> FitResult:
    """Train a model and save it to ``folder/model``.

    Args:
        config: The composed options.
        folder: The run's folder; a killed run continues from ``checkpoints/last.ckpt`` in it.
        parent_model: Model folder of a first stage, whose backbone this run starts from; its head
            is dropped (section 4.2, NLI then STSb).
        tracking: Gets curves and scores.

    Returns:
        Dev scores, facts, steps and seconds.

    Raises:
        UserError: If data or model are missing or damaged.
        Diverged: If the loss, a gradient or a weight becomes NaN or infinite.
    """
    check_training(config)
    devices, accelerator = config.trainer.devices, config.trainer.accelerator
    check_devices(devices, accelerator)
    arguments = (config, folder, parent_model, tracking or Tracking())
    if devices == 1:
        return _fit(*arguments)
    result: FitResult = run_processes(devices, accelerator, _fit, *arguments)
    return result


def _fit(
    config: DictConfig, folder: Path, parent_model: Path | None, tracking: Tracking
) -> FitResult:
    """Fit in this process, which may be one of several that share every batch."""
    backbone, tokenizer = pretrained.load(config, parent_model)
    examples = load_examples(config, tokenizer, backbone.positions)
    loader = TrainLoader(examples.stream, config.trainer.epochs, config.trainer.max_steps)
    # Head and dropout draw from here on; the order of the rows has a generator of its own.
    seed_everything(config.seed, verbose=False)
    module = SiameseModule(
        backbone,
        build(config.pooling),
        build(config.loss, width=backbone.width),
        lambda trained: build_optimizer(config, trained, loader),
        config.trainer.max_grad_norm,
    )
    callback = DevAndCheckpoint(
        folder / "checkpoints",
        loader,
        examples.dev,
        evaluate_every=config.trainer.evaluate_every,
        save_every=config.trainer.save_every,
        save_minutes=config.trainer.save_minutes,
        keep_best=plain(config.checkpoint) == "best_dev",
        tracking=tracking,
        mend=f"look at these rows of data={config.data.name}, or lower optimizer.lr",
    )
    if _train(config, module, loader, callback, folder / "checkpoints"):
        callback.restore_best(module)
        pair_length = config.data.pair_length
        settings = {
            "max_length": examples.max_length,
            **({} if pair_length is None else {"pair_length": pair_length}),
            "layer": backbone.layer,
            **{part: described(config[part]) for part in ("pooling", "loss", "optimizer")},
            "seed": config.seed,
        }
        model = folder / "model"
        save_model(model, backbone, tokenizer, module.pooling, module.loss, settings)
    devices = config.trainer.devices
    return FitResult(
        _scores(callback, None if examples.dev is None else examples.dev.metric),
        [*examples.facts, *([fact("devices", count=devices)] if devices > 1 else [])],
        callback.ended_at or loader.steps,
        callback.seconds,
        {"loss": callback.curve.thinned(), "dev": callback.scores},
    )


def build_optimizer(
    config: DictConfig, module: nn.Module, loader: TrainLoader
) -> tuple[Optimizer, LRScheduler]:
    """Build the optimizer of a run and its learning rate schedule.

    Args:
        config: The composed options.
        module: What is trained.
        loader: Knows how many steps an epoch and the run have.

    Returns:
        Both; the schedule moves with every step.
    """
    options = build(config.optimizer)
    optimizer: Optimizer = options.over(module.named_parameters())
    if isinstance(options, ShrinkingSgd):
        return optimizer, options.schedule(optimizer, loader.epoch_steps)
    decay = plain(config.trainer.decay)
    return optimizer, warm_up(optimizer, config.trainer.warmup, loader.steps, decay)


def _train(
    config: DictConfig,
    module: SiameseModule,
    loader: TrainLoader,
    callback: DevAndCheckpoint,
    checkpoints: Path,
) -> bool:
    """Run the steps that are left; return whether this is the process that writes the model."""
    options, several = config.trainer, config.trainer.devices > 1
    disk = AtomicCheckpointIO(background=True)
    bar = [ProgressBar(callback, loader.steps)] if options.progress else []
    with _quiet():
        try:
            trainer = Trainer(
                accelerator=options.accelerator,
                devices=options.devices,
                strategy=ddp(module.backbone) if several else "auto",
                precision=_PRECISION[plain(options.precision)],
                max_epochs=1,
                callbacks=[callback, *bar],
                # Never the environment of a cluster: a run is on one machine.
                plugins=[LightningEnvironment(), disk],
                default_root_dir=checkpoints,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
        except (MisconfigurationException, ValueError) as problem:
            raise UserError(
                str(problem),
                where=f"trainer.accelerator={options.accelerator}",
                mend="use auto or cpu",
            ) from problem
        rank, count = trainer.global_rank, trainer.world_size
        prepare = prepare_for(trainer.strategy.root_device, module.backbone.packs)
        loader.prepare = (lambda batch: prepare(share(batch, rank, count))) if several else prepare
        keep_best = plain(config.checkpoint) == "best_dev"
        try:
            # A run ends after a step; Lightning would call the command's own handler as well.
            with on_sigterm(signal.SIG_DFL):
                trainer.fit(module, loader, ckpt_path=to_continue(checkpoints, module, keep_best))
        except SIGTERMException:
            raise SystemExit(TERMINATED) from None
        except SystemExit as ended:
            if isinstance(ended.__context__, KeyboardInterrupt):
                if callback.saved_at is None:
                    raise KeyboardInterrupt from None
                raise Interrupted(callback.saved_at, loader.steps) from None
            raise
        finally:
            loader.close()
            disk.close()
    return rank == 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice off the screen; what is wrong with a run is raised, not advised."""
    loggers = [logging.getLogger(n) for n in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\b")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _scores(callback: DevAndCheckpoint, metric: str | None) -> dict[str, float | int | None]:
    first, last = callback.curve.ends()
    scores: dict[str, float | int | None] = {}
    if metric is not None:
        scores[f"dev_{metric}"] = callback.kept_score
        scores["dev_best"], scores["dev_last"] = callback.best_score, callback.last_score
        scores["best_step"] = callback.best_step
    return {**scores, "train_loss_first": first, "train_loss_last": last}
