"""The closest texts: python scripts/search.py encoder=NAME corpus=FILE queries=FILE [k=10]."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sbert_repro.cli import hydra_command
from sbert_repro.facts import sentences
from sbert_repro.storage import check_writable, write_file

SHOWN = 20


@hydra_command("search", texts={"corpus", "queries", "output", "encoder.key"})
def main(config: DictConfig, _overrides: list[str]) -> None:
    """Search, print the beginning, write everything."""
    # Heavy imports stand here so that a misspelt option is refused at once.
    from sbert_repro.evaluation.search import run

    output = None if config.output is None else Path(config.output)
    if output is not None:
        check_writable(output)
    result = run(config)
    found = result.table
    notes = [f"the first {SHOWN} of {found.num_rows:,} lines"] if found.num_rows > SHOWN else []
    shown = Table(box=None)
    for name in found.column_names:
        shown.add_column(name, justify="left" if name.endswith("text") else "right")
    for line in found.slice(0, SHOWN).to_pylist():
        cells = (f"{v:.4f}" if isinstance(v, float) else str(v) for v in line.values())
        # Brackets in a sentence are no markup.
        shown.add_row(*map(Text, cells))
    Console().print(shown)
    for note in [*notes, *sentences(result.facts)]:
        print(note)
    if output is not None:
        write_file(output, result.as_parquet())


if __name__ == "__main__":
    main()
