"""One page of a profile's results: python scripts/report.py profile=lite [paths.results=FOLDER].

Reads what the tables, the headline and the claims wrote into results/<profile>, and writes
report.html there: one file, which opens from disk.
"""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import OmegaConf

from sbert_repro.cli import one_line_errors, split_words
from sbert_repro.config import PathsConfig
from sbert_repro.errors import UserError
from sbert_repro.report import page, results


def main() -> None:
    """Write the page and say where it is."""
    own = {"profile": "paper", "paths.results": str(OmegaConf.structured(PathsConfig).results)}
    words, others, _ = split_words(sys.argv[1:], own)
    if others:
        raise UserError(f"no such option; there are {' and '.join(own)}", where=others[0])
    if words["profile"] not in results.PROFILES:
        raise UserError(
            f"there is no such profile; there are {', '.join(results.PROFILES)}",
            where=f"profile={words['profile']}",
        )
    path = page.write(words["profile"], Path(words["paths.results"]))
    print(f"written: {path}")


if __name__ == "__main__":
    one_line_errors(main, __doc__)
