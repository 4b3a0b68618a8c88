"""Write docs/data.md from the records of the data sets: python scripts/data_cards.py."""

from __future__ import annotations

from pathlib import Path

from sbert_repro.command_line import one_line_errors
from sbert_repro.data.cards import page
from sbert_repro.storage import write_file

PAGE = Path(__file__).resolve().parents[1] / "docs" / "data.md"


def main() -> None:
    """Write the page."""
    write_file(PAGE, page())
    print(f"written: {PAGE}")


if __name__ == "__main__":
    one_line_errors(main)
