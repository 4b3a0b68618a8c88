"""Rows × seeds × parts × columns of a table as jobs: what is done, what is missing, what it costs.

A job is one model of a row and the scores it is wanted for. Training runs and scores are named by
their keys, so a run that two rows need is one run, trained by whichever job comes first.
"""

from __future__ import annotations

import functools
import itertools
import logging
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import yaml
from omegaconf import DictConfig

from sbert_repro.compose import (
    STAGE_LENGTHS,
    Original,
    compose,
    known_to,
    option_name,
    stage_overrides,
)
from sbert_repro.config import CONFIG_DIR, canonical_json, plain, run_key
from sbert_repro.errors import Diverged, UserError
from sbert_repro.tables import spec
from sbert_repro.tables.spec import Column, Row, Table

Record = dict[str, Any]
UNTRAINED = 0
"""Stands for the seed of an encoder that is used as it is."""
ENCODERS = CONFIG_DIR / "encoder"
_NEUTRAL = (
    "paths.",
    "wandb.",
    "profile.max_seeds=",
    "profile.min_seeds=",
    "profile.from_records=",
    "progress=",
    "trainer.progress=",
    "trainer.accelerator=",
    "trainer.save_every=",
    "trainer.save_minutes=",
)
_NOT_HERE = ("missing", "partial", "by_hand")
"""Codes of what `make data` gets, or says how to get."""
_FOLDER = re.compile(r"(?<![\w:/.])(?:/[^\s/:;,'\"]+)+/(?=[^\s/:;,'\"])")
_log = logging.getLogger(__name__)


# What is asked for


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        profile: Name of the profile.
        changes: Other overrides, which hold for every row.
    """

    profile: str
    changes: tuple[str, ...] = ()

    @property
    def of_numbers(self) -> tuple[str, ...]:
        """Those changes that can change a number."""
        return tuple(change for change in self.changes if not is_neutral(change))

    def folder(self, results: Path) -> Path:
        """Return where the table is written: a changed one beside the profile's own.

        Args:
            results: `paths.results`.

        Returns:
            `results/<profile>`, which claims, the report and `verify-results` read; if numbers may
            be changed, `results/<profile>/changed`, which nobody reads.
        """
        own = results / self.profile
        return own / "changed" if self.of_numbers else own


def is_neutral(override: str) -> bool:
    """Tell whether an override changes no number: where files are, what is shown, how many seeds.

    Args:
        override: As typed.

    Returns:
        Whether a table need not mention it.
    """
    return override.lstrip("+~").startswith(_NEUTRAL)


# What is to be done


class Work(Protocol):
    """What a plan asks of training and evaluation (`launch.LedgerWork`, or a fake one in tests)."""

    def settings(self, config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
        """Return what a training run's key is made of; a UserError says what is missing."""

    def parts(self, config: DictConfig, protocol: str) -> Sequence[str]:
        """Return the parts of a run's data set, by the names of `schema.part_names`.

        A UserError says that it is not there.
        """

    def check(self, config: DictConfig) -> None:
        """Raise a UserError when rows that a training run reads are missing or incomplete."""

    def check_tasks(self, config: DictConfig, tasks: Sequence[str]) -> None:
        """Raise a UserError when the pairs of a task are missing or incomplete."""

    def trained(
        self,
        config: DictConfig,
        overrides: Sequence[str],
        settings: dict[str, Any] | None = None,
    ) -> Record | None:
        """Return the record of a finished training run; a UserError says that it diverged.

        Its settings take longer to find than its record; whoever knows them says so.
        """

    def records(self) -> list[Record]:
        """Return all records there are."""

    def train(self, config: DictConfig, overrides: Sequence[str]) -> Record:
        """Train, or find the run in the ledger."""

    def scored(
        self, config: DictConfig, run: str | None, tasks: Sequence[str]
    ) -> dict[str, Record | None]:
        """Return finished scores by task; a UserError says which data or model is missing."""

    def score(self, config: DictConfig, run: str | None, tasks: Sequence[str]) -> dict[str, Record]:
        """Score a model: that of a run, or the encoder that the options name."""


