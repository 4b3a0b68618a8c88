"""How fast ours is beside the usual way: python scripts/benchmark.py what=senteval [output=F]."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sbert_repro.cli import hydra_command
from sbert_repro.redaction import masked
from sbert_repro.storage import check_writable, write_file

if TYPE_CHECKING:
    from sbert_repro.benchmarks.timing import Figures

_PAGE = 220
_LARGE = 1000
_GOALS = ("goal", "goals")


@hydra_command("benchmark")
def main(config: DictConfig, _overrides: list[str]) -> None:
    """Measure, print a table, write the figures."""
    # Heavy imports stand here so that a misspelt option is refused at once.
    from sbert_repro.benchmarks.busy import watched
    from sbert_repro.compose import build
    from sbert_repro.facts import sentence

    output = None if config.output is None else Path(config.output)
    if output is not None:
        check_writable(output)
    benchmark = build(config.what)
    with watched() as others:
        figures = benchmark.run(config)
    figures.notes.extend(map(sentence, others))
    show(figures)
    if output is not None:
        text = json.dumps(asdict(figures), indent=1, ensure_ascii=False)
        write_file(output, masked(text) + "\n")


def show(figures: Figures) -> None:
    """Print a table, then each row's goals, then the notes, a line each."""
    # Room for the whole table where the output goes to a file.
    console = Console() if sys.stdout.isatty() else Console(width=_PAGE)
    headings = [name for name in figures.rows[0] if name not in _GOALS]
    table = Table(title=figures.title, title_justify="left", box=None)
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in figures.rows:
        table.add_row(*(escape(_shown(row[heading])) for heading in headings))
    console.print(table)
    for row in figures.rows:
        goals = next((str(row[name]) for name in _GOALS if name in row), "—")
        if goals != "—":
            name = ", ".join([v for h in headings if isinstance(v := row[h], str)][:2])
            console.print(escape(f"goals of {name}: {goals}"), highlight=False, soft_wrap=True)
    for note in figures.notes:
        console.print(escape(note), highlight=False, soft_wrap=True)


def _shown(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if value >= _LARGE else f"{value:.2f}"


if __name__ == "__main__":
    main()
