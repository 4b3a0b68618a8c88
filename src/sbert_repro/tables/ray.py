"""``launcher=ray``: the jobs of a table as tasks of a Ray cluster, on one machine or many.

A stage of training is a task, and so is the scoring of a model. A task gets what it waits for (its
first stage, or the model that it scores) as object references, so the order of the work is Ray's
own, and so is where a task runs and that it is begun again when its process or node is lost. A task
that fails by itself returns the reason as its result, which fails the rows that need it and no
others.

Workers use the results folder of this process where they see it: a task that is begun again goes on
from the last checkpoint. A worker that does not see it works in a folder of its own; what that
holds in the end comes back with the result, and is stored here.

Numbers are those of the local launcher: a task has as many threads as a job has there.

# here: that a GPU is given to one task, or to JOBS of them, is Ray's doing; no table has been made
# on GPUs yet
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import logging
import os
import secrets
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError
from rich.console import Console
from rich.live import Live
from rich.table import Table as Grid

from sbert_repro.backbone.find_model import find_model
from sbert_repro.backbone.transformer import load_config
from sbert_repro.compose import prepare
from sbert_repro.config import CONFIG_DIR
from sbert_repro.errors import UserError
from sbert_repro.ledger import ROOT, cores, versions
from sbert_repro.redaction import log_masked
from sbert_repro.signals import TERMINATED, on_sigterm
from sbert_repro.storage import folder_sha256, write_file
from sbert_repro.tables.forecast import Task, play
from sbert_repro.tables.launch import (
    PATIENCE,
    Files,
    score_model,
    store,
    train_stage,
    without_bars,
)
from sbert_repro.tables.plan import (
    Job,
    Reason,
    Record,
    Result,
    Stage,
    Work,
    alike,
    duration_key,
    seconds_of,
)
from sbert_repro.tables.render import in_words

ADDRESS = "RAY_ADDRESS"
_RETRIES = 5
"""How often a task is begun again whose process or node is lost."""
_BASE_WIDTH = 768
"""States of BERT-base; what is wider gets a GPU of its own."""
_OBJECTS = 256 * 2**20
"""Bytes of shared memory for the objects of a cluster of our own, where all is on one disk."""
_PASSED = ("HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM", "WANDB_MODE")
"""Variables that tasks get from this process. Ray shows them to everybody, so none is a secret."""
_TICK = 1.0
"""Seconds between two looks at what has ended."""
_LINE_EVERY = 60.0
"""Seconds between two lines where there is no terminal for a live table."""
_FIRST_LINE = 10.0
"""Seconds before the first one."""
_SHOWN = 20
"""Lines of the live table."""
_MOST_TASKS = 10_000
_STATE_TIMEOUT = 5
_ANSWERS = 10.0
"""Seconds that the head node has to answer."""
_LOADS = 900.0
"""Seconds that a node has to load the program, from a slow shared disk or while it is busy."""
_THREADS = "OMP_NUM_THREADS"
_SAME = "install the same checkout with requirements.lock and requirements-ray.lock there"
_log = logging.getLogger(__name__)


# What runs on the workers


@dataclass(frozen=True)
class _Common:
    """What all tasks of a table share.

    Attributes:
        work: Training and evaluation.
        at_once: How many jobs share a GPU, or a machine.
        results: The results folder of the process that makes the table.
        mark: A file in it that only this process has made, so that a worker knows it again.
        folders: Names of other `paths` → where they are for that process.
    """

    work: Work
    at_once: int
    results: Path
    mark: Path
    folders: dict[str, Path]


@dataclass(frozen=True)
class _Node:
    """What a node has: whether it sees the results folder, and which code and libraries it runs."""

    host: str
    sees: bool
    runs: dict[str, str]


def _look(mark: Path) -> _Node:
    installed = {name: str(version).partition("+")[0] for name, version in versions().items()}
    package = Path(__file__).resolve().parents[1]
    code = folder_sha256(package, (".py",)) + folder_sha256(CONFIG_DIR, (".yaml",))
    return _Node(socket.gethostname(), mark.exists(), {"sbert_repro": code, **installed})


class _Workplace:
    """Where a task works: in the table's results folder, or in one of its own.

    Args:
        common: What all tasks share.
        results: The folder.
        given: Files that were put into it.
    """

    def __init__(self, common: _Common, results: Path, given: Files) -> None:
        self.results, self._given = results, given
        self._own = results != common.results
        self._paths = {"results": results} | {
            name: folder
            for name, folder in common.folders.items()
            if folder.is_dir() or (name == "cache" and not self._own)
        }

    def here(self, config: DictConfig) -> DictConfig:
        """Return options with the folders of this machine; no bars, others run beside."""
        config = without_bars(config)
        for name, folder in self._paths.items():
            config.paths[name] = str(folder)
        return config

    def words(self) -> tuple[str, ...]:
        """Return the folders as overrides: a first stage is composed from its words anew."""
        quoted = {
            n: str(p).replace("\\", "\\\\").replace("'", "\\'") for n, p in self._paths.items()
        }
        return tuple(f"paths.{name}='{folder}'" for name, folder in quoted.items())

    def files(self) -> Files:
        """Return what has to be brought back: nothing from the table's own folder."""
        found = _files(self.results, self.results) if self._own else {}
        return {n: content for n, content in found.items() if self._given.get(n) != content}