@dataclass(frozen=True)
class Reason:
    """Why a number is missing.

    Attributes:
        code: `UserError.code`, or `not_yet`, `quoted`, `failed`.
        found: What is wrong; without folders of this machine, since tables are committed.
        failed: Whether it should have worked, so that the command ends with status 1.
        advice: The whole message, which is shown but never written to a table.
        mend: Of the message, what to do about it.
    """

    code: str
    found: str
    failed: bool = False
    advice: str = field(default="", compare=False)
    mend: str = field(default="", compare=False)

    @classmethod
    def of(cls, error: Exception, *, at_work: bool = False) -> Reason:
        """Describe what was raised.

        Args:
            error: Of any kind.
            at_work: Whether it was raised by training or evaluation rather than while planning.

        Returns:
            The reason. A run that diverged is a result, not a failure.
        """
        if isinstance(error, UserError):
            failed = at_work and not isinstance(error, Diverged)
            found = _without_folders(error.found)
            return cls(error.code, found, failed, str(error), error.mend)
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        text = " ".join(f"{type(error).__name__}: {said}".split())
        return cls("failed", _without_folders(text), True, text)


def _without_folders(text: str) -> str:
    """Shorten absolute paths to their last part: what is committed names no folder of a machine."""
    return _FOLDER.sub("", text)


@dataclass(frozen=True)
class Stage:
    """One training run.

    Attributes:
        overrides: What one would type after `train.py`.
        config: Composed from them.
        settings: What its key is made of, as far as that is known.
        key: None when it cannot be known yet.
        needs: What is missing to run it.
        record: Its record, if it was finished before the plan was made.
        options: While the key is not known, the options as text, equal for equal runs.
    """

    overrides: tuple[str, ...]
    config: DictConfig
    settings: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    needs: Reason | None = None
    record: Record | None = None
    options: str = ""

    @property
    def identity(self) -> str:
        """The key, or the options while it is not known; equal for equal runs."""
        return self.key or self.options


@dataclass(frozen=True)
class Job:
    """One model of a row, and the columns it is scored for.

    Attributes:
        row: The row.
        columns: Its columns that this model is scored for.
        seed: Of the training; `UNTRAINED` without one.
        number: Its place in the plan.
        title: A line for the log: table, place, row, columns, seed and part.
        overrides: What one would type.
        config: Options of the last stage, or of the encoder; None when they do not compose.
        stages: Training runs, the first one first.
        instead_of: The paper's encoder when another one stands in for it, else "".
        task_names: Task of a column → the task of the data set that stands in for its own.
        part: The fold or topic it is tested on; "" when the row has no parts.
        parts_run: How many parts the profile runs.
        parts_all: How many there are; 0 when the row has no parts.
        reason: Why it cannot be run; None when it can.
        scores: Task → its record, None for what is missing, as when the plan was made.
    """

    row: Row
    columns: tuple[Column, ...]
    seed: int
    number: int = 0
    title: str = ""
    overrides: tuple[str, ...] = ()
    config: DictConfig | None = None
    stages: tuple[Stage, ...] = ()
    instead_of: str = ""
    task_names: Mapping[str, str] = field(default_factory=dict)
    part: str = ""
    parts_run: int = 0
    parts_all: int = 0
    reason: Reason | None = None
    scores: dict[str, Record | None] = field(default_factory=dict)

    def task(self, column: Column) -> str:
        """Return the task that this model is scored on for one of its columns."""
        name = self.task_names.get(str(column.task), str(column.task))
        return f"{name}_{self.part}" if self.part else name

    @property
    def tasks(self) -> list[str]:
        """Tasks of its columns, each once."""
        return list(dict.fromkeys(map(self.task, self.columns)))

    @property
    def run(self) -> str | None:
        """Key of the run whose model is scored; None for an encoder that is used as it is."""
        if not self.stages:
            return None
        # An earlier version of this program may have stored it under another key.
        last = self.stages[-1]
        return last.key if last.record is None else last.record["key"]

    @functools.cached_property
    def model(self) -> str:
        """What is scored; equal for equal models, of whichever row or table."""
        if self.stages:
            return self.stages[-1].identity
        if self.config is None:
            return self.row.name
        return canonical_json([self.config.encoder, self.config.get("pooling")])

    @property
    def done(self) -> bool:
        """Whether nothing was left to do when the plan was made."""
        trained = all(stage.record is not None for stage in self.stages)
        return trained and bool(self.scores) and None not in self.scores.values()


