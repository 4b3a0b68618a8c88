"""Jobs carried out, in this process or in several; a failure stops only its row.

The only file of this folder that calls training and evaluation. A launcher has one method,
`run(jobs, finished)`; `LAUNCHERS` names those that the command line can choose.

A job gets the numbers that it would get alone: what is drawn at random starts from its seed, and
the processes share nothing but the ledger, the caches and, on a GPU, its memory. On a CPU the
number of threads is part of the arithmetic, since sums are cut among them: the demo's model after
60 steps with 1 and with 2 threads differed in half of its weights, by 1.5e-4 at most, in the eighth
digit of its loss, and not in its Spearman correlations. Each process gets an equal share of the
cores; with `OMP_NUM_THREADS` set it gets that many threads under any JOBS=, and the weights of a
run are the same to the bit. All processes take the first GPU that they see; none of this has been
measured on a GPU.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from omegaconf import DictConfig, open_dict

from sbert_repro.data.read import read
from sbert_repro.data.schema import WHOLE, dataset, part_names
from sbert_repro.errors import UserError, is_out_of_memory
from sbert_repro.facts import duration
from sbert_repro.ledger import Ledger, Published, provenance
from sbert_repro.progress import EVERY
from sbert_repro.redaction import log_masked, masked
from sbert_repro.signals import TERMINATED, on_sigterm
from sbert_repro.storage import filling, write_file, write_once
from sbert_repro.tables.plan import (
    Job,
    Plan,
    Reason,
    Record,
    Result,
    Results,
    Stage,
    Work,
    cost_of_trainings,
)
from sbert_repro.tables.render import spent

PATIENCE = 120.0
"""Seconds that a training has to save its checkpoint after SIGTERM, before it is killed."""
_THREADS = "OMP_NUM_THREADS"
_TRIES = 2
"""How often a job is begun whose process is killed."""
_log = logging.getLogger(__name__)


# What training and evaluation are asked for


class LedgerWork:
    """Training and evaluation through the ledger below `paths.results`.

    Args:
        config: Composed options; `paths`, `profile` and `wandb` are read.
        group: The group of its runs in W&B, where their own options name none.
    """

    def __init__(self, config: DictConfig, group: str | None = None) -> None:
        self.wandb, self.group = config.wandb, group
        results = Path(config.paths.results)
        self.ledger = Ledger(results / "runs")
        profile = config.profile
        self.published = Published(
            results / profile.name / "records" if profile.from_records else None
        )

    def settings(self, config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
        """Return what the key of a training run is made of."""
        from sbert_repro.training.run import settings_of

        return settings_of(config, list(overrides))

    def parts(self, config: DictConfig, protocol: str) -> Sequence[str]:
        """Return the folds or topics that are there."""
        data, root = config.data, Path(config.paths.data)
        whole = read(dataset(data.name), root, WHOLE, allow_partial=bool(data.allow_partial))
        topics = [] if whole.subset is None else dict.fromkeys(whole.subset.tolist())
        return part_names(list(topics))[protocol]

    def check(self, config: DictConfig) -> None:
        """Read what a run would read."""
        data = config.data
        sources = None if data.sources is None else tuple(data.sources)
        for name, split, limit, chosen in (
            (data.name, data.split, data.limit, sources),
            (data.dev, data.dev_split, data.dev_limit, None),
        ):
            if name is not None:
                partial = bool(data.allow_partial)
                _read(name, Path(config.paths.data), split, limit, partial, chosen)

    def check_tasks(self, config: DictConfig, tasks: Sequence[str]) -> None:
        """Read the pairs of the tasks."""
        from sbert_repro.evaluation.leaks import refuse_seen
        from sbert_repro.evaluation.tasks import resolve

        root, partial = Path(config.paths.data), bool(config.data.allow_partial)
        refuse_seen(config, resolve(list(tasks), root))
        for task in resolve(list(tasks), root):
            for split in task.splits:
                _read(task.dataset, root, split, None, partial)

    def trained(
        self,
        config: DictConfig,
        overrides: Sequence[str],
        settings: dict[str, Any] | None = None,
    ) -> Record | None:
        """Return the record of a run; a UserError says that it diverged."""
        from sbert_repro.training.run import find

        return find(config, list(overrides), self.ledger, self.published, settings)

    def records(self) -> list[Record]:
        """Return all records there are."""
        found = (self.ledger.get(key) for key in self.ledger.keys())
        return [record for record in found if record is not None]

    def train(self, config: DictConfig, overrides: Sequence[str]) -> Record:
        """Train, or find the run in the ledger."""
        from sbert_repro.training.run import train

        return train(self._grouped(config), list(overrides))

    def _grouped(self, config: DictConfig) -> DictConfig:
        """Return a copy of some options with the table's of W&B, but their own name and group."""
        grouped = config.copy()
        grouped.wandb = self.wandb.copy()
        grouped.wandb.group = config.wandb.group or self.wandb.group or self.group
        grouped.wandb.name = config.wandb.name or self.wandb.name
        return grouped

    def scored(
        self, config: DictConfig, run: str | None, tasks: Sequence[str]
    ) -> dict[str, Record | None]:
        """Return the scores that are in the ledger."""
        from sbert_repro.evaluation.run import scored

        return scored(config, run, list(tasks), self.published)

    def score(self, config: DictConfig, run: str | None, tasks: Sequence[str]) -> dict[str, Record]:
        """Score, or find the scores in the ledger."""
        from sbert_repro.evaluation.run import score

        return score(self._grouped(config), run, list(tasks))

    def resampled(
        self, sums: Sequence[Sequence[tuple[float, str, tuple[str, ...]]]]
    ) -> tuple[list[tuple[float, float]], Record] | None:
        """Return the intervals of weighted sums of scores over resampled test items."""
        from sbert_repro.evaluation.bootstrap import intervals

        return intervals(sums, self.ledger, self.published)


