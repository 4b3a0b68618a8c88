"""One table of the paper: python scripts/table.py table=1 profile=lite launcher=local [--dry-run].

Any further words are options of train.py, such as paths.results=FOLDER or profile.max_seeds=3, and
hold for every row. What is in the ledger is not done again.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sbert_repro.command_line import one_line_errors
from sbert_repro.errors import UserError
from sbert_repro.redaction import MaskedFormatter

if TYPE_CHECKING:
    from sbert_repro.tables.spec import Table

FAILED = 1
_PAGE = 160
_OWN = {"table": "", "profile": "paper", "launcher": "local"}


def arguments(words: list[str]) -> tuple[dict[str, str], list[str], bool]:
    """Tell this command's own words from those of train.py.

    Args:
        words: As typed.

    Returns:
        table, profile and launcher; the other words; whether this is a dry run.

    Raises:
        UserError: A word is no option.
    """
    own, changes = dict(_OWN), []
    for word in words:
        name, sign, value = word.partition("=")
        if name in own and sign:
            own[name] = value
        elif word != "--dry-run":
            if word.startswith("-") or not sign:
                raise UserError(f"{word}: no such option; there are name=value and --dry-run")
            changes.append(word)
    return own, changes, "--dry-run" in words


def console() -> Console:
    """The screen, or room enough for a table where the output goes to a file."""
    return Console() if sys.stdout.isatty() else Console(width=_PAGE)


def timed(table: Table, profile: str, changes: list[str], dry: bool) -> None:
    """Time the rows of a table side by side, or show which can be timed here.

    Args:
        table: The table.
        profile: Name of the profile.
        changes: Options of configs/speed.yaml.
        dry: Only show.
    """
    from sbert_repro.composition import prepare
    from sbert_repro.evaluation.speed import record, rows
    from sbert_repro.tables.timed import TimedSheet, write

    config = record.composed(profile, changes)
    prepare(config)
    record.quiet()
    words = {row.name: row.overrides for row in table.rows}
    if dry:
        line = rows.lineup(words, config)
        for name in words:
            print(f"{name}: {line.reasons.get(name, 'can be timed here')}")
        return
    found = record.timed_rows(words, config)
    kept = tuple(change for change in changes if not change.startswith(("again=", "paths.")))
    sheet = TimedSheet(table, profile, config.profile.timed_banner, found, kept)
    written = write(sheet, Path(config.paths.results) / profile)
    print(written[1].read_text(encoding="utf-8"))
    sys.stdout.write(f"written: {written[1]}\n")


def main() -> None:
    """Plan, then show the plan or do what is missing; status 1 when a row failed."""
    own, changes, dry = arguments(sys.argv[1:])
    if dry:
        # To look at a plan must not download weights; read when the Hub's client is imported.
        os.environ["HF_HUB_OFFLINE"] = "1"
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(MaskedFormatter("%(message)s"))
    logging.captureWarnings(True)
    from sbert_repro.composition import prepare
    from sbert_repro.tables import cost, dry_run, launch, plan, render, request, screen, spec
    from sbert_repro.tables.assemble import sheet

    table = spec.load(own["table"])
    if table.timed:
        timed(table, own["profile"], changes, dry)
        return
    start = launch.launcher(own["launcher"])
    asked = request.Request(own["profile"], tuple(changes))
    base = request.check(asked)
    prepare(base)
    work = launch.Here(base)
    made = plan.make(table, asked, base, work)
    if dry:
        left = cost.estimate(made, work.records())
        console().print(dry_run.shown(made, left))
        return
    folder = Path(base.paths.results) / asked.profile
    done = start(made, work, lambda done: render.write(sheet(made, done), folder))
    finished = sheet(made, done)
    console().print(screen.on_screen(finished))
    sys.stdout.write(f"written: {folder / f'table_{table.name}.md'}\n")
    if launch.left(made):
        launch.track(made, render.as_csv(finished))
    if any(outcome.failed for outcome in done.values()):
        raise SystemExit(FAILED)


if __name__ == "__main__":
    one_line_errors(main)