@dataclass(frozen=True)
class Result:
    """What became of a job.

    Attributes:
        scores: Records by task; empty when there are none.
        trained: Records of its training runs, the first stage first.
        reason: Why there are no scores.
        failed_run: Key of the training run that failed, "" if none did: no other job tries it
            again under the same command.
    """

    scores: dict[str, Record] = field(default_factory=dict)
    trained: tuple[Record, ...] = ()
    reason: Reason | None = None
    failed_run: str = ""

    @property
    def failed(self) -> bool:
        """Whether it should have worked."""
        return self.reason is not None and self.reason.failed

    @property
    def records(self) -> list[Record]:
        """All records behind its scores."""
        return [*self.trained, *self.scores.values()] if self.scores else []


Results = dict[int, Result]
"""`Job.number` → result; what has not been reached is not in it."""


@dataclass(frozen=True)
class Plan:
    """A table in a profile.

    Attributes:
        table: The table.
        request: What was asked for.
        base: The profile's options without a row.
        seeds: Seeds of each trained cell.
        jobs: In the order of the table.
    """

    table: Table
    request: Request
    base: DictConfig
    seeds: tuple[int, ...]
    jobs: tuple[Job, ...]

    @property
    def left(self) -> list[Job]:
        """Jobs that are neither done nor impossible."""
        return [job for job in self.jobs if job.reason is None and not job.done]

    @property
    def known(self) -> Results:
        """Results of the other jobs, which need no work."""
        return {
            job.number: Result(reason=job.reason)
            if job.reason
            else Result(
                {task: record for task, record in job.scores.items() if record is not None},
                tuple(stage.record for stage in job.stages if stage.record is not None),
            )
            for job in self.jobs
            if job.reason or job.done
        }


def make(table: Table, request: Request, base: DictConfig, work: Work) -> Plan:
    """Resolve every row into jobs with keys, and look up what is done.

    Args:
        table: The table.
        request: What was asked for.
        base: The profile's options, from `check`.
        work: Training and evaluation.

    Returns:
        The plan; what cannot be run says why instead of failing.
    """
    own = base.profile.trained_stand_ins
    table = replace(table, rows=tuple(trained_instead(row, own) for row in table.rows))
    fewest, most = int(base.profile.min_seeds), int(base.profile.max_seeds)
    seeds = tuple(range(1, min(max(table.seeds, fewest), most) + 1))
    jobs: list[Job] = []
    for row in table.rows:
        for columns in _scored_together(row, table):
            try:
                jobs += _jobs(row, columns, request, base, seeds, work)
            except Exception as error:  # a fault in one row must not hide the others
                _log.exception("table %s, %s", table.name, row.name)
                jobs.append(Job(row, columns, UNTRAINED, reason=Reason.of(error)))
    numbered = tuple(
        replace(job, number=number, title=_title(table, job, f"{number + 1}/{len(jobs)}"))
        for number, job in enumerate(jobs)
    )
    return Plan(table, request, base, seeds, numbered)


def refused(plan: Plan) -> str:
    """Return why no row of a table can be made with its options; "" if one can, or lacks something.

    Args:
        plan: The plan.

    Returns:
        What is wrong, of each kind once.
    """
    reasons = [job.reason for job in plan.jobs]
    own = [reason for reason in reasons if reason is None or reason.code != "quoted"]
    said = {reason.advice for reason in own if reason is not None and reason.code == "refused"}
    if any(reason is None or reason.code != "refused" for reason in own):
        return ""
    return "; ".join(sorted(said))


def _title(table: Table, job: Job, place: str) -> str:
    about = [", ".join(column.name for column in job.columns)]
    about += [f"seed {job.seed}"] if job.stages else []
    about += [job.part] if job.part else []
    return f"{table.file.replace('_', ' ')} [{place}] {job.row.name} ({', '.join(about)})"


def _scored_together(row: Row, table: Table) -> list[tuple[Column, ...]]:
    """Group a row's columns by the model that they are scored for."""
    groups: dict[tuple[str, ...], list[Column]] = {}
    for column in table.columns:
        if column.task is not None and column.name in row.scored:
            groups.setdefault(column.overrides, []).append(column)
    return [tuple(group) for group in groups.values()]