def _read(
    name: str,
    root: Path,
    split: str,
    limit: int | None,
    partial: bool,
    sources: tuple[str, ...] | None = None,
) -> None:
    if error := _refusal(name, root, split, limit, partial, sources):
        raise error


@functools.cache
def _refusal(
    name: str,
    root: Path,
    split: str,
    limit: int | None,
    partial: bool,
    sources: tuple[str, ...] | None,
) -> UserError | None:
    """Return what is wrong with some rows; many jobs of a table read the same ones."""
    try:
        read(dataset(name), root, split, limit=limit, allow_partial=partial, sources=sources)
    except UserError as error:
        return error
    return None


# Without a GPU


def lacks_gpu(config: DictConfig) -> bool:
    """Tell whether trainings of profile paper would run on a CPU that nobody chose.

    Args:
        config: Composed options of `train.py` or of a table.

    Returns:
        Whether ``trainer.accelerator=auto`` finds no GPU.
    """
    if config.profile.name != "paper" or config.trainer.accelerator != "auto":
        return False
    import torch

    return not torch.accelerator.is_available()


def warn_without_gpu(
    config: DictConfig, work: LedgerWork, stages: Callable[[], Sequence[Stage]]
) -> None:
    """Say in the log what `hours_on_cpu` says, where a GPU is lacking and something is left.

    Args:
        config: Composed options.
        work: Has the records of earlier trainings.
        stages: Looks up the training runs that are left; only called where a GPU is lacking.
    """
    if lacks_gpu(config) and (left := stages()):
        _log.warning("%s", hours_on_cpu(config, left, work))


def hours_on_cpu(config: DictConfig, stages: Sequence[Stage], work: LedgerWork) -> str:
    """Say that trainings run on the CPU, and how long that takes where it was measured.

    Args:
        config: Composed options; `paths.results` and the profile's name are read.
        stages: Training runs that are left.
        work: Has the records of earlier ones.

    Returns:
        One line; without any measurement it names the command that makes one.
    """
    from sbert_repro.benchmarks import training_speed

    records = [one for one in work.records() if not one.get("hardware", {}).get("gpus")]
    cost, new = cost_of_trainings(stages, records)
    said = [spent(cost)] if cost.like else []
    configs = [stage.config for stage in new]
    said += training_speed.hours(
        configs, Path(config.paths.results), config.profile.name, on_cpu=True
    )
    said += ["Once finished, a run measures those like it."] if new else []
    runs = "1 training runs" if len(stages) == 1 else f"{len(stages)} trainings run"
    return f"trainer.accelerator=auto finds no GPU: {runs} on the CPU. {' '.join(said)}"


