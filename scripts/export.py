"""Export a run for sentence-transformers: python scripts/export.py run=KEY output=DIR."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sbert_repro.cli import hydra_command
from sbert_repro.export import export, send


@hydra_command("export", texts={"run"})
def main(config: DictConfig, _overrides: list[str]) -> None:
    """Write the folder and say how to load it."""
    folder = Path(config.output)
    export(config.run, folder, Path(config.paths.results) / "runs")
    if config.wandb.artifact:
        send(config.run, folder, config)
    print(f'exported run {config.run}: SentenceTransformer("{folder}") loads it')


if __name__ == "__main__":
    main()
