"""Give a run's model away: python scripts/export.py run=KEY output=DIR."""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig

from sbert_repro.command_line import hydra_command
from sbert_repro.export import export
from sbert_repro.quoting import quoted


@hydra_command("export")
def main(config: DictConfig, _overrides: list[str]) -> None:
    """Write the folder and say how to load it."""
    folder = Path(config.output)
    export(config.run, folder, Path(config.paths.results) / "runs")
    print(f'exported run {config.run}: SentenceTransformer("{folder}") loads it')


if __name__ == "__main__":
    sys.argv[1:] = quoted(sys.argv[1:], {"run"})
    main()
