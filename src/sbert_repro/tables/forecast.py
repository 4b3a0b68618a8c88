"""How long trainings would take on n devices: their DAG played through with measured times.

Times are of the machine that they were measured on; nothing is carried over to another one, and
what was not measured is counted apart.
"""

from __future__ import annotations

import heapq
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sbert_repro.benchmarks import training_speed
from sbert_repro.config import plain
from sbert_repro.ledger import machine
from sbert_repro.tables.plan import AllTables, Record, alike, duration_key, seconds_of

DEVICES = (1, 8, 64)
"""How many GPUs the dry run of all tables reckons with."""
_HOUR = 3600


@dataclass(frozen=True)
class Task:
    """Something that occupies a device for a time.

    Attributes:
        name: Of its own.
        seconds: How long it takes.
        after: Name of the task that it waits for; "" or an unknown name: none.
    """

    name: str
    seconds: float
    after: str = ""


@dataclass(frozen=True)
class Forecast:
    """What became of tasks that were played through.

    Attributes:
        seconds: When the last one ends.
        chain: Seconds of the longest chain of tasks, which no number of devices shortens.
        idle: The share of the devices' time that nothing is done in, 0 to 1.
    """

    seconds: float
    chain: float
    idle: float


def play(tasks: Sequence[Task], devices: int) -> Forecast:
    """Give each device that is free the first task that waits for nothing.

    Args:
        tasks: In the order in which they should begin.
        devices: How many there are.

    Returns:
        The forecast.
    """
    names, chains = {task.name for task in tasks}, dict[str, float]()
    waiting, running, clock = list(tasks), list[tuple[float, str, float]](), 0.0
    while waiting or running:
        for task in list(waiting):
            if len(running) < devices and (task.after not in names or task.after in chains):
                waiting.remove(task)
                chain = task.seconds + chains.get(task.after, 0.0)
                heapq.heappush(running, (clock + task.seconds, task.name, chain))
        clock, name, chain = heapq.heappop(running)
        chains[name] = chain
    work = sum(task.seconds for task in tasks)
    idle = 1 - work / (devices * clock) if clock else 0.0
    return Forecast(clock, max(chains.values(), default=0.0), idle)


@dataclass
class _Measured:
    """Trainings whose like was measured on a machine.

    Attributes:
        gpus: Whether it has GPUs.
        seconds: Identity of a training → how long its like took.
        sources: What was measured.
        apart: Identity of another training → why it is left out.
    """

    gpus: bool
    seconds: dict[str, float] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    apart: dict[str, str] = field(default_factory=dict)


def hours(total: AllTables, records: Iterable[Record], results: Path, profile: str) -> list[str]:
    """Forecast the trainings of all tables on 1, 8 and 64 devices like those that were measured.

    A training whose like is in the ledger takes as long as that; any other one as long as its pairs
    do at the speed of ``what=train``, if it is like what that trains: a base model on pairs. Large
    models, cross-encoders, triplets and other networks are counted apart; evaluation is left out.

    Args:
        total: What is left.
        records: All records of the ledger.
        results: `paths.results`, where the figures of ``what=train`` lie.
        profile: Where figures would be written that are not there yet.

    Returns:
        A line for each machine that was measured; the last one says that no GPU was, if that is so.
    """
    if not total.stages:
        return []
    found = _measured(total, list(records), training_speed.speeds(results))
    lines = [_line(where, one, total) for where, one in found.items()]
    if not any(one.gpus and one.seconds for one in found.values()):
        how = training_speed.advice(results / profile / training_speed.FILE)
        lines.append(f"No estimate for GPUs: nothing like it was measured on one; {how}.")
    return lines


def _measured(
    total: AllTables, records: list[Record], speeds: list[training_speed.TrainingSpeed]
) -> dict[str, _Measured]:
    """Find the time of every training on each machine; the ledger's own comes first."""
    found: dict[str, _Measured] = {}
    like = alike(records)
    for name, stage in total.stages.items():
        times: dict[str, list[float]] = {}
        for record in like.get(duration_key(stage), []):
            where, gpus = machine(record), record.get("hardware", {}).get("gpus")
            found.setdefault(where, _Measured(bool(gpus)))
            times.setdefault(where, []).append(seconds_of(record))
        for where, seconds in times.items():
            found[where].seconds[name] = statistics.fmean(seconds)
    for one in found.values():
        one.sources.append(f"{len(one.seconds)} by their like in the ledger")
    for speed in speeds:
        one = found.setdefault(speed.where, _Measured(speed.gpus))
        precisions = set()
        for name, stage in total.stages.items():
            if name in one.seconds:
                continue
            if why := speed.why_not(stage.config):
                one.apart[name] = why
                continue
            one.seconds[name] = speed.seconds(stage.config)
            precisions.add(plain(stage.config.trainer.precision))
        rates = ", ".join(f"{speed.rates[p]:.1f} pairs/s in {p}" for p in sorted(precisions))
        if rates:
            one.sources.append(f"{rates}: {Path(speed.model).name} on NLI, {speed.path}")
    return found


def _line(where: str, one: _Measured, total: AllTables) -> str:
    others = [one.apart.get(name, "unlike them") for name in total.stages.keys() - one.seconds]
    counts = ", ".join(f"{count} {why}" for why, count in sorted(Counter(others).items()))
    rest = f"not estimated: {counts}; " if counts else ""
    if not one.seconds:
        return f"No estimate from {where} ({rest}nothing like it was measured)."
    tasks = [
        Task(name, one.seconds[name], total.parents.get(name, ""))
        for name in total.stages
        if name in one.seconds
    ]
    played = {count: play(tasks, count) for count in DEVICES}
    times = ", ".join(
        f"{of.seconds / _HOUR:,.1f} h on {count} ({of.idle:.0%} idle)"
        for count, of in played.items()
    )
    return (
        f"{len(one.seconds)} of {len(total.stages)} trainings, as measured on {where}: {times} "
        f"such {'GPUs' if one.gpus else 'machines'}; the longest chain takes "
        f"{played[1].chain / _HOUR:,.1f} h ({'; '.join(one.sources)}); {rest}evaluation is left "
        "out."
    )