# Jobs


class Launcher(Protocol):
    """Carry out jobs, wherever that may be."""

    def run(self, jobs: Sequence[Job], finished: Callable[[Job, Result], object]) -> None:
        """Carry out jobs.

        Args:
            jobs: In the order in which they should begin.
            finished: Called in this process with the result of each job as it ends.
        """


def carry_out(plan: Plan, launcher: Launcher, show: Callable[[Results], object]) -> Results:
    """Do what is left of a plan.

    Args:
        plan: The plan.
        launcher: Who does it.
        show: Called with all results so far, at the start and after each row that had something to
            do, so that an interrupted table can be read.

    Returns:
        The result of every job.
    """
    results, todo = plan.known, plan.left
    rows = Counter(job.row.name for job in todo)
    show(results)

    def finished(job: Job, result: Result) -> None:
        results[job.number] = result
        said = result.reason.found if result.reason else "done"
        done = sum(other.number in results for other in todo)
        _log.info("%s: %s; %d of %d", job.title, said, done, len(todo))
        rows[job.row.name] -= 1
        if not rows[job.row.name]:
            show(results)

    launcher.run(todo, finished)
    return results


def execute(job: Job, work: Work, at_once: int = 1) -> Result:
    """Train and score one model; whatever goes wrong becomes the reason in its cells.

    Args:
        job: The model.
        work: Training and evaluation.
        at_once: How many jobs there are at a time; no bars are shown beside others.

    Returns:
        Scores, or the reason why there are none.
    """
    from sbert_repro.training.tracking import together

    trained: tuple[Record, ...] = ()
    with together():
        for stage in job.stages:
            row = job.row.name if stage is job.stages[-1] else ""
            result = train_stage(stage, job.title, work, at_once, row)
            if result.reason:
                return result
            trained += result.trained
        return score_model(job, trained, work, at_once)


def train_stage(stage: Stage, title: str, work: Work, at_once: int = 1, row: str = "") -> Result:
    """Train one stage, whose first stage has been trained.

    Args:
        stage: The training run.
        title: Of the job that it belongs to, for the log.
        work: Training and evaluation.
        at_once: How many jobs there are at a time.
        row: That it is the last stage of, which names it in W&B.

    Returns:
        Its record, or the reason why there is none.
    """
    config = _named(stage.config if at_once == 1 else without_bars(stage.config), row)
    try:
        return Result(trained=(work.train(config, stage.overrides),))
    except Exception as raised:
        return _failure(raised, title, at_once, str(stage.key))


def score_model(job: Job, trained: tuple[Record, ...], work: Work, at_once: int = 1) -> Result:
    """Score the model of a job.

    Args:
        job: The model, and what it is scored for.
        trained: Records of its training runs, the first stage first.
        work: Training and evaluation.
        at_once: How many jobs there are at a time.

    Returns:
        Scores, or the reason why there are none.
    """
    assert job.config is not None, "a job without options has a reason"
    config = _named(job.config if at_once == 1 else without_bars(job.config), job.row.name)
    model = trained[-1]["key"] if trained else None
    try:
        return Result(work.score(config, model, job.tasks), trained)
    except Exception as raised:
        return _failure(raised, job.title, at_once)


def _named(config: DictConfig, row: str) -> DictConfig:
    """Return a copy of some options whose run is named after a row in W&B, unless it has a name."""
    copy = config.copy()
    copy.wandb.name = config.wandb.name or row or None
    return copy


def _failure(raised: Exception, title: str, at_once: int, run: str = "") -> Result:
    error = _out_of_memory(at_once) if is_out_of_memory(raised) else raised
    reason = Reason.of(error, at_work=True)
    _log.error("%s: %s", title, reason.advice, exc_info=not isinstance(raised, UserError))
    return Result(reason=reason, failed_run=run)


def _out_of_memory(at_once: int) -> UserError:
    if at_once == 1:
        return UserError("out of memory", code="out_of_memory")
    found = f"out of memory with {at_once} models at a time; JOBS={at_once - 1} or fewer takes less"
    return UserError(found, code="out_of_memory")


