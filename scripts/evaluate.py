"""Score an encoder: python scripts/evaluate.py encoder=NAME [encoder.path=DIR] [task=sts]."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from sbert_repro.cli import hydra_command
from sbert_repro.config import plain
from sbert_repro.storage import check_writable, write_file


@hydra_command("evaluate", texts={"task", "encoder.key"})
def main(config: DictConfig, _overrides: list[str]) -> None:
    """Evaluate, print a table and what to know of it, write the scores."""
    # Heavy imports stand here so that a misspelt option is refused at once.
    from sbert_repro.compose import build
    from sbert_repro.evaluation.evaluate import as_json, evaluate, notes, table
    from sbert_repro.evaluation.run import encoder_of, track_scores
    from sbert_repro.evaluation.sts import main_score

    output = None if config.output is None else Path(config.output)
    if output is not None:
        check_writable(output)
    encoder = encoder_of(config)
    scores = evaluate(
        encoder,
        config.task,
        Path(config.paths.data),
        allow_partial=config.data.allow_partial,
        cache=Path(config.paths.cache),
        classifier=build(config.classifier),
        folds=plain(config.profile.afs_folds),
    )
    console = Console()
    if config.profile.banner:
        console.print(config.profile.banner)
    console.print(table(scores))
    for note in notes(scores):
        print(note)
    if output is not None:
        write_file(output, as_json(scores))
    track_scores(config, encoder, {task: main_score(score) for task, score in scores.items()})


if __name__ == "__main__":
    main()
