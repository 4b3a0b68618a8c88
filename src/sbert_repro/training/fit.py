"""One fit, from options to a saved model; killed at any point, the same call goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sbert_repro.backbone.transformer import TransformerBackbone
from sbert_repro.compose import build, check_training, described
from sbert_repro.config import plain
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.training.checkpoints import LAST, WholeFiles
from sbert_repro.training.distributed import rank, ranks
from sbert_repro.training.examples import Examples, load_examples
from sbert_repro.training.module import SiameseModule
from sbert_repro.training.optimizers import warm_up
from sbert_repro.training.order import RunOrder, ready_for
from sbert_repro.training.processes import check_devices, together
from sbert_repro.training.progress import Bar, quiet
from sbert_repro.training.replicas import Place, Replicas, Together
from sbert_repro.training.save import save_model
from sbert_repro.training.sgd_shrink import ShrinkingSgd
from sbert_repro.training.shares import shared
from sbert_repro.training.start import Backbone, load
from sbert_repro.training.tracking import Tracking
from sbert_repro.training.watch import Watch

VERSION = 1
"""Raised by hand when the same options would train another model."""

_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed"}
_TERMINATED = 143


@dataclass(frozen=True)
class FitResult:
    """What a finished fit says about itself.

    Attributes:
        scores: Dev scores × 100 of the kept, the best and the last weights, and the training loss
            at both ends of the run.
        facts: What a number that rests on this model must say.
        steps: Optimizer steps.
        seconds: Spent on them, interruptions left out.
    """

    scores: dict[str, float | int | None]
    facts: list[Fact]
    steps: int
    seconds: float


def fit(
    config: DictConfig,
    folder: Path,
    parent_model: Path | None = None,
    tracking: Tracking | None = None,
) -> FitResult:
    """Train a model and save it to ``folder/model``.

    Args:
        config: The composed options.
        folder: The run's folder; ``checkpoints/last.ckpt`` in it is where a killed run goes on.
        parent_model: Model folder of a first stage, whose backbone this run starts from; its head
            is dropped (section 4.2, NLI then STSb).
        tracking: Gets curves and scores.

    Returns:
        FitResult: Scores and facts.

    Raises:
        UserError: If data or model are missing or damaged, or the loss is no number any more.
    """
    check_training(config)
    on = (config.trainer.devices, config.trainer.accelerator)
    check_devices(*on)
    begun = _begin(config, folder, parent_model, tracking or Tracking())
    with together(*on, partial(_begin_beside, config, folder, parent_model)):
        begun.run(config)
    module, watch, examples = begun.module, begun.watch, begun.examples
    watch.restore_best(module)
    layer = module.backbone.layer
    settings = {"max_length": examples.max_length, "layer": layer, **_described(config)}
    places = (folder / "model", module.backbone, begun.tokenizer)
    save_model(*places, module.pooling, module.loss, settings)
    facts = [*examples.facts, *_of_devices(config.trainer.devices)]
    steps = watch.ended_at or begun.order.steps
    return FitResult(_scores(watch, examples), facts, steps, watch.seconds)


@dataclass(frozen=True)
class _Begun:
    """A run that is read and built, up to its first step."""

    module: SiameseModule
    tokenizer: Any
    examples: Examples
    order: RunOrder
    watch: Watch
    last: Path

    def run(self, config: DictConfig) -> None:
        _run(config, self.module, self.order, self.watch, self.last)


def _begin(
    config: DictConfig, folder: Path, parent_model: Path | None, tracking: Tracking
) -> _Begun:
    backbone, tokenizer = load(config, parent_model)
    examples = load_examples(config, tokenizer, backbone.positions)
    if config.trainer.compile:
        assert isinstance(backbone, TransformerBackbone), "others are refused before"
        backbone.train_compiled(examples.stream.sentences)
    order = RunOrder(examples.stream, config.trainer.epochs, config.trainer.max_steps)
    module = _module(config, backbone, order)
    watch = _watch(config, folder / "checkpoints", order, examples, tracking)
    return _Begun(module, tokenizer, examples, order, watch, folder / "checkpoints" / LAST)


def _begin_beside(
    config: DictConfig, folder: Path, parent_model: Path | None
) -> Callable[[], None]:
    """Begin the same run in a process beside the first one; it tracks and saves nothing."""
    return partial(_begin(config, folder, parent_model, Tracking()).run, config)


def _module(config: DictConfig, backbone: Backbone, order: RunOrder) -> SiameseModule:
    # Head and dropout draw from here on; the order of the rows has a generator of its own.
    seed_everything(config.seed, verbose=False)
    return SiameseModule(
        backbone,
        build(config.pooling),
        build(config.loss, width=backbone.width),
        lambda trained: _drive(config, trained, order),
        config.trainer.max_grad_norm,
    )


def _drive(config: DictConfig, module: nn.Module, order: RunOrder) -> tuple[Optimizer, LRScheduler]:
    options = build(config.optimizer)
    optimizer: Optimizer = options.over(module.named_parameters())
    if isinstance(options, ShrinkingSgd):
        return optimizer, options.schedule(optimizer, order.epoch_steps)
    decay = plain(config.trainer.decay)
    return optimizer, warm_up(optimizer, config.trainer.warmup, order.steps, decay)


def _watch(
    config: DictConfig, folder: Path, order: RunOrder, examples: Examples, tracking: Tracking
) -> Watch:
    return Watch(
        folder,
        order,
        examples.dev,
        evaluate_every=config.trainer.evaluate_every,
        save_every=config.trainer.save_every,
        keep_best=plain(config.checkpoint) == "best_dev",
        tracking=tracking,
        advice=f"look at these rows of data={config.data.name}, or lower optimizer.lr",
    )


def _run(
    config: DictConfig, module: SiameseModule, order: RunOrder, watch: Watch, last: Path
) -> None:
    """Drive Lightning over the steps that are left."""
    bar = [Bar(watch, order.steps)] if config.trainer.progress and rank() == 0 else []
    several = ranks() > 1
    with quiet():
        try:
            trainer = Trainer(
                accelerator=config.trainer.accelerator,
                devices=ranks(),
                strategy=Replicas(module.backbone) if several else "auto",
                precision=_PRECISION[plain(config.trainer.precision)],
                max_epochs=1,
                callbacks=[watch, *bar, *([Together()] if several else [])],
                # The first: never what a cluster's variables say, processes are begun here alone.
                plugins=[Place(), WholeFiles()],
                default_root_dir=last.parent,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
            )
        except (MisconfigurationException, ValueError) as problem:
            raise UserError(
                f"trainer.accelerator={config.trainer.accelerator}: {problem}; use auto or cpu"
            ) from problem
        order.prepare = shared(ready_for(trainer.strategy.root_device, module.backbone.packs))
        try:
            trainer.fit(module, order, ckpt_path=last if last.exists() else None)
        except SIGTERMException:
            raise SystemExit(_TERMINATED) from None
        except SystemExit as ended:
            if isinstance(ended.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        finally:
            order.close()


def _described(config: DictConfig) -> dict[str, Any]:
    parts = {part: described(config[part]) for part in ("pooling", "loss", "optimizer")}
    return {**parts, "seed": config.seed}


def _of_devices(count: int) -> list[Fact]:
    return [fact("devices", count=count)] if count > 1 else []


def _scores(watch: Watch, examples: Examples) -> dict[str, float | int | None]:
    first, last = watch.curve.ends()
    scores: dict[str, float | int | None] = {}
    if examples.dev is not None:
        kept = watch.best_score if watch.keeps_best else watch.last_score
        scores[f"dev_{examples.dev.metric}"] = kept
        scores["dev_best"], scores["dev_last"] = watch.best_score, watch.last_score
        scores["best_step"] = watch.best_step
    return {**scores, "train_loss_first": first, "train_loss_last": last}
