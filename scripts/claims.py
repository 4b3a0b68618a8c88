"""The paper's sentences, checked on the tables: python scripts/claims.py profile=lite.

Reads the tables as they were last printed, results/<profile>/records; trains and scores nothing.
Any further words are options of train.py, such as paths.results=FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from sbert_repro.cli import one_line_errors, split_words, usage
from sbert_repro.compose import ROW_OPTIONS, compose_table
from sbert_repro.redaction import log_masked, masked
from sbert_repro.storage import write_file

_PAGE = 160
_MEANING = {"profile=paper": "paper, lite or demo"}
_EXAMPLE = "python scripts/claims.py profile=lite"


def main() -> None:
    """Judge every claim; write CSV, Markdown and records."""
    own, changes, flags = split_words(sys.argv[1:], {"profile": "paper"})
    profile = own["profile"]
    log_masked()
    base = compose_table(profile, changes)
    if flags:
        without = (*ROW_OPTIONS, "seed", "prepare", "profile.name")
        print(usage(str(__doc__).splitlines()[0], _MEANING, base, without, _EXAMPLE))
        return
    from sbert_repro.tables import claims, launch, printed

    folder = Path(base.paths.results) / profile
    listed, paper = claims.load()
    tables = printed.read_all(folder)
    verdicts = printed.summary(tables.values())
    tables[printed.HEADLINE] = printed.headline(folder, paper)
    work = launch.LedgerWork(base)
    judged = [claims.judge(claim, tables, work.resampled) for claim in listed]
    text = claims.as_csv(judged)
    path = folder / "claims.csv"
    known = path.read_text(encoding="utf-8") if path.is_file() else ""
    banner = str(base.profile.banner)
    for name, content in {
        "claims.csv": text,
        "claims.md": claims.as_markdown(judged, profile, banner, verdicts),
        "records/claims.json": claims.as_json(judged, profile),
    }.items():
        write_file(folder / name, masked(content))
    console = Console() if sys.stdout.isatty() else Console(width=_PAGE)
    console.print(claims.on_screen(judged))
    print("\n".join(["", *verdicts, f"written: {folder / 'claims.md'}"]))
    if text != known:
        launch.track(base, "claims", text)


if __name__ == "__main__":
    one_line_errors(main)
