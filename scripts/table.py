"""One table of the paper: python scripts/table.py table=1 profile=lite [jobs=2] [--dry-run].

Any further words are options of train.py, such as paths.results=FOLDER or profile.max_seeds=3, and
hold for every row. What is in the ledger is not done again. With --dry-run there is table=all.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sbert_repro.cli import HELP, one_line_errors, split_words, usage
from sbert_repro.compose import ROW_OPTIONS, compose_speed, compose_table, prepare
from sbert_repro.errors import UserError
from sbert_repro.redaction import log_masked

if TYPE_CHECKING:
    from sbert_repro.tables.render import Sheet
    from sbert_repro.tables.spec import Table

FAILED = 1
ALL = "all"
_PAGE = 160
_OWN = {"table": "", "profile": "paper", "launcher": "local", "jobs": "1", "again": "false"}
_MEANING = {
    "table=N": "the number of a table in the paper, or recipes; all: every one, with --dry-run",
    "profile=paper": "paper, lite (real data at CPU size) or demo (synthetic)",
    "jobs=1": "how many models at a time, each in a process of its own; with ray: on each GPU",
    "launcher=local": "local: this machine; ray: the cluster of RAY_ADDRESS, or one of its own",
    "again=false": "true: also write a table with fewer numbers than the file there; time again",
    "--dry-run": "show what is done and what is left, and do nothing",
}
_EXAMPLE = "python scripts/table.py table=6 profile=demo jobs=2"


def jobs_at_a_time(word: str, table: Table | None) -> int:
    """Read how many models are made at a time.

    Args:
        word: As typed.
        table: The table; None: all.

    Returns:
        1 or more.

    Raises:
        UserError: That is no such number, or the table's rows are timed.
    """
    if not word.isdecimal() or int(word) < 1:
        raise UserError(
            "expected a whole number of models at a time, 1 or more", where=f"jobs={word}"
        )
    if table is not None and table.timed and int(word) > 1:
        raise UserError(
            f"table {table.name} is timed, and what runs beside would be in its times; leave jobs "
            "out",
            where=f"jobs={word}",
        )
    return int(word)


def console() -> Console:
    """Return the screen, or room enough for a table where the output goes to a file."""
    return Console() if sys.stdout.isatty() else Console(width=_PAGE)


def timed(table: Table, profile: str, changes: list[str], dry: bool, again: bool) -> None:
    """Time the rows of a table side by side, or show which can be timed here.

    Args:
        table: The table.
        profile: Name of the profile.
        changes: Options of configs/speed.yaml.
        dry: Only show.
        again: Time again, and write it also when the file there has more numbers.

    Raises:
        UserError: If the file there has more numbers; it stays as it is.
    """
    from sbert_repro.benchmarks.table_7 import lineup, timed_rows
    from sbert_repro.benchmarks.timing import quiet
    from sbert_repro.tables import launch, render

    config = compose_speed(profile, changes)
    prepare(config)
    quiet()
    words = {row.name: row.overrides for row in table.rows}
    if dry:
        line = lineup(words, config)
        for name in words:
            print(f"{name}: {line.refusals.get(name, 'can be timed here')}")
        return
    folder = Path(config.paths.results) / profile
    records = render.kept_beside(timed_rows(words, config), table, folder)
    sheet = render.timed_sheet(table, profile, config.profile.timed_banner, records)
    console().print(render.on_screen(sheet))
    if not again and (lost := render.numbers_lost(sheet, folder)):
        raise _not_written(sheet, folder, lost)
    path = folder / f"{table.file}.csv"
    known = path.read_text(encoding="utf-8") if path.is_file() else ""
    render.write(sheet, folder)
    sys.stdout.write(f"written: {folder / f'{table.file}.md'}\n")
    if (text := render.as_csv(sheet)) != known:
        launch.track(config, table.file, text, lambda: drawn(table, folder))


def drawn(table: Table, folder: Path) -> dict[str, bytes]:
    """Draw the plots of a table that has been written.

    Args:
        table: The table.
        folder: `results/<profile>`.

    Returns:
        Name of each plot of the page → PNG file.
    """
    from sbert_repro.report import page, plots, results

    cells = results.cells(folder)
    figures = page.figures(table, cells[cells["table"] == table.name], results.seeds(folder))
    return {name: plots.as_png(figure) for name, figure in figures.items()}


def _not_written(sheet: Sheet, folder: Path, lost: str) -> UserError:
    from sbert_repro.tables.render import mends

    return UserError(
        f"not written: this table has {lost}",
        where=folder / f"{sheet.table.file}.csv",
        mend="; or ".join([*mends(sheet), "add again=true to replace it"]),
    )


def show_usage(own: dict[str, str], changes: list[str]) -> None:
    """Print how this command is used.

    Args:
        own: Its own words; a timed table has other options.
        changes: Words that change options, which are shown changed.
    """
    from sbert_repro.tables import spec

    if own["table"] in spec.existing() and spec.load(own["table"]).timed:
        config = compose_speed(own["profile"], changes)
    else:
        config = compose_table(own["profile"], changes)
    without = (*ROW_OPTIONS, "seed", "prepare", "profile.name", "output")
    print(usage(str(__doc__).splitlines()[0], _MEANING, config, without, _EXAMPLE))


def main() -> None:
    """Plan, then show the plan or do what is missing; status 1 when a row failed."""
    own, changes, flags = split_words(sys.argv[1:], _OWN, ["--dry-run"])
    dry = "--dry-run" in flags
    if dry:
        # To look at a plan must not download weights; read when the Hub's client is imported.
        os.environ["HF_HUB_OFFLINE"] = "1"
    log_masked()
    if flags & set(HELP):
        show_usage(own, changes)
        return
    from sbert_repro.tables import launch, spec

    if own["table"] == ALL and not dry:
        raise UserError(
            "for --dry-run only; `make reproduce-all` makes all tables", where=f"table={ALL}"
        )
    table = None if own["table"] == ALL else spec.load(own["table"])
    if own["again"] not in ("true", "false"):
        raise UserError("expected true or false", where=f"again={own['again']}")
    again = own["again"] == "true"
    launch.launcher(own["launcher"])
    count = jobs_at_a_time(own["jobs"], table)
    if table is not None and table.timed:
        timed(table, own["profile"], [*changes, f"again={own['again']}"], dry, again)
    elif table is None or dry:
        show_plan(table, own["profile"], changes)
    else:
        reproduce(table, own["profile"], changes, own["launcher"], count, again)


def show_plan(table: Table | None, profile: str, changes: list[str]) -> None:
    """Show what is done and what is left, and do nothing.

    Args:
        table: The table; None: all tables.
        profile: Name of the profile.
        changes: Options of train.py.
    """
    from sbert_repro.tables import forecast, launch, plan, render

    request = plan.Request(profile, tuple(changes))
    base = compose_table(profile, changes)
    prepare(base)
    work = launch.LedgerWork(base)
    records = work.records()
    if table is not None:
        made = plan.make(table, request, base, work)
        console().print(render.dry_run(made, plan.cost_of(made, records)))
        if (stages := plan.missing_stages(made.jobs)) and launch.lacks_gpu(base):
            print(launch.hours_on_cpu(base, stages, work))
        return
    total = plan.all_tables(request, base, work, records)
    trainings, _ = plan.cost_of_trainings(total.stages.values(), records)
    lines = render.all_tables(total, trainings, profile)
    lines += forecast.hours(total, records, Path(base.paths.results), profile)
    if total.stages and launch.lacks_gpu(base):
        lines.append("trainer.accelerator=auto finds no GPU here: all of it would run on the CPU.")
    print("\n".join(lines))


def reproduce(
    table: Table, profile: str, changes: list[str], launcher: str, count: int, again: bool
) -> None:
    """Do what is missing of a table, and write it; status 1 when a row failed, or all diverged.

    Args:
        table: The table.
        profile: Name of the profile.
        changes: Options of train.py.
        launcher: The word of one.
        count: How many models at a time.
        again: Write it also when the file there has more numbers.

    Raises:
        UserError: If the options allow no row; if the file there has more numbers. It stays as it
            is.
    """
    from sbert_repro.tables import launch, plan, render

    request = plan.Request(profile, tuple(changes))
    base = compose_table(profile, changes)
    prepare(base)
    work = launch.LedgerWork(base, launch.group_of(table.file, profile))
    chosen = launch.launcher(launcher)(work, count, base)
    made = plan.make(table, request, base, work)
    if refused := plan.refused(made):
        raise UserError("every row is refused", where=f"table={table.name}", mend=refused)
    folder = request.folder(Path(base.paths.results))
    again = again or bool(request.of_numbers)  # tables of other changes are no loss
    if launcher == "local":
        launch.warn_without_gpu(base, work, lambda: plan.missing_stages(made.left))

    def write(so_far: plan.Results) -> None:
        page = render.sheet(made, so_far)
        if again or not render.numbers_lost(page, folder):
            render.write(page, folder)

    results = launch.carry_out(made, chosen, write)
    finished = render.sheet(made, results)
    console().print(render.on_screen(finished))
    if not again and (lost := render.numbers_lost(finished, folder)):
        raise _not_written(finished, folder, lost)
    for mend in render.mends(finished):
        sys.stdout.write(f"to fill cells: {mend}\n")
    if used := len(work.published.used):
        sys.stdout.write(
            f"{used} records behind it are the committed ones of {folder / 'records'}: nothing of "
            "them was computed here; profile.from_records=false computes everything\n"
        )
    if request.of_numbers:
        sys.stdout.write(
            f"changed by {' '.join(request.of_numbers)}, so it has a file of its own: the table of "
            f"profile {profile} stays as it is\n"
        )
    sys.stdout.write(f"written: {folder / f'{table.file}.md'}\n")
    if made.left:
        name = f"{table.file}_changed" if request.of_numbers else table.file
        launch.track(base, name, render.as_csv(finished), lambda: drawn(table, folder))
    diverged = [r for r in results.values() if r.reason and r.reason.code == "diverged"]
    nothing = bool(diverged) and not any(result.scores for result in results.values())
    if nothing or any(result.failed for result in results.values()):
        raise SystemExit(FAILED)


if __name__ == "__main__":
    one_line_errors(main)