class InProcess:
    """Carry out jobs in this process, one after the other.

    Args:
        work: Training and evaluation.
    """

    def __init__(self, work: Work) -> None:
        self.work = work

    def run(self, jobs: Sequence[Job], finished: Callable[[Job, Result], object]) -> None:
        """Carry out jobs; see `Launcher`."""
        failed: dict[str, Result] = {}
        for job in jobs:
            result = _failed_before(job, failed)
            if result is None:
                _log.info("%s", job.title)
                result = execute(job, self.work)
                if result.failed_run:
                    failed[result.failed_run] = result
            finished(job, result)


def _failed_before(job: Job, failed: dict[str, Result]) -> Result | None:
    """Return what became of a run of the job that failed for another one."""
    return next((failed[str(s.key)] for s in job.stages if str(s.key) in failed), None)


# Processes


class Processes:
    """Carry out jobs in several processes at a time.

    Each process is a pool of its own, so that one that is killed ends no other, and it is known
    which job it had.

    Args:
        work: Training and evaluation; it is sent to the processes.
        count: How many jobs at a time.
    """

    def __init__(self, work: Work, count: int) -> None:
        self.work, self.count = work, count

    def run(self, jobs: Sequence[Job], finished: Callable[[Job, Result], object]) -> None:
        """Carry out jobs; see `Launcher`.

        Jobs that share a missing run, or score one model, wait for one another. A job whose process
        is killed is tried once more. Ctrl-C and SIGTERM end the processes after they have saved
        their checkpoints, and so does the death of this one.
        """
        waiting, tries, begun = list(jobs), Counter[int](), time.monotonic()
        failed: dict[str, Result] = {}
        busy: dict[Future[Result], tuple[Job, ProcessPoolExecutor]] = {}
        idle: list[ProcessPoolExecutor] = []
        # Every process ends when this end is closed, by us or because we are dead.
        their_end, our_end = multiprocessing.Pipe(duplex=False)
        with on_sigterm():
            try:
                while waiting or busy:
                    for job in list(waiting):
                        result = _failed_before(job, failed)
                        if result is not None:
                            waiting.remove(job)
                            finished(job, result)
                        elif len(busy) < self.count and not claims(job) & set().union(
                            *(claims(other) for other, _ in busy.values())
                        ):
                            waiting.remove(job)
                            tries[job.number] += 1
                            _log.info("%s", job.title)
                            pool = idle.pop() if idle else self._pool(their_end)
                            busy[self._submit(pool, job)] = job, pool
                    for future in _next_ended(busy, len(jobs), len(waiting), begun):
                        job, pool = busy.pop(future)
                        result = self._result(future, job, last=tries[job.number] == _TRIES)
                        if result is None:
                            waiting.insert(0, job)
                        else:
                            if result.failed_run:
                                failed[result.failed_run] = result
                            finished(job, result)
                        if result is None or result.failed:
                            pool.shutdown()  # a GPU that failed may fail from then on
                        else:
                            idle.append(pool)
            finally:
                if busy:
                    _log.warning("ending %d jobs, each after its next checkpoint", len(busy))
                for pool in idle:
                    pool.shutdown()
                our_end.close()
                their_end.close()
                for _, pool in busy.values():
                    pool.shutdown(cancel_futures=True)

    def _pool(self, end: Connection) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(self.work, self.count, end),
        )

    def _submit(self, pool: ProcessPoolExecutor, job: Job) -> Future[Result]:
        """Give a process its job; the first one starts it."""
        with _share_of_threads(self.count), _without_interrupts():
            try:
                return pool.submit(_execute, job)
            except BrokenProcessPool as died:  # while it was idle
                future: Future[Result] = Future()
                future.set_exception(died)
                return future

    def _result(self, future: Future[Result], job: Job, *, last: bool) -> Result | None:
        """Return what became of a job, None if its process was killed and it is to begin again."""
        try:
            return future.result()
        except BrokenProcessPool:
            if last:
                return self._killed(job)
            _log.warning("%s: its process was killed; once more", job.title)
            return None

    def _killed(self, job: Job) -> Result:
        """Say what a process died of; the run that it was about is not tried again now."""
        fewer = f"; JOBS={self.count - 1} or fewer takes less memory" if self.count > 1 else ""
        found = f"its process was killed {_TRIES} times (memory may have run out{fewer})"
        reason = Reason("killed", found, failed=True, advice=found)
        _log.error("%s: %s", job.title, found)
        for stage in job.stages:
            with contextlib.suppress(UserError):  # it diverged, which is known
                if self.work.trained(stage.config, stage.overrides) is None:
                    return Result(reason=reason, failed_run=str(stage.key))
        return Result(reason=reason)


