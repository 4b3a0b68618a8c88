"""A plan worked through by several processes, each with one model at a time.

A model gets the numbers that it would get alone: what is drawn at random starts from its seed, and
the processes share nothing but the ledger, the caches and, on a GPU, its memory. On a CPU the
number of threads is part of the arithmetic, since sums are cut among them: the demo's model after
60 steps with 1 and with 2 threads differed in half of its weights, by 1.5e-4 at most, in the eighth
digit of its loss, and not in its Spearman correlations. Each process gets an equal share of the
cores; with `OMP_NUM_THREADS` set it gets that many threads under any JOBS=, and the weights of a
run are the same to the bit. All processes take the first GPU that they see; nothing of this has
been measured on a GPU.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import NoReturn

from sbert_repro.errors import UserError
from sbert_repro.tables.assemble import Done, Outcome
from sbert_repro.tables.one_by_one import known, left, title
from sbert_repro.tables.plan import Plan
from sbert_repro.tables.subject import Subject, Work
from sbert_repro.tables.worker import PATIENCE, start

_TERMINATED = 143
_LOOK = 1.0
"""Seconds between looks whether a process is still alive."""
_log = logging.getLogger(__name__)


@dataclass
class _Worker:
    """A process, this end of the line to it, and the subject it is busy with."""

    process: BaseProcess
    link: connection.Connection
    number: int | None = None


class SideBySide:
    """The launcher of `jobs` processes.

    Args:
        jobs: How many models at a time, 2 or more.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def __call__(self, plan: Plan, work: Work, finished: Callable[[Done], object]) -> Done:
        """Work through a plan.

        Args:
            plan: The plan.
            work: Training and evaluation; it is sent to the processes.
            finished: Called with all outcomes so far, at the start and after each row that had
                something to do.

        Returns:
            The outcome of every subject.

        Raises:
            UserError: Each model wants several processes of its own.
        """
        if (devices := plan.base.trainer.devices) > 1:
            raise UserError(
                f"jobs={self.jobs} with trainer.devices={devices}: either several models at a time "
                "or several processes for each; leave one of them out"
            )
        with _sigterm_as_exit():
            return _Round(plan, work, finished, self.jobs).run()


class _Round:
    """One way through a plan.

    Args:
        plan: The plan.
        work: Training and evaluation.
        finished: Called after each row.
        jobs: How many models at a time.
    """

    def __init__(
        self, plan: Plan, work: Work, finished: Callable[[Done], object], jobs: int
    ) -> None:
        self.plan, self.work, self.finished, self.jobs = plan, work, finished, jobs
        self.todo = left(plan)
        self.waiting = list(self.todo)
        self.done = known(plan)
        self.broken: dict[str, Outcome] = {}
        self.workers: list[_Worker] = []

    @property
    def busy(self) -> list[_Worker]:
        """Processes that have something to do."""
        return [worker for worker in self.workers if worker.number is not None]

    def run(self) -> Done:
        """Do all that is left."""
        self.finished(self.done)
        try:
            while self.waiting or self.busy:
                self._begin()
                connection.wait([worker.link for worker in self.busy], _LOOK)
                for worker in self.busy:
                    if worker.link.poll() or not worker.process.is_alive():
                        self._take(worker)
            return self.done
        finally:
            self._end()

    def _begin(self) -> None:
        """Give every free process the first subject that none of the others is in the way of."""
        for number in list(self.waiting):
            subject = self.plan.subjects[number]
            keys = [str(stage.key) for stage in subject.stages]
            if failed := [self.broken[key] for key in keys if key in self.broken]:
                self.waiting.remove(number)
                self._settle(number, failed[0])
            elif len(self.busy) < self.jobs and not claims(subject) & self._claimed():
                self.waiting.remove(number)
                worker = next((w for w in self.workers if w.number is None), None) or self._new()
                worker.number = number
                # One that died while it waited is found dead, with this as what it was to do.
                with contextlib.suppress(OSError):
                    worker.link.send(subject)
                _log.info("%s", title(self.plan, number))

    def _claimed(self) -> set[str]:
        numbers = [worker.number for worker in self.busy if worker.number is not None]
        return set().union(*(claims(self.plan.subjects[number]) for number in numbers))

    def _new(self) -> _Worker:
        self.workers.append(_Worker(*start(self.work, self.jobs)))
        return self.workers[-1]

    def _take(self, worker: _Worker) -> None:
        """Take what a process has to say, or that it is dead."""
        number = worker.number
        assert number is not None, "who says something was busy"
        broken: dict[str, Outcome] = {}
        try:
            found, broken = worker.link.recv()
        except (EOFError, OSError):
            found = self._died(worker, number)
        self.broken |= broken
        worker.number = None
        if found.failed:  # a GPU that failed may fail from then on: the next one starts afresh
            worker.link.close()
            self.workers.remove(worker)
        self._settle(number, found)

    def _died(self, worker: _Worker, number: int) -> Outcome:
        """Say of what a process died; the run that it was about is not tried again now."""
        worker.process.join(PATIENCE)
        code = worker.process.exitcode
        how = f"ended with status {code}"
        if code is not None and code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += f" (memory may have run out, JOBS={self.jobs - 1} or fewer takes less)"
        found = Outcome(reason=f"failed: its process {how}", failed=True)
        _log.error("%s: %s", self.plan.subjects[number].row.name, found.reason)
        for stage in self.plan.subjects[number].stages:
            with contextlib.suppress(UserError):  # it diverged, which is known
                if self.work.trained(str(stage.key)) is None:
                    self.broken[str(stage.key)] = found
                    break
        return found

    def _settle(self, number: int, outcome: Outcome) -> None:
        """Keep an outcome, and show a row that is complete with it."""
        self.done[number] = outcome
        count = sum(n in self.done for n in self.todo)
        said = outcome.reason or "done"
        _log.info(
            "%s: %s; %d of %d, %d at work",
            title(self.plan, number),
            said,
            count,
            len(self.todo),
            len(self.busy),
        )
        row = self.plan.subjects[number].row
        if all(n in self.done for n in self.todo if self.plan.subjects[n].row is row):
            self.finished(self.done)

    def _end(self) -> None:
        """End all processes: those that wait at once, those at work after their next checkpoint."""
        if self.busy:
            _log.warning("ending %d models, each after its next checkpoint", len(self.busy))
        for worker in self.workers:
            if worker.number is not None:
                worker.process.terminate()
            worker.link.close()
        try:
            for worker in self.workers:
                worker.process.join(PATIENCE)
        finally:
            for worker in self.workers:
                if worker.process.is_alive():
                    worker.process.kill()


def claims(subject: Subject) -> set[str]:
    """Name what no second process should want meanwhile: it would wait for a lock of the ledger.

    Args:
        subject: A model.

    Returns:
        Keys of the runs that are missing, and the model that is scored.
    """
    return {str(stage.key) for stage in subject.stages if stage.record is None} | {subject.model}


@contextlib.contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM end this process in order, the others before it."""

    def end(_number: int, _frame: object) -> NoReturn:
        raise SystemExit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
