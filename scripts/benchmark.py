"""Ours beside the usual way, side by side: python scripts/benchmark.py what=senteval [output=F]."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from sbert_repro.command_line import hydra_command
from sbert_repro.files import atomic_write


@hydra_command("benchmark")
def main(config: DictConfig, _overrides: list[str]) -> None:
    """Measure, print a table, write the figures."""
    # Heavy imports stand here so that a misspelt option is refused at once.
    from sbert_repro.composition import build
    from sbert_repro.evaluation.show import check_writable

    output = None if config.output is None else Path(config.output)
    if output is not None:
        check_writable(output)
    figures = build(config.what).run(config)
    table = Table(title=figures.title, caption="\n".join(figures.notes), box=None)
    for heading in figures.rows[0]:
        table.add_column(heading, justify="right")
    for row in figures.rows:
        table.add_row(*(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
    if output is not None:
        atomic_write(output, json.dumps(asdict(figures), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
