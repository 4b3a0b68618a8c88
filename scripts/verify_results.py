"""What has moved since it was accepted: python scripts/verify_results.py profile=lite.

Compares the tables as they were last printed with results/<profile>/expected.yaml; status 1 when a
cell moved further than it may. With --accept it writes that file instead, from the ledger's records
behind the tables. Any further words are options of train.py, such as paths.results=FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sbert_repro.cli import one_line_errors, split_words, usage
from sbert_repro.compose import ROW_OPTIONS, compose_table
from sbert_repro.errors import UserError
from sbert_repro.storage import write_file

FAILED = 1
_OWN = {"profile": "paper", "expected": ""}
_MEANING = {
    "profile=paper": "paper, lite or demo",
    "expected=FILE": "what was accepted; without it, that of the profile",
    "--accept": "write down what the tables give now",
}
_EXAMPLE = "python scripts/verify_results.py profile=lite"


def main() -> None:
    """Compare, or accept; status 1 when something moved."""
    own, changes, flags = split_words(sys.argv[1:], _OWN, ["--accept"])
    profile = own["profile"]
    base = compose_table(profile, changes)
    if flags - {"--accept"}:
        without = (*ROW_OPTIONS, "seed", "prepare", "profile.name")
        print(usage(str(__doc__).splitlines()[0], _MEANING, base, without, _EXAMPLE))
        return
    from sbert_repro.tables import expected, printed

    folder = Path(base.paths.results) / profile
    path = Path(own["expected"] or folder / expected.NAME)
    tables = printed.read_all(folder)
    before = expected.read(path)
    if flags:
        write_file(path, expected.accepted(tables, before))
        count = sum(cell.ours is not None for one in tables.values() for cell in one.cells)
        print(f"accepted: {count} cells of profile {profile} in {path}")
        return
    if not before:
        raise UserError(
            "nothing was accepted yet",
            where=path,
            mend=f"run: make accept-results PROFILE={profile}",
        )
    cells = list(expected.compare(tables, before))
    moved = [cell for cell in cells if cell.counts]
    new = [cell for cell in cells if cell.accepted is None]
    for cell in moved:
        print(f"moved: {cell}")
    for cell in new:
        print(f"new: {cell}")
    said = f"{len(cells) - len(moved) - len(new)} cells as accepted"
    print(f"profile {profile}: {said}, {len(moved)} moved, {len(new)} new")
    if moved:
        raise SystemExit(FAILED)


if __name__ == "__main__":
    one_line_errors(main)
