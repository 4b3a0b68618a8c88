"""Print what is in the data root: ``python scripts/verify_data.py [paths.data=FOLDER]``.

Without ``paths.data=`` it is the folder that SBERT_DATA names, or data/. Exit status 2 when a file
is there that cannot be used; a missing or partial one is no mistake.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from sbert_repro.cli import USER_MISTAKE, one_line_errors
from sbert_repro.config import PathsConfig
from sbert_repro.data.download import BROKEN, State, states
from sbert_repro.errors import UserError

_COLOURS = {"complete": "green", "partial": "yellow", "missing": "dim"}


def data_root(words: Sequence[str]) -> Path:
    """Find the data root as every other command does: ``paths.data=``, SBERT_DATA, the default."""
    config = OmegaConf.structured(PathsConfig)
    for word in words:
        key, _, value = word.partition("=")
        if key != "paths.data" or not value:
            raise UserError("expected nothing but paths.data=FOLDER", where=word)
        config.data = value
    root = Path(config.data)
    if not root.is_dir():
        raise UserError(
            "there is no data root on this machine",
            where=root,
            mend="fill one with `make data`, or say where it is with paths.data=FOLDER or "
            "SBERT_DATA=FOLDER",
            code="missing",
        )
    return root


def _table(root: Path, found: list[State]) -> Table:
    table = Table(title=f"data root {root}", title_justify="left")
    for name in ("data set", "split", "rows found", "rows expected", "sha256", "status"):
        table.add_column(name, justify="right" if name.startswith("rows") else "left")
    for state in found:
        table.add_row(
            state.data_set,
            state.split,
            "—" if state.found is None else f"{state.found:,}",
            f"{state.expected:,}",
            state.sha256[:12],
            f"[{_COLOURS.get(state.status, 'red')}]{state.status}[/]",
        )
    return table


def main() -> None:
    """Print the table, then one line for each broken file."""
    root = data_root(sys.argv[1:])
    found = list(states(root))
    console = Console()
    console.print(_table(root, found))
    broken = [state for state in found if state.status in BROKEN]
    for state in broken:
        sys.stderr.write(f"error: {state.problem}\n")
    if broken:
        raise SystemExit(USER_MISTAKE)


if __name__ == "__main__":
    one_line_errors(main, __doc__)