def _jobs(
    row: Row,
    columns: tuple[Column, ...],
    request: Request,
    base: DictConfig,
    seeds: Sequence[int],
    work: Work,
) -> list[Job]:
    """Plan some columns of a row: composed once, since seeds differ in a number only."""
    if row.quoted:
        found = f"the paper's number is that of {row.quoted}; there is no model to run"
        return [Job(row, columns, UNTRAINED, reason=Reason("quoted", found, advice=found))]
    chosen = seeds if row.trained else (UNTRAINED,)
    tasks = dict.fromkeys(str(column.task) for column in columns)
    task_names = {n: base.profile.stand_ins[n] for n in tasks if n in base.profile.stand_ins}
    recipe = row.recipe if base.profile.row_recipes else ()
    chosen_by_recipe = set(map(option_name, recipe))
    own = [word for word in row.overrides if option_name(word) not in chosen_by_recipe]
    words = [*own, *recipe, *columns[0].overrides]
    instead_of = row.instead_of
    try:
        if not instead_of:  # else a training of its own, with its own encoder and data
            words, instead_of = encoder_instead(words, base.profile.stand_ins, base.profile.name)
            words += [f"data={used}" for used in task_names.values() if row.trained]
        stages = _compose_stages(row, words, request)
        overrides, config = stages[-1]
        protocol = row.parts if row.parts != "folds" else plain(config.profile.afs_folds)
        every = list(work.parts(config, protocol)) if row.parts else []
    except UserError as error:
        return [Job(row, columns, seed, reason=Reason.of(error)) for seed in chosen]
    parts = every[: config.profile.max_parts] if row.parts else [""]
    job = Job(
        row,
        columns,
        UNTRAINED,
        overrides=tuple(overrides),
        config=config,
        instead_of=instead_of,
        task_names=task_names,
        parts_run=len(parts) if row.parts else 0,
        parts_all=len(every),
    )
    if not row.trained:
        return [_look_up(job, work)]
    unseeded = {
        part: [_Unseeded(words, config, work) for words, config in _without_part(stages, part)]
        for part in parts
    }
    return [
        _look_up(_with_seed(replace(job, part=part), unseeded[part], seed), work)
        for seed in chosen
        for part in parts
    ]


_Composed = list[tuple[list[str], DictConfig]]
"""Overrides and options of each stage of a run, the first one first."""


def _compose_stages(row: Row, words: list[str], request: Request) -> _Composed:
    """Compose each stage of a run, or the encoder alone when nothing is trained."""
    root = "train" if row.trained else "evaluate"
    overrides = [f"profile={request.profile}", *words, *known_to(root, request.changes)]
    config = compose(overrides, root)
    lengths = [change for change in request.changes if option_name(change) in STAGE_LENGTHS]
    if row.trained and config.parent is not None and lengths:
        # Typed for a table, lengths hold for all its runs, so also for a first stage, which is
        # another row's run.
        quoted = ",".join(f"'{word}'" for word in [*config.parent, *lengths])
        overrides.append(f"parent=[{quoted}]")
        config = compose(overrides, root)
    stages = [(overrides, config)]
    while row.trained and (parent := stages[0][1].parent) is not None:
        first = stage_overrides(stages[0][0], list(parent))
        stages.insert(0, (first, compose(first, root)))
    return stages


def _without_part(stages: _Composed, part: str) -> _Composed:
    """Train the last stage on all other parts of its data set.

    Interpolations stay as they are: on a machine of a cluster, folders are its own.
    """
    if not part:
        return stages
    words, config = stages[-1]
    cut = config.copy()
    cut.data.split = f"train_{part}"
    return [*stages[:-1], ([*words, f"data.split={cut.data.split}"], cut)]