def _files(folder: Path, results: Path) -> Files:
    """Read the files of a folder below the results, without locks and checkpoints."""
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".locks", "checkpoints"} & set(path.relative_to(results).parts)
    }


@contextlib.contextmanager
def _workplace(common: _Common, given: Files) -> Iterator[_Workplace]:
    """Prepare a worker for a task; one that is told to end saves its checkpoint and dies.

    Ray interrupts a task that is cancelled; training saves itself on SIGTERM only. What ends with
    status 143 is begun again elsewhere, unless it was cancelled.
    """
    if (ROOT / "configs").is_dir():
        os.chdir(ROOT)  # relative folders are those of the checkout
    log_masked(logging.WARNING)
    before = [
        signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM)),
        signal.signal(signal.SIGTERM, signal.SIG_DFL),  # Ray's own handler would come first
    ]
    try:
        if common.mark.exists():
            yield _Workplace(common, common.results, {})
            return
        with tempfile.TemporaryDirectory(prefix="sbert-ray-") as own:
            for name, content in given.items():
                write_file(Path(own) / name, content)
            yield _Workplace(common, Path(own), given)
    except SystemExit:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(TERMINATED)
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


def _train(
    common: _Common, stage: Stage, title: str, row: str, given: Files, *before: Result
) -> tuple[Result, Files]:
    """Train a stage; ``before`` and ``given`` are the result and the files of its first stage."""
    if failed := next((result for result in before if result.reason), None):
        return failed, {}
    with _workplace(common, given) as place:
        config = place.here(stage.config)
        prepare(config)
        moved = replace(stage, config=config, overrides=(*stage.overrides, *place.words()))
        result = train_stage(moved, title, common.work, common.at_once, row)
        return result, place.files()


def _score(common: _Common, job: Job, given: Files, *trained: Result) -> tuple[Result, Files]:
    """Score a model; ``given`` are the files of its last stage, ``trained`` all results."""
    if failed := next((result for result in trained if result.reason), None):
        return failed, {}
    assert job.config is not None, "a job without options has a reason"
    with _workplace(common, given) as place:
        config = place.here(job.config)
        prepare(config)
        records = tuple(record for result in trained for record in result.trained)
        result = score_model(replace(job, config=config), records, common.work, common.at_once)
        return result, place.files()


# What runs here


