"""Fill the data root: ``python scripts/download.py [DATA_SET …] [root=FOLDER]``, all by default.

``word_vectors`` stands for the GloVe and fastText files of the paper's tables, 2.3 GB compressed.
This needs the network, and nothing does afterwards. Without ``root=`` the folder is that of
SBERT_DATA, or data/.
"""

from __future__ import annotations

import os
import sys
from itertools import chain
from pathlib import Path

from rich.console import Console

from sbert_repro.cli import one_line_errors
from sbert_repro.data import word_vectors
from sbert_repro.data.download import download
from sbert_repro.data.schema import dataset, names
from sbert_repro.errors import UserError


def _wanted(words: list[str]) -> tuple[list[str], Path]:
    # Not where readers would look: a data folder beside the repository is not ours to fill.
    root = os.environ.get("SBERT_DATA") or "data"
    chosen = []
    for word in words:
        key, given, value = word.partition("=")
        if not given:
            chosen.append(word)
        elif key in ("root", "paths.data"):
            root = value
        else:
            raise UserError("expected names of data sets and root=FOLDER", where=word)
    return chosen or [*names(), word_vectors.FOLDER], Path(root)


def main() -> None:
    """Download one data set after another, and leave alone what is there already."""
    chosen, root = _wanted(sys.argv[1:])
    records = [dataset(name) for name in chosen if name != word_vectors.FOLDER]
    done = [download(record, root) for record in records]
    if word_vectors.FOLDER in chosen:
        done.append(word_vectors.download(root))
    console = Console(soft_wrap=True, highlight=False)
    for line in chain.from_iterable(done):
        console.print(line, markup=False)


if __name__ == "__main__":
    one_line_errors(main)