class _Unseeded:
    """A stage before its seed is chosen: what takes long to find is found once for all seeds."""

    def __init__(self, words: Sequence[str], config: DictConfig, work: Work) -> None:
        self.words, self.config, self.work = words, config, work
        self._original = Original(config)

    @functools.cached_property
    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = plain(self.config)
        return options

    @functools.cached_property
    def _settings(self) -> dict[str, Any] | Reason:
        try:
            return self.work.settings(self.config, self.words)
        except UserError as error:
            return Reason.of(error)

    def with_seed(self, seed: int, before: Stage | None) -> Stage:
        """Return the stage with a seed, after the one before it with the same seed."""
        overrides = (*self.words, f"seed={seed}")
        config = self._original.copy()  # its interpolations are resolved by who trains it
        config.seed = seed
        if isinstance(self._settings, Reason):
            options = {**self._options, "seed": seed}
            text = canonical_json([options, options["parent"] and overrides])
            return Stage(overrides, config, needs=self._settings, options=text)
        settings = {**self._settings, "seed": seed, "parent": before and before.key}
        key = run_key("train", settings)
        stage = Stage(overrides, config, settings, key)
        try:
            stage = replace(stage, record=self.work.trained(config, overrides, settings))
            if stage.record is None:
                self.work.check(config)
        except UserError as error:
            return replace(stage, needs=Reason.of(error))
        return stage


def _stages(unseeded: Sequence[_Unseeded], seed: int | None = None) -> tuple[Stage, ...]:
    """Give stages a seed, or leave each its own."""
    stages: list[Stage] = []
    for one in unseeded:
        own = one.config.seed if seed is None else seed
        stages.append(one.with_seed(own, stages[-1] if stages else None))
    return tuple(stages)


def _with_seed(job: Job, unseeded: Sequence[_Unseeded], seed: int) -> Job:
    stages = _stages(unseeded, seed)
    return replace(
        job,
        seed=seed,
        overrides=stages[-1].overrides,
        config=stages[-1].config,
        stages=stages,
        reason=next((stage.needs for stage in stages if stage.needs), None),
    )


def _look_up(job: Job, work: Work) -> Job:
    """Add the finished scores, or the reason why there can be none."""
    if job.reason or job.config is None:
        return job
    try:
        if any(stage.record is None for stage in job.stages):
            # Better to know that the test set is missing before hours of training than after.
            work.check_tasks(job.config, job.tasks)
            return replace(job, scores=dict.fromkeys(job.tasks))
        return replace(job, scores=work.scored(job.config, job.run, job.tasks))
    except UserError as error:
        return replace(job, reason=Reason.of(error))


# What stands in for the paper's encoders


def encoder_instead(
    overrides: Sequence[str], stand_ins: Mapping[str, str], profile: str, folder: Path = ENCODERS
) -> tuple[list[str], str]:
    """Replace the paper's encoder by the one that a profile uses instead.

    A profile with stand-ins has no other pre-trained transformer than those, even when its weights
    happen to be on the machine: its tables would otherwise depend on where they were made. Encoders
    of another kind (word vectors, say) are used as they are.

    Args:
        overrides: A row's overrides, one of them `encoder=…`.
        stand_ins: The paper's encoder → the profile's; empty where the paper's own are used. One
            that the profile uses as it is stands for itself.
        profile: Its name, for messages.
        folder: Where the options of encoders are.

    Returns:
        The overrides to use; the paper's encoder if another one stands in for it, else "".

    Raises:
        UserError: There is no such encoder, or nothing stands in for it.
    """
    name = _encoder(overrides)
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"configs/encoder/{path.name} does not exist", code="missing")
    if not stand_ins:
        return list(overrides), ""
    if name in stand_ins:
        used = [f"encoder={stand_ins[name]}" if o == f"encoder={name}" else o for o in overrides]
        return used, name if stand_ins[name] != name else ""
    # Only what comes from the Hub has a revision: the pre-trained transformers.
    if "revision" in yaml.safe_load(path.read_text(encoding="utf-8")):
        raise UserError(
            f"nothing stands in for this encoder in profile {profile}",
            where=f"encoder={name}",
            code="no_stand_in",
        )
    return list(overrides), ""


def label_of(name: str, folder: Path = ENCODERS) -> str:
    """Return an encoder's name for people.

    Args:
        name: The option word, such as `bert_base`.
        folder: Where the options of encoders are.

    Returns:
        Its label, such as "BERT-base"; the word where it has none.
    """
    options = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return str(options.get("encoder", options).get("label") or name)


