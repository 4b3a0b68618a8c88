"""One training run: ``python train.py pooling=max loss=regression``.

Composes ``configs/train.yaml``, trains, scores the finished model and records everything under
``results/runs/<key>/``. The same command again, after an end or an interruption, goes on there.
"""

from __future__ import annotations

from omegaconf import DictConfig

from sbert_repro.cli import hydra_command


@hydra_command("train")
def main(config: DictConfig, overrides: list[str]) -> str:
    """Train (or find in the ledger) and score one model.

    Args:
        config: The composed options.
        overrides: The options as typed, for the first stage of a two-stage run.

    Returns:
        The run and its score, in one line.
    """
    from sbert_repro.evaluation.run import check_tasks, evaluate_trained, in_lines, main_scores
    from sbert_repro.facts import sentences
    from sbert_repro.tables.launch import LedgerWork, warn_without_gpu
    from sbert_repro.tables.plan import stages_left
    from sbert_repro.training.run import train
    from sbert_repro.training.tracking import together

    check_tasks(config, overrides)
    work = LedgerWork(config)
    warn_without_gpu(config, work, lambda: stages_left(config, overrides, work))
    with together():
        record = train(config, overrides)
        scored = evaluate_trained(config, record["key"])
    # First, as it says what everything below is: such as a demo's numbers, on made-up sentences.
    for note in filter(None, [config.profile.banner, *sentences(record["facts"])]):
        print(note)
    print("".join(f"{line}\n" for line in in_lines(scored)), end="")
    metric, value = next(iter({**main_scores(scored), **record["scores"]}.items()))
    said = f"run {record['key']} {metric}={float('nan') if value is None else value:.4f}"
    print(said)
    return said


if __name__ == "__main__":
    main()
