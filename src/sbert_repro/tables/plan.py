"""Rows × seeds × columns as models to be made and scored, each named by its key.

Two rows that need the same training run name the same key, so that it is done once, by whichever
row comes first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from omegaconf import DictConfig

from sbert_repro.composition import STAGE_LENGTHS, compose, stage_overrides
from sbert_repro.config import run_key
from sbert_repro.errors import UserError
from sbert_repro.tables import stand_ins
from sbert_repro.tables.request import Request, for_command
from sbert_repro.tables.spec import Column, Row, Table
from sbert_repro.tables.subject import UNTRAINED, Stage, Subject, Work, failure
from sbert_repro.typed_options import key_of

_log = logging.getLogger(__name__)
Chain = list[tuple[list[str], DictConfig]]
"""Overrides and options of each stage of a run, the first one first."""


@dataclass(frozen=True)
class Plan:
    """A table in a profile.

    Attributes:
        table: The table.
        request: What was asked for.
        base: The profile's options without a row.
        seeds: Seeds of each trained cell.
        subjects: In the order of the table.
    """

    table: Table
    request: Request
    base: DictConfig
    seeds: tuple[int, ...]
    subjects: tuple[Subject, ...]


def make(table: Table, request: Request, base: DictConfig, work: Work) -> Plan:
    """Resolve every row into models with keys, and look up what is done.

    Args:
        table: The table.
        request: What was asked for.
        base: The profile's options, from `request.check`.
        work: Training and evaluation.

    Returns:
        The plan; what cannot be run says why instead of failing.
    """
    own = base.profile.trained_stand_ins
    table = replace(table, rows=tuple(stand_ins.trained(row, own) for row in table.rows))
    seeds = tuple(range(1, min(table.seeds, int(base.profile.max_seeds)) + 1))
    subjects: list[Subject] = []
    for row in table.rows:
        for columns in _sharing(row, table):
            try:
                subjects += _subjects(row, columns, request, base, (seeds, work))
            except Exception as error:  # a fault in one row must not hide the others
                _log.exception("table %s, %s", table.name, row.name)
                subjects.append(
                    Subject(row, columns, UNTRAINED, reason=failure(error), broken=True)
                )
    return Plan(table, request, base, seeds, tuple(subjects))


def _sharing(row: Row, table: Table) -> list[tuple[Column, ...]]:
    """Columns of a row, those that are measured on the same model together."""
    groups: dict[tuple[str, ...], list[Column]] = {}
    for column in table.columns:
        if column.task is not None and column.name in row.paper:
            groups.setdefault(column.overrides, []).append(column)
    return [tuple(group) for group in groups.values()]


def _subjects(
    row: Row,
    columns: tuple[Column, ...],
    request: Request,
    base: DictConfig,
    means: tuple[Sequence[int], Work],
) -> list[Subject]:
    """The models of some columns of a row, one a seed; composed once, seeds differ in a number."""
    seeds, work = means
    if row.quoted:
        reason = f"the paper's number is that of {row.quoted}; there is no model to run"
        return [Subject(row, columns, UNTRAINED, reason=reason)]
    chosen = seeds if row.trained else (UNTRAINED,)
    task_names = stand_ins.tasks(columns, base.profile.stand_ins)
    try:
        words, instead_of = _words(row, columns[0], base.profile, list(task_names.values()))
        chain = _chain(row, words, request)
        parts, of_all = _parts(row, chain[-1][1], work)
    except UserError as error:
        return [Subject(row, columns, seed, reason=str(error)) for seed in chosen]
    subject = Subject(
        row,
        columns,
        UNTRAINED,
        tuple(chain[-1][0]),
        chain[-1][1],
        instead_of=instead_of,
        task_names=task_names,
        parts=of_all,
    )
    if not row.trained:
        return [_looked_up(subject, work)]
    return [
        _looked_up(_seeded(replace(subject, part=part), _cut(chain, part), seed, work), work)
        for seed in chosen
        for part in parts
    ]


def _words(row: Row, column: Column, profile: DictConfig, data: list[str]) -> tuple[list[str], str]:
    """What one would type for a row, and the paper's encoder when another one takes its place."""
    words = [*row.overrides, *column.overrides]
    if row.instead_of:
        return words, row.instead_of  # a training of its own, with its own encoder and data
    words, instead_of = stand_ins.chosen(words, profile.stand_ins, profile.name)
    return words + [f"data={used}" for used in data if row.trained], instead_of