def _refuse_unreachable(address: str) -> None:
    """Refuse an address that nobody answers at, which Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "/" in host:
        found = "expected host:port of the cluster's head node"
    else:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _ANSWERS).close()
            return
        except OSError as problem:
            found = f"nobody answers ({problem})"
    raise UserError(
        found,
        where=f"{ADDRESS}={address}",
        mend="start the cluster, and this command on one of its machines; see docs/cluster.md",
    )


@dataclass(eq=False)
class _Item:
    """A task, as seen from here.

    Attributes:
        title: What it does.
        result: Reference of its `Result`.
        files: Reference of its `Files`; None once they are stored.
        like: What its time depends on.
        after: The training that it waits for, if it is one of these.
        job: What is finished when it ends; None for a training.
        host: Where it runs; "" while it does not.
        since: When it was first seen running.
    """

    title: str
    result: Any
    files: Any
    like: str
    after: _Item | None = None
    job: Job | None = None
    host: str = ""
    since: float = 0.0


class Ray:
    """Carry out jobs on the cluster of ``RAY_ADDRESS``, or on one of its own on this machine.

    Args:
        work: Training and evaluation; it is sent to the workers.
        count: How many jobs share a GPU, or the cores of a machine without one.
        base: The profile's options.

    Raises:
        UserError: If Ray is not installed.
    """

    def __init__(self, work: Work, count: int, base: DictConfig) -> None:
        self.work, self.count, self.base = work, count, base
        if importlib.util.find_spec("ray") is None:
            raise UserError(
                "Ray is not installed",
                where="launcher=ray",
                mend="install it with `make setup EXTRAS=ray`",
                code="missing",
            )
        if not os.environ.get(ADDRESS):
            # Read when Ray is imported. It was made for other systems; here it keeps every port of
            # a cluster of our own on 127.0.0.1.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_task_oom_retries", str(_RETRIES))  # Ray's own has no end
        self.ray = importlib.import_module("ray")

    def run(self, jobs: Sequence[Job], finished: Callable[[Job, Result], object]) -> None:
        """Carry out jobs; see `launch.Launcher`.

        Ctrl-C and SIGTERM end the tasks, each after it has saved its checkpoint.

        Args:
            jobs: In the order in which they should begin.
            finished: Called with the result of each job as it ends.

        Raises:
            UserError: If the cluster does not answer, or its nodes cannot do the work.
        """
        if not jobs:
            return
        results = Path(self.base.paths.results).absolute()
        mark = results / "runs" / ".locks" / f"ray-{secrets.token_hex(8)}"
        write_file(mark, "")
        waiting: list[_Item] = []
        try:
            self._connect()
            with on_sigterm():
                try:
                    shared = self._check_nodes(mark)
                    folders = {
                        n: Path(self.base.paths[n]).absolute() for n in ("cache", "data", "models")
                    }
                    common = _Common(self.work, self.count, results, mark, folders)
                    waiting = self._submit(jobs, common, None if shared else results)
                    self._follow(waiting, results, finished)
                except SystemExit:  # out of Ray's own waiting it comes with status 1
                    raise SystemExit(TERMINATED) from None
                finally:
                    self._end(waiting)
        finally:
            self.ray.shutdown()
            mark.unlink(missing_ok=True)

    def _connect(self) -> None:
        address = os.environ.get(ADDRESS)
        options: dict[str, Any] = {"address": address, "logging_level": logging.ERROR}
        if not address:
            options |= {"address": "local", "num_cpus": cores(), "object_store_memory": _OBJECTS}
        elif address != "auto":
            _refuse_unreachable(address)
        try:
            context = self.ray.init(**options)
        except Exception as problem:  # Ray raises all kinds, and plain Exception too
            raise UserError(
                f"{'the cluster cannot be joined' if address else 'Ray did not start'} ({problem})",
                where=f"{ADDRESS}={address}" if address else "launcher=ray",
                mend="see docs/cluster.md",
            ) from problem
        if not address and (own := Path.home() / ".ray" / "auth_token").is_file():
            own.chmod(0o600)  # Ray writes it for everybody to read
        if context.dashboard_url:
            token = "; its token: `ray get-auth-token`" if not address else ""
            _log.info("Ray dashboard: http://%s%s", context.dashboard_url, token)

    def _nodes(self) -> list[dict[str, Any]]:
        """Return the nodes that can work."""
        return [
            node
            for node in self.ray.nodes()
            if node["Alive"] and (node["Resources"].get("CPU") or node["Resources"].get("GPU"))
        ]

    def _check_nodes(self, mark: Path) -> bool:
        """Refuse nodes with other code or libraries; return whether all see the results folder."""
        nodes, here, blind = self._nodes(), _look(mark), []
        if not nodes:
            raise UserError(
                "the cluster has no node with cores or GPUs",
                where=f"{ADDRESS}={os.environ.get(ADDRESS)}",
                mend="start its workers first",
            )
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        # In the environment of the tasks, so that they find its process, libraries loaded.
        look = self.ray.remote(num_cpus=0, runtime_env=self._environment)(_look)
        asked = []
        for node in nodes:
            there = strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked.append(look.options(scheduling_strategy=there).remote(mark))
        _log.info("asking each of %d nodes for its code and libraries", len(nodes))
        end = time.monotonic() + _LOADS
        for node, reference in zip(nodes, asked, strict=True):
            host = node["NodeManagerHostname"]
            try:
                found = self.ray.get(reference, timeout=max(0.0, end - time.monotonic()))
            except self.ray.exceptions.GetTimeoutError as problem:
                raise UserError(
                    f"has not loaded this program within {in_words(_LOADS)}",
                    where=f"node {host}",
                    mend="look at what else it does, and at Ray's logs on it; then try again",
                ) from problem
            except self.ray.exceptions.RayError as problem:
                last = str(problem).strip().splitlines()[-1:]
                raise UserError(
                    f"cannot run this program ({' '.join(last)})",
                    where=f"node {host}",
                    mend=_SAME,
                ) from problem
            if other := [
                name for name, is_here in here.runs.items() if found.runs[name] != is_here
            ]:
                raise UserError(
                    f"has another version of {', '.join(other)} than this machine",
                    where=f"node {host}",
                    mend=_SAME,
                )
            blind += [] if found.sees else [host]
        if blind:
            _log.warning(
                "%s: does not see the results folder; what is done there is brought here when it "
                "ends, and begins anew when it is lost",
                ", ".join(blind),
            )
        return not blind

    def _submit(self, jobs: Sequence[Job], common: _Common, unshared: Path | None) -> list[_Item]:
        """Hand all tasks to Ray; each stage once, whoever needs it."""
        ray, everything = self.ray, self.ray.put(common)
        train, score = ray.remote(_train), ray.remote(_score)
        items: list[_Item] = []
        trained: dict[str, _Item] = {}
        stored: dict[str, Any] = {}
        for job in jobs:
            before: _Item | None = None
            results: list[Any] = []
            files: Any = {}
            for stage in job.stages:
                if stage.record is not None:
                    key = stage.record["key"]
                    if unshared is not None and key not in stored:
                        run = unshared / "runs" / key
                        stored[key] = ray.put(_files(run, unshared))
                    results.append(Result(trained=(stage.record,)))
                    files = stored.get(key, {})
                    continue
                key = str(stage.key)
                if key not in trained:
                    title = f"{job.title}: training"
                    row = job.row.name if stage is job.stages[-1] else ""
                    options = self._options(title, stage.config, self.base.trainer.devices)
                    result, produced = train.options(**options).remote(
                        everything, stage, job.title, row, files, *results[-1:]
                    )
                    trained[key] = _Item(title, result, produced, duration_key(stage), before)
                    items.append(trained[key])
                before = trained[key]
                results.append(before.result)
                files = before.files
            title = f"{job.title}: scoring"
            assert job.config is not None, "a job without options has a reason"
            result, produced = score.options(**self._options(title, job.config, 1)).remote(
                everything, job, files, *results
            )
            like = f"{job.config.encoder.get('path')} {job.tasks}"
            items.append(_Item(title, result, produced, like, before, job))
        return items

    def _options(self, title: str, config: DictConfig, devices: int) -> dict[str, Any]:
        """Return what Ray has to know of a task."""
        needs = self._needs
        if "num_gpus" in needs and (devices > 1 or self._is_wide(config)):
            needs = {**needs, "num_gpus": devices}
        return {
            "name": title,
            "num_returns": 2,
            "max_retries": _RETRIES,
            "runtime_env": self._environment,
            **needs,
        }

    @functools.cached_property
    def _needs(self) -> dict[str, float]:
        """What a task occupies: a GPU or part of one where there are any, else cores."""
        of_gpus = any(node["Resources"].get("GPU") for node in self._nodes())
        if of_gpus and self.base.trainer.accelerator != "cpu":
            return {"num_gpus": 1 / self.count, "num_cpus": 1}
        chosen = os.environ.get(_THREADS)
        largest = max(int(node["Resources"].get("CPU", 0)) for node in self._nodes())
        wanted = int(chosen) if chosen else max(1, (cores() or 1) // self.count)
        if chosen and wanted > largest:
            raise UserError(f"no node has more than {largest} cores", where=f"{_THREADS}={chosen}")
        return {"num_cpus": min(wanted, largest)}

    @functools.cached_property
    def _threads(self) -> int:
        """Threads of a task: as many as a job of the local launcher has here."""
        import torch

        if chosen := os.environ.get(_THREADS):
            return int(chosen)
        if "num_gpus" in self._needs:
            of = [node["Resources"] for node in self._nodes() if node["Resources"].get("GPU")]
            return max(1, int(min(r.get("CPU", 1) / r["GPU"] for r in of) / self.count))
        return torch.get_num_threads() if self.count == 1 else int(self._needs["num_cpus"])

    @property
    def _environment(self) -> dict[str, Any]:
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        return {"env_vars": {**passed, _THREADS: str(self._threads)}}

    def _is_wide(self, config: DictConfig) -> bool:
        """Tell whether a network is larger than BERT-base, so that it gets a GPU of its own."""
        encoder = config.encoder
        try:
            folder = find_model(encoder.path, Path(config.paths.models), encoder.get("revision"))
            return int(load_config(folder).hidden_size) > _BASE_WIDTH
        except (UserError, ConfigAttributeError, AttributeError):  # not a transformer
            return False

    def _slots(self) -> int:
        """Return how many tasks run at a time."""
        names = {"num_gpus": "GPU", "num_cpus": "CPU"}
        fits = (
            min(node["Resources"].get(names[n], 0) // need for n, need in self._needs.items())
            for node in self._nodes()
        )
        return max(1, int(sum(fits)))

    def _follow(
        self, waiting: list[_Item], results: Path, finished: Callable[[Job, Result], object]
    ) -> None:
        """Take what ends out of a list until it is empty."""
        with _Progress(self.ray, waiting, self._slots(), self.work.records()) as progress:
            while waiting:
                by_reference = {item.result: item for item in waiting}
                ready, _ = self.ray.wait(list(by_reference), timeout=_TICK)
                for item in map(by_reference.__getitem__, ready):
                    result = self._result(item, results)
                    waiting.remove(item)
                    progress.ended(item, result)
                    if item.job is not None:
                        finished(item.job, result)
                progress.show()

    def _result(self, item: _Item, results: Path) -> Result:
        """Fetch what a task has left; what it worked on elsewhere is stored first."""
        try:
            result: Result = self.ray.get(item.result)
            store(self.ray.get(item.files), results)
        except self.ray.exceptions.RayError as problem:
            reason = self._lost(problem)
            _log.error("%s: %s", item.title, reason.advice)
            return Result(reason=reason)
        item.files = None
        return result

    def _lost(self, problem: Exception) -> Reason:
        """Say why a task has no result of its own."""
        kinds = self.ray.exceptions
        if isinstance(problem, kinds.OutOfMemoryError):
            found, code = "the memory of its machine ran out", "out_of_memory"
        elif isinstance(problem, kinds.RayTaskError):
            return Reason.of(problem.cause, at_work=True)
        else:
            found, code = f"its process or its machine was lost {_RETRIES + 1} times", "killed"
        return Reason(code, found, True, f"{found} ({' '.join(str(problem).split())})")

    def _end(self, waiting: list[_Item]) -> None:
        """End the tasks that are left; one that is training saves its checkpoint first."""
        if not waiting:
            return
        _log.warning("ending %d tasks, each after it has saved its checkpoint", len(waiting))
        references = [item.result for item in waiting]
        for reference in reversed(references):  # those that wait before those they wait for
            self.ray.cancel(reference)
        _, left = self.ray.wait(references, num_returns=len(references), timeout=PATIENCE)
        for reference in left:
            self.ray.cancel(reference, force=True)


class _Progress:
    """What waits, runs and has ended: a live table on a terminal, elsewhere a line now and then.

    Args:
        ray: The library.
        items: All tasks; those that end are taken out of this list by its owner.
        slots: How many run at a time.
        records: Of the ledger, which know how long trainings took.
    """

    def __init__(
        self, ray: ModuleType, items: list[_Item], slots: int, records: list[Record]
    ) -> None:
        self._ray, self._items, self._slots = ray, items, slots
        self._seconds = {
            like: [seconds_of(record) for record in found] for like, found in alike(records).items()
        }
        self._done = self._failed = 0
        self._asked = time.monotonic() - _LINE_EVERY + _FIRST_LINE
        self._sees_states = True
        console = Console(stderr=True)
        self._live = Live(console=console, transient=True) if console.is_terminal else None
        self._streams: list[tuple[logging.StreamHandler[Any], Any]] = []

    def __enter__(self) -> _Progress:
        if self._live is not None:
            self._live.start()
            # Lines of the log go above the table, which has taken the place of stderr.
            for handler in logging.getLogger().handlers:
                if type(handler) is logging.StreamHandler:
                    self._streams.append((handler, handler.setStream(sys.stderr)))
        return self

    def __exit__(self, *_: object) -> None:
        for handler, stream in self._streams:
            handler.setStream(stream)
        if self._live is not None:
            self._live.stop()

    def ended(self, item: _Item, result: Result) -> None:
        """Count a task that has ended, and learn how long its like takes.

        Args:
            item: The task.
            result: Its result.
        """
        self._failed += result.reason is not None
        self._done += result.reason is None
        records = result.scores.values() if item.job is not None else result.trained
        if records:
            self._seconds.setdefault(item.like, []).append(sum(map(seconds_of, records)))

    def show(self) -> None:
        """Show how things are, if it is time to."""
        now = time.monotonic()
        if now - self._asked >= (_TICK if self._live is not None else _LINE_EVERY):
            self._asked = now
            self._find_where_they_run()
            if self._live is not None:
                self._live.update(self._table())
            elif self._items:
                _log.info("%s", self._line())

    def _find_where_they_run(self) -> None:
        """Ask Ray for the state of every task; a cluster without a dashboard does not know."""
        if not self._sees_states:
            return
        try:
            own = self._ray.get_runtime_context().get_job_id()
            tasks = importlib.import_module("ray.util.state").list_tasks(
                filters=[("job_id", "=", own), ("state", "=", "RUNNING")],
                limit=_MOST_TASKS,
                timeout=_STATE_TIMEOUT,
                raise_on_missing_output=False,
            )
        except Exception:  # whatever it is, the work goes on
            _log.info("where tasks run is not known: the cluster has no dashboard to ask")
            self._sees_states = False
            return
        hosts = {node["NodeID"]: node["NodeManagerHostname"] for node in self._ray.nodes()}
        running = {task.task_id: hosts.get(task.node_id, "?") for task in tasks}
        for item in self._items:
            host = running.get(item.result.task_id().hex(), "")
            if host and not item.host:
                item.since = time.monotonic()
            item.host = host

    def _line(self) -> str:
        running = Counter(item.host for item in self._items if item.host)
        where = ", ".join(f"{count} on {host}" for host, count in sorted(running.items()))
        waits = len(self._items) - running.total()
        return (
            f"{self._done} done, {self._failed} failed, {running.total()} running"
            f"{f' ({where})' if where else ''}, {waits} waiting; {self._left()}"
        )

    def _left(self) -> str:
        """Say how long it takes until all is done, as far as the like was measured."""
        tasks, unknown, now = [], 0, time.monotonic()
        # What runs comes first, whatever its place in the table.
        for item in sorted(self._items, key=lambda item: not item.host):
            if not (like := self._seconds.get(item.like)):
                unknown += 1
                continue
            gone = now - item.since if item.host else 0.0
            after = str(id(item.after)) if item.after is not None else ""
            tasks.append(Task(str(id(item)), max(0.0, statistics.fmean(like) - gone), after))
        if not tasks:
            return "time left: not known before the first one of its kind has ended"
        least = f"at least, {unknown} are of a kind not measured yet" if unknown else "left"
        return f"about {in_words(play(tasks, self._slots).seconds)} {least}"

    def _table(self) -> Grid:
        grid = Grid(title=self._line(), title_justify="left", box=None)
        for name in ("running", "on", "for"):
            grid.add_column(name, no_wrap=True)
        running = [item for item in self._items if item.host]
        for item in running[:_SHOWN]:
            grid.add_row(item.title, item.host, in_words(time.monotonic() - item.since))
        if len(running) > _SHOWN:
            grid.add_row(f"… and {len(running) - _SHOWN} more", "", "")
        return grid
