"""Encode sentences: python scripts/encode.py encoder=NAME input=SENTENCES.txt output=E.npy."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from sbert_repro.cli import hydra_command


@hydra_command("encode", texts={"input", "output", "encoder.key"})
def main(config: DictConfig, _overrides: list[str]) -> None:
    """Encode, and say what was done."""
    # Heavy imports stand here so that a misspelt option is refused at once.
    from sbert_repro.evaluation.run import encoder_of
    from sbert_repro.facts import sentences
    from sbert_repro.inference.stream import encode_file

    written, encoder = encode_file(
        Path(config.input),
        Path(config.output),
        lambda: encoder_of(config),
        block=config.block,
        cache=Path(config.paths.cache),
        overwrite=config.overwrite,
        progress=config.progress,
    )
    for note in sentences(encoder.facts):
        print(f"note: {note}")
    before = f", {written.kept:,} of them by an earlier run" if written.kept else ""
    print(f"{config.output}: {written.rows:,} vectors of {written.width} numbers{before}")
    if new := written.rows - written.kept:
        speed = new / written.seconds
        print(f"{new:,} sentences in {written.seconds:.1f} s, {speed:,.0f} a second")


if __name__ == "__main__":
    main()
