"""``trainer.devices``: several processes, one per device, that share every batch of one run.

Lightning's DDP averages the gradients. Each process takes its `share` of the rows of a batch, so
the batch of a step and the order of the rows are those of one process (section 3.1: batches of 16).

# paper: one GPU, as far as is known
# here: ``trainer.devices`` processes; each draws its own dropout, so that the weights have the
# distribution of one process's, but other bits
# effect: none intended, on any trained row; not yet measured on GPUs
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import distributed
from torch.multiprocessing.spawn import (
    ProcessExitedException,
    ProcessRaisedException,
    start_processes,
)

from sbert_repro.backbone.transformer import LAYERS
from sbert_repro.batch import Batch, Tokens
from sbert_repro.errors import UserError
from sbert_repro.ledger import cores
from sbert_repro.redaction import log_masked
from sbert_repro.signals import TERMINATED
from sbert_repro.training.pretrained import Backbone

_PATIENCE = timedelta(hours=1)
"""How long a process waits for another that is alive: while it scores dev rows, for example."""
_GRACE = 10.0
"""Seconds that the others get to end by themselves after one has failed."""
_ASKED, _LAST_STEP = "asked", "last_step"
_RESULT, _REFUSAL = "result", "refusal-"
"""Files in the folder that the processes share."""


def check_devices(count: int, accelerator: str) -> None:
    """Refuse more processes than the machine has GPUs, or cores on a CPU.

    Args:
        count: ``trainer.devices``.
        accelerator: ``trainer.accelerator``.

    Raises:
        UserError: If there are not as many.
    """
    gpus = _on_gpus(accelerator)
    there = torch.cuda.device_count() if gpus else cores() or 1
    if count > max(there, 1):
        what = ("GPU" if gpus else "core") + ("" if there == 1 else "s")
        raise UserError(
            f"this machine has {there} {what}",
            where=f"trainer.devices={count}",
            mend=f"use trainer.devices={there}" + (", or trainer.accelerator=cpu" if gpus else ""),
        )


def _on_gpus(accelerator: str) -> bool:
    return accelerator != "cpu" and torch.cuda.is_available()


def run_processes(
    count: int, accelerator: str, function: Callable[..., Any], *arguments: Any
) -> Any:
    """Call a function in each of several new processes that form one process group.

    However this process ends, the others end with it; when one of them fails, all end. SIGTERM ends
    them after a step at which all of them have saved (`ends_after`).

    Args:
        count: How many processes.
        accelerator: ``trainer.accelerator``.
        function: A module's function; it and its arguments must be picklable.
        *arguments: Of each call.

    Returns:
        What the first process returned.

    Raises:
        UserError: If a process raised one, or died.
    """
    with tempfile.TemporaryDirectory(prefix="sbert-devices-") as name, _asking(Path(name)) as asked:
        folder = Path(name)
        group = {
            "backend": "nccl" if _on_gpus(accelerator) else "gloo",
            "init_method": f"file://{folder}/store",  # no port that others could connect to
            "world_size": count,
            "timeout": _PATIENCE,
        }
        threads = max(1, torch.get_num_threads() // count)  # together as many as one would use
        context = start_processes(
            _process, (group, threads, folder, function, arguments), count, join=False
        )
        try:
            while not context.join(grace_period=_GRACE):
                pass
        except (ProcessRaisedException, ProcessExitedException) as problem:
            if asked.exists():
                raise SystemExit(TERMINATED) from None
            if refusals := sorted(folder.glob(f"{_REFUSAL}*")):
                raise pickle.loads(refusals[0].read_bytes()) from None  # noqa: S301 - our own
            if isinstance(problem, ProcessRaisedException):
                raise
            raise UserError(
                f"process {problem.error_index} of trainer.devices={count} died "
                f"({problem.signal_name or f'status {problem.exit_code}'}; out of memory?)",
                mend="the same command continues from the last checkpoint",
            ) from None
        finally:
            for process in context.processes:
                process.kill()
                process.join()
        if asked.exists():  # too late to be heard; what is there has been saved
            raise SystemExit(TERMINATED)
        return pickle.loads((folder / _RESULT).read_bytes())  # noqa: S301 - our own


@contextmanager
def _asking(folder: Path) -> Iterator[Path]:
    """Turn SIGTERM into a file that the processes look for; yield its path."""
    asked = folder / _ASKED
    before = signal.signal(signal.SIGTERM, lambda *_: asked.touch())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


_folder: list[Path] = []
"""In one of several processes: the folder that they share."""


def ends_after(step: int, rank: int) -> bool:
    """Tell whether a run of several processes ends with a step; all of them decide alike.

    The first process names the next step in a file before it computes that step's gradients. No
    other process can end that step without them, so all have the file when they ask about it.

    Args:
        step: The step that has just been made.
        rank: Number of this process, from 0.

    Returns:
        Whether to save and end. Always false in a run of one process, which Lightning ends.
    """
    if not _folder:
        return False
    named = _folder[0] / _LAST_STEP
    if rank == 0 and (_folder[0] / _ASKED).exists() and not named.exists():
        _leave(named, str(step + 1).encode())
    return named.exists() and int(named.read_text()) == step


def _leave(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _process(
    rank: int,
    group: dict[str, Any],
    threads: int,
    folder: Path,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    # Ctrl-C and the death of the parent (PyTorch asks the kernel for a SIGINT then) end a process
    # at once, even while it waits for a GPU. SIGTERM is for the parent: Lightning's handler would
    # talk to the other processes in the middle of whatever they are telling each other.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    log_masked(logging.WARNING)
    torch.set_num_threads(threads)
    os.environ["LOCAL_RANK"] = str(rank)  # tells Lightning that the processes are there
    os.environ["WANDB_SILENT"] = "true"  # it warns of several writers, and there is one
    if "lo" in {name for _, name in socket.if_nameindex()}:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nobody outside can connect
    if group["backend"] == "nccl":
        torch.cuda.set_device(rank)
    _folder.append(folder)
    distributed.init_process_group(rank=rank, **group)
    # Files, not a pipe: what is larger than a pipe holds would wait for a reader who waits for us.
    try:
        result = function(*arguments)
    except UserError as problem:
        _leave(folder / f"{_REFUSAL}{rank}", pickle.dumps(problem))
        sys.exit(1)
    if rank == 0:
        _leave(folder / _RESULT, pickle.dumps(result))
    distributed.destroy_process_group()


def ddp(backbone: Backbone) -> DDPStrategy:
    """Return Lightning's DDP for a backbone, among the processes of `run_processes`.

    Args:
        backbone: What is trained; its output may not depend on all of its weights.

    Returns:
        The strategy for Lightning's trainer.
    """
    # All processes load equal weights, and nothing else changes. Synchronising buffers would cost:
    # the word vectors of a BiLSTM are 2 GB, mapped read-only from the disk.
    return DDPStrategy(
        find_unused_parameters=_has_unused_parameters(backbone),
        broadcast_buffers=False,
        init_sync=False,
        timeout=_PATIENCE,
    )


def _has_unused_parameters(backbone: Backbone) -> bool:
    pooler = any(name.startswith("model.pooler.") for name, _ in backbone.named_parameters())
    return pooler or (backbone.layer in LAYERS and LAYERS[backbone.layer][-1] != -1)


def seed_dropout(rank: int) -> None:
    """Let each process draw its own dropout from here on.

    Args:
        rank: Number of this process, from 0; the first one keeps the run's own draws.
    """
    if rank:
        # Not seed + rank, which is what the first process of the next seed draws.
        mixed = np.random.SeedSequence([torch.initial_seed(), rank]).generate_state(2)
        torch.manual_seed(int(mixed[0]) << 31 | int(mixed[1]))


def share(batch: Batch, rank: int, count: int) -> Batch:
    """Return the rows of a batch that one of several processes takes.

    All objectives are means over examples, so a share of n of B rows weighs ``count · n / B`` in
    the mean over the processes. If a batch has fewer rows than there are processes, those without a
    row compute the first one with weight 0, since the others wait for their gradients.

    Args:
        batch: ``B`` examples.
        rank: Number of the process, from 0.
        count: Number of processes.

    Returns:
        The process's examples, padded to their longest sentence; ``rows`` are the whole batch's.
    """
    size = len(batch.rows)
    own = torch.arange(size)[rank::count]
    taken = own if len(own) else torch.zeros(1, dtype=torch.int64)
    # Column after column, as the sentences of a batch are laid out.
    index = torch.cat([taken + column * size for column in range(batch.columns)])
    mask = batch.tokens.mask[index]
    longest = int(mask.sum(1).max())
    types = batch.tokens.types
    return replace(
        batch,
        tokens=Tokens(
            batch.tokens.ids[index, :longest],
            mask[:, :longest],
            None if types is None else types[index, :longest],
        ),
        target=None if batch.target is None else batch.target[taken],
        weight=count * len(own) / size,
    )
