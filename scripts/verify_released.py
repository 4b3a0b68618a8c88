"""Released models against the scores that others published for them.

    python scripts/verify_released.py [paths.data=FOLDER] [paths.models=FOLDER]

Exit status 0 when all scores of the models that can be found hold, 1 when one does not. A model
that is neither on this machine nor available from the Hub is skipped with a line that says so.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from rich.console import Console

from sbert_repro.cli import one_line_errors
from sbert_repro.errors import UserError

OFF = 1


def main() -> None:
    """Verify each model that can be found, print a table for each, then one line on all."""
    words = sys.argv[1:]
    # Heavy imports stand here so that a misspelt option is refused at once.
    from sbert_repro.compose import compose

    compose([*words, "encoder=released", "encoder.path=any"], "evaluate")
    from sbert_repro.backbone.find_model import find_model
    from sbert_repro.encoders.base import SentenceEncoder
    from sbert_repro.evaluation.released import PUBLISHED, table, verify
    from sbert_repro.evaluation.run import encoder_of

    # Without a network the Hub's client would announce each of its retries.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    console, checks, skipped = Console(), [], 0
    for one in PUBLISHED:
        named = [f"encoder.path={one.model}", f"encoder.revision={one.revision}"]
        config = compose([*words, "encoder=released", *named], "evaluate")
        paths = config.paths
        try:
            find_model(one.model, Path(paths.models), one.revision, Path(paths.cache))
        except UserError as error:
            if error.code != "missing":
                raise
            skipped += 1
            print(f"skipped: {error}")
            continue
        encoder = encoder_of(config)
        assert isinstance(encoder, SentenceEncoder), "encoder=released gives vectors"
        found = verify(one, encoder, Path(config.paths.data), Path(config.paths.cache))
        print(f"{one.model}: cosine Spearman × 100")
        console.print(table(one, found))
        checks += found
    held = sum(check.holds for check in checks)
    models = f"{skipped} of {len(PUBLISHED)} models skipped"
    print(f"{held} of {len(checks)} published scores hold; {models}")
    if held < len(checks):
        raise SystemExit(OFF)


if __name__ == "__main__":
    one_line_errors(main, __doc__)