def _parts(row: Row, config: DictConfig, work: Work) -> tuple[Sequence[str], str]:
    """Parts that are run, and how many that is of how many when they are not all."""
    if not row.parts:
        return [""], ""
    found = list(work.parts(config, row.parts))
    used = found[: config.profile.max_parts]
    return used, f"{len(used)} of {len(found)} {row.parts}" if len(used) < len(found) else ""


def _cut(chain: Chain, part: str) -> Chain:
    """The chain with its last stage trained on all other parts of its data set."""
    if not part:
        return chain
    words, config = chain[-1]
    cut = config.copy()
    cut.data.split = f"train_{part}"
    return [*chain[:-1], ([*words, f"data.split={cut.data.split}"], cut)]


def _chain(row: Row, words: list[str], request: Request) -> Chain:
    """Options of each stage; of the encoder alone when nothing is trained."""
    root = "train" if row.trained else "evaluate"
    overrides = [f"profile={request.profile}", *words, *for_command(root, request.changes)]
    config = compose(overrides, root)
    lengths = [change for change in request.changes if key_of(change) in STAGE_LENGTHS]
    if row.trained and config.parent is not None and lengths:
        # Typed for a table they hold for all its runs, so for a first stage that is another row's.
        quoted = ",".join(f"'{word}'" for word in [*config.parent, *lengths])
        overrides.append(f"parent=[{quoted}]")
        config = compose(overrides, root)
    chain = [(overrides, config)]
    while row.trained and (parent := chain[0][1].parent) is not None:
        first = stage_overrides(chain[0][0], list(parent))
        chain.insert(0, (first, compose(first, root)))
    return chain


def _seeded(subject: Subject, chain: Chain, seed: int, work: Work) -> Subject:
    stages = tuple(_stage(words, config, seed, work) for words, config in chain)
    return replace(
        subject,
        seed=seed,
        overrides=stages[-1].overrides,
        config=stages[-1].config,
        stages=stages,
        reason=next((stage.needs for stage in stages if stage.needs), ""),
    )


def _stage(words: list[str], config: DictConfig, seed: int, work: Work) -> Stage:
    seeded = config.copy()
    seeded.seed = seed
    stage = Stage((*words, f"seed={seed}"), seeded)
    try:
        settings = work.settings(seeded, stage.overrides)
        key = run_key("train", settings)
        stage = replace(stage, settings=settings, key=key)
        stage = replace(stage, record=work.trained(key))
        if stage.record is None:
            work.check(seeded)
    except UserError as error:
        return replace(stage, needs=str(error))
    return stage


def _looked_up(subject: Subject, work: Work) -> Subject:
    """The subject with its finished scores, or with the reason why there can be none."""
    if subject.reason or subject.config is None:
        return subject
    try:
        if any(stage.record is None for stage in subject.stages):
            # Better to know that the test set is missing before hours of training than after.
            work.check_tasks(subject.config, subject.tasks)
            return replace(subject, scores=dict.fromkeys(subject.tasks))
        return replace(subject, scores=work.scored(subject.config, subject.run, subject.tasks))
    except UserError as error:
        return replace(subject, reason=str(error))


def shared(plan: Plan) -> dict[tuple[str, ...], int]:
    """Training runs that more than one row needs.

    Args:
        plan: The plan.

    Returns:
        Rows → how many runs they share.
    """
    users: dict[str, dict[str, None]] = {}
    for subject in plan.subjects:
        for stage in subject.stages:
            users.setdefault(stage.identity, {})[subject.row.name] = None
    counts = Counter(tuple(rows) for rows in users.values())
    return {rows: count for rows, count in counts.items() if len(rows) > 1}
