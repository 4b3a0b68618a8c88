"""A vector a line: python scripts/encode.py encoder=NAME input=SENTENCES.txt output=E.npy."""

from __future__ import annotations

from omegaconf import DictConfig

from sbert_repro.cli import hydra_command


@hydra_command("encode", texts={"input", "output", "encoder.key"})
def main(config: DictConfig, _overrides: list[str]) -> None:
    """Encode, and say what was done."""
    # Heavy imports stand here so that a misspelt option is refused at once.
    from sbert_repro.evaluation.encode import run

    done = run(config)
    for note in done.notes:
        print(f"note: {note}")
    rows, width, kept = done.written.rows, done.written.width, done.written.kept
    new = rows - kept
    before = f", {kept:,} of them by an earlier run" if kept else ""
    print(f"{config.output}: {rows:,} vectors of {width} numbers{before}")
    if new:
        print(f"{new:,} sentences in {done.seconds:.1f} s, {new / done.seconds:,.0f} a second")


if __name__ == "__main__":
    main()