def trained_instead(row: Row, stand_ins: Mapping[str, Sequence[str]]) -> Row:
    """Replace a row's encoder by a training, where a profile trains its own.

    Args:
        row: A row of the paper.
        stand_ins: The paper's encoder → the words after `train.py` that make the profile's.

    Returns:
        The row as it is run: the same row where nothing stands in for it.
    """
    name = _encoder(row.overrides)
    if row.trained or name not in stand_ins:
        return row
    overrides = tuple(stand_ins[name])
    return replace(row, trained=True, overrides=overrides, recipe=(), instead_of=name)


def _encoder(overrides: Sequence[str]) -> str:
    return next((o.partition("=")[2] for o in overrides if o.startswith("encoder=")), "")


# What is left, and what it would take


@dataclass
class Cost:
    """Work that is left; what was measured before is told apart from what never was.

    Attributes:
        trainings: Distinct training runs that are left.
        scores: Scores that are left.
        blocked: How many of both need something that is not there.
        seconds: Of those whose like was measured; never a guess.
        known_trainings: Trainings whose like was measured.
        known_scores: Scores whose like was measured.
        like: The records they were measured by.
    """

    trainings: int = 0
    scores: int = 0
    blocked: int = 0
    seconds: float = 0.0
    known_trainings: int = 0
    known_scores: int = 0
    like: list[Record] = field(default_factory=list)

    @property
    def unmeasured(self) -> int:
        """How many trainings and scores `seconds` says nothing of."""
        return self.trainings + self.scores - self.known_trainings - self.known_scores

    def _add(self, like: list[Record]) -> None:
        self.seconds += statistics.fmean(seconds_of(record) for record in like)
        self.like += like


def seconds_of(record: Record) -> float:
    """Return how long a record took, the time before an interruption included."""
    # The wall clock starts anew when a run goes on; the steps are timed over all its parts.
    return max(record.get("wall_seconds") or 0.0, record.get("train_seconds") or 0.0)


def cost_of(plan: Plan, records: Iterable[Record]) -> Cost:
    """Add up what is left of a plan, rows that cannot be run here included.

    Args:
        plan: The plan.
        records: All records of the ledger.

    Returns:
        The cost.
    """
    cost, _ = cost_of_trainings(missing_stages(plan.jobs), records)
    for job, task in missing_scores(plan):
        cost.scores += 1
        cost.blocked += job.reason is not None
        if found := _same_task(plan, job, task):
            cost.known_scores += 1
            cost._add(found)
    return cost


def cost_of_trainings(
    stages: Iterable[Stage], records: Iterable[Record]
) -> tuple[Cost, list[Stage]]:
    """Add up trainings.

    Args:
        stages: Those that are left, each once.
        records: All records of the ledger.

    Returns:
        The cost; the trainings whose like was never measured.
    """
    cost, new, like = Cost(), [], alike(records)
    for stage in stages:
        cost.trainings += 1
        cost.blocked += stage.needs is not None
        found = like.get(duration_key(stage), [])
        if not found:
            new.append(stage)
            continue
        cost.known_trainings += 1
        cost._add(found)
    return cost, new