def _next_ended(
    busy: Collection[Future[Result]], total: int, waiting: int, begun: float
) -> set[Future[Result]]:
    """Wait until a job ends, and say from time to time that they are at work."""
    while not (ended := wait(busy, EVERY, return_when=FIRST_COMPLETED).done):
        _log.info("%s", _standing(total, waiting, len(busy), begun))
    return ended


def _standing(total: int, waiting: int, busy: int, begun: float) -> str:
    """Say how far the jobs are, and when they may be done if the others take as long."""
    done, seconds = total - waiting - busy, time.monotonic() - begun
    left = f", about {duration(seconds / done * (total - done))} left" if done else ""
    return f"{done} of {total} jobs done, {busy} at work, for {duration(seconds)}{left}"


def claims(job: Job) -> set[str]:
    """Return what no other process should want meanwhile: it would wait for a lock of the ledger.

    Args:
        job: A model.

    Returns:
        Keys of the runs that are missing, and the model that is scored.
    """
    return {str(stage.key) for stage in job.stages if stage.record is None} | {job.model}


@contextlib.contextmanager
def _share_of_threads(count: int) -> Iterator[None]:
    """Start processes with their share of the cores, unless the user chose a number of threads."""
    if os.environ.get(_THREADS):
        yield
        return
    os.environ[_THREADS] = str(max(1, (provenance()["hardware"]["cores"] or 1) // count))
    try:
        yield
    finally:
        del os.environ[_THREADS]


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: this one ends them so that they can save."""
    resource_tracker.ensure_running()  # starting that would let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker: list[tuple[Work, int]] = []
"""In a worker's process: its work, and how many jobs there are at a time."""


def _begin(work: Work, count: int, end: Connection) -> None:
    """Prepare a process that was just started."""
    _worker.append((work, count))
    # Bars and steps of several models would write over each other; problems are said.
    log_masked(logging.WARNING)
    threading.Thread(target=_follow, args=(end,), daemon=True).start()


def _follow(end: Connection) -> None:
    """End soon after the launcher, however it ended: training writes its checkpoint first."""
    with contextlib.suppress(EOFError, OSError):
        end.recv()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE)
    os.kill(os.getpid(), signal.SIGKILL)


def _execute(job: Job) -> Result:
    """Carry out a job in a worker."""
    work, count = _worker[0]
    try:
        result = execute(job, work, count)
    except SystemExit:
        # Told to end. The executor would send this back as a result and wait for the next job.
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(TERMINATED)
    # What this process keeps of the GPU's memory for later is missing beside it.
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return result


def without_bars(config: DictConfig) -> DictConfig:
    """Return a copy of some options that shows no progress.

    Args:
        config: Of a training or an evaluation.

    Returns:
        The copy.
    """
    copy = config.copy()
    with open_dict(copy):
        if "trainer" in copy:
            copy.trainer.progress = False
        else:
            copy.progress = False
    return copy


# What was done on a machine that does not see the results folder

Files = dict[str, bytes]
"""Name below the results folder → content."""


def store(files: Files, results: Path) -> None:
    """Put what another machine has made into the results folder, the record of a run last.

    Args:
        files: What it made.
        results: The folder.

    Raises:
        UserError: If a name leads out of the folder, or the disk refuses a file.
    """
    from sbert_repro.training.run import add_scores

    ledger, runs = Ledger(results / "runs"), dict[str, Files]()
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise UserError("leads out of the results folder", where=name)
        if path.parts[0] == "runs":
            key, own = path.parts[1], str(PurePosixPath(*path.parts[2:]))
            runs.setdefault(key, {})[own] = content
        else:
            write_file(results / name, content)
    for key, of_run in runs.items():
        folder, scores = ledger.folder(key), of_run.pop("metrics.json", None)
        with ledger.lock(key):
            if ledger.get(key) is None:
                _store_run(folder, of_run)
        if scores is not None:
            add_scores(folder, json.loads(scores))


def _store_run(folder: Path, files: Files) -> None:
    model = {name: content for name, content in files.items() if name.startswith("model/")}
    if model:
        with filling(folder / "model", replace=True) as place:
            for name, content in model.items():
                path = place / PurePosixPath(name).relative_to("model")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    record = files.get("record.json")
    for name in files.keys() - model.keys() - {"record.json"}:
        write_file(folder / name, files[name])
    if record is not None:
        write_once(folder / "record.json", record)


# The command line's words


def local(work: Work, count: int, base: DictConfig) -> Launcher:
    """Carry out jobs on this machine.

    Args:
        work: Training and evaluation.
        count: How many jobs at a time; if more than one, each has a process of its own.
        base: The profile's options.

    Returns:
        The launcher.

    Raises:
        UserError: Each job wants several processes of its own, or more than this machine has
            devices for.
    """
    refuse_both(count, base)
    if base.trainer.devices > 1:
        from sbert_repro.training.devices import check_devices

        check_devices(base.trainer.devices, base.trainer.accelerator)
    return InProcess(work) if count == 1 else Processes(work, count)


def refuse_both(count: int, base: DictConfig) -> None:
    """Refuse several jobs at a time that want several processes each.

    Args:
        count: How many jobs at a time.
        base: The profile's options.

    Raises:
        UserError: If that is so.
    """
    if count > 1 and (devices := base.trainer.devices) > 1:
        raise UserError(
            "either several models at a time or several processes for each; leave one of them out",
            where=f"jobs={count} with trainer.devices={devices}",
        )


def ray(work: Work, count: int, base: DictConfig) -> Launcher:
    """Carry out jobs on a Ray cluster.

    Args:
        work: Training and evaluation.
        count: How many jobs share a GPU, or the cores of a machine without one.
        base: The profile's options.

    Returns:
        The launcher.

    Raises:
        UserError: Ray is not installed, or the options do not fit together.
    """
    from sbert_repro.tables.ray import Ray  # it imports this module

    refuse_both(count, base)
    return Ray(work, count, base)


LAUNCHERS: dict[str, Callable[[Work, int, DictConfig], Launcher]] = {"local": local, "ray": ray}
"""Word on the command line → what makes the launcher."""


def launcher(name: str) -> Callable[[Work, int, DictConfig], Launcher]:
    """Look up a launcher.

    Args:
        name: The word after ``launcher=``.

    Returns:
        What makes it from the work, the number of jobs at a time and the options.

    Raises:
        UserError: There is none of this name.
    """
    if name not in LAUNCHERS:
        known = ", ".join(sorted(LAUNCHERS))
        raise UserError(f"there is no such launcher; there are: {known}", where=f"launcher={name}")
    return LAUNCHERS[name]


def group_of(name: str, profile: str) -> str:
    """Name the group in W&B of all runs of a table.

    Args:
        name: What the table is called there, such as "table_6".
        profile: Name of the profile.

    Returns:
        Such as "table_6_lite".
    """
    return f"{name}_{profile}"


def track(
    base: DictConfig,
    name: str,
    text: str,
    plots: Callable[[], Mapping[str, bytes]] = dict,
) -> None:
    """Send what was made to W&B as a table, with its plots; never a reason to fail.

    Args:
        base: The profile's options.
        name: What it is called in W&B.
        text: The table as CSV.
        plots: Draws them, name → PNG file; called only if they are sent.
    """
    import pandas as pd

    from sbert_repro.training import tracking

    own = group_of(name, base.profile.name)
    grouped = base.copy()
    grouped.wandb.group = base.wandb.group or own
    words = {"table": name, "profile": str(base.profile.name)}
    run = tracking.start(grouped, own, tracking.TABLE, {}, words, anew=True)
    if run.id is None:
        return
    run.log_table(name, pd.read_csv(io.StringIO(masked(text))))
    run.log_plots(plots)
    run.finish()