def alike(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Group records of trainings by what their time depends on.

    Args:
        records: Of the ledger; those of evaluations are left out.

    Returns:
        `duration_key` → records.
    """
    like: dict[str, list[Record]] = {}
    for record in records:
        if record["kind"] == "train":
            like.setdefault(_duration_key(record["settings"]), []).append(record)
    return like


def duration_key(stage: Stage) -> str:
    """Return what the time of a training depends on.

    Args:
        stage: The training.

    Returns:
        A text that is equal for trainings that take equally long; "" while that is not known.
    """
    return _duration_key(stage.settings) if stage.key else ""


def _duration_key(settings: dict[str, Any]) -> str:
    """Leave out what changes no time: the seed, pooling, the objective."""
    data, trainer = settings.get("data", {}), settings.get("trainer", {})
    of_data = ("name", "split", "limit", "max_length", "pair_length", "swapped", "sha256")
    of_trainer = ("epochs", "max_steps", "batch_size", "precision", "evaluate_every", "devices")
    return canonical_json(
        [
            settings.get("encoder"),
            [data.get(name) for name in of_data],
            # Asked for in settings of before only: compiled runs were another speed.
            [trainer.get(name) for name in (*of_trainer, "compile")],
        ]
    )


def _same_task(plan: Plan, job: Job, task: str) -> list[Record]:
    """Return records of this task for other models of the table with the same backbone."""
    if job.config is None:
        return []
    scored = [(other, record) for other in plan.jobs if (record := other.scores.get(task))]
    path = job.config.encoder.get("path") if scored else None
    return [
        record
        for other, record in scored
        if other.config is not None and other.config.encoder.get("path") == path
    ]


def missing_stages(jobs: Iterable[Job]) -> list[Stage]:
    """Return the training runs of jobs that are left, in their order, a shared one once."""
    stages = [stage for job in jobs for stage in job.stages]
    return list({stage.identity: stage for stage in stages if stage.record is None}.values())


def missing_scores(plan: Plan) -> list[tuple[Job, str]]:
    """Return model and task of the scores that are left, in the order of the table."""
    return [(job, task) for job in plan.jobs for task in job.tasks if not job.scores.get(task)]


def shared(plan: Plan) -> dict[tuple[str, ...], int]:
    """Count the training runs that more than one row needs, by the rows that share them."""
    users: dict[str, dict[str, None]] = {}
    for job in plan.jobs:
        for stage in job.stages:
            users.setdefault(stage.identity, {})[job.row.name] = None
    counts = Counter(tuple(rows) for rows in users.values())
    return {rows: count for rows, count in counts.items() if len(rows) > 1}


@dataclass
class AllTables:
    """What all tables together would take; what they share counts once.

    Attributes:
        tables: (table, its cost, trainings it shares with tables before it, rows that cannot be
            planned here) of each table; the cost of a timed one is None.
        stages: Training runs that are left, by identity.
        parents: Identity of a run of several stages → that of the stage before.
        scores: (model, task) of each score that is left.
        missing: What is not on this machine → how many models of rows wait for it. Of several
            things that a model waits for, the first one is named.
    """

    tables: list[tuple[str, Cost | None, int, int]] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    scores: set[tuple[str, str]] = field(default_factory=set)
    missing: Counter[str] = field(default_factory=Counter)


def all_tables(
    request: Request, base: DictConfig, work: Work, records: Sequence[Record]
) -> AllTables:
    """Plan every table that has a file, and add up; nothing is trained or scored.

    Args:
        request: What was asked for.
        base: The profile's options, from `check`.
        work: Training and evaluation.
        records: All records of the ledger.

    Returns:
        What is left.
    """
    total = AllTables()
    for name in spec.existing():
        table = spec.load(name)
        if table.timed:
            total.tables.append((name, None, 0, 0))
            continue
        plan = make(table, request, base, work)
        new = {stage.identity: stage for stage in missing_stages(plan.jobs)}
        # Their runs are not known: nothing stands in for their encoder, or the folds are unknown.
        unplanned = {j.row.name for j in plan.jobs if j.row.trained and j.reason and not j.stages}
        shares = len(new.keys() & total.stages.keys())
        total.tables.append((name, cost_of(plan, records), shares, len(unplanned)))
        total.stages |= new
        total.parents |= {
            stage.identity: before.identity
            for job in plan.jobs
            for before, stage in itertools.pairwise(job.stages)
        }
        total.scores |= {(job.model, task) for job, task in missing_scores(plan)}
        reasons = [job.reason for job in plan.jobs if job.reason]
        total.missing.update(reason.found for reason in reasons if reason.code in _NOT_HERE)
    return total


def stages_left(config: DictConfig, overrides: Sequence[str], work: Work) -> list[Stage]:
    """Return the stages of one training run that are left, its first stage first.

    Args:
        config: Its composed options.
        overrides: The options as typed.
        work: Training and evaluation.

    Returns:
        Each with what it needs; none when the run is finished.
    """
    words = list(overrides)
    unseeded = [_Unseeded(words, config, work)]
    while config.parent is not None:
        words = stage_overrides(words, list(config.parent))
        config = compose(words)
        unseeded.insert(0, _Unseeded(words, config, work))
    # A first stage has the seed that it was given, perhaps another one than the last.
    return [stage for stage in _stages(unseeded) if stage.record is None]
