"""Write docs/data.md, a card for each data set, from the records: python scripts/data_cards.py."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

from sbert_repro.cli import one_line_errors
from sbert_repro.data.download import SOURCE_FILE
from sbert_repro.data.packages import INSTALL, PACKAGES
from sbert_repro.data.schema import DataSet, Source, dataset, names
from sbert_repro.data.word_vectors import FOLDER, PUBLISHED
from sbert_repro.storage import write_file

PAGE = Path(__file__).resolve().parents[1] / "docs" / "data.md"
_HEAD = f"""\
# Data sets

Made by `python scripts/data_cards.py` from the records in `src/sbert_repro/data/sets`; do not edit.

A data set lies in `<data root>/<name>/<split>.parquet`. `make data` downloads those of the paper's
tables and says what has to be fetched by hand; `make data ARGS="sets=[NAME,NAME]"` gets others.
`make verify-data` compares the rows it finds with the numbers below. A set with another number of
rows is refused unless `data.allow_partial=true`. A revision is a commit on the Hub, so it fixes the
content; `make data` records the sha256 of each file it writes in `{SOURCE_FILE}` beside it, and
every result names the sha256 of the rows it rests on.
"""
_FORMATS = {
    "hub_table": "a table on the Hugging Face Hub",
    "tsv": "a tab-separated file; quotes are ordinary characters",
    "sts_folder": "files of pairs and of gold scores; pairs with a blank score are left out",
    "lines": "a file with one row per line",
    "by_hand": "a CSV that has to be downloaded by hand",
}
_KINDS = {
    "labelled_pairs": "pairs with a class",
    "scored_pairs": "pairs with a score",
    "triplets": "triplets",
    "labelled_texts": "texts with a class",
}


def page() -> str:
    """Return the page in Markdown: data sets by name, then word vectors and packages."""
    records = [dataset(name) for name in names()]
    rows = [f"| [{r.title}](#{r.name}) | `{r.name}` | {_sizes(r)} | {r.licence} |" for r in records]
    index = ["| data set | name | rows | licence |", "|---|---|---|---|", *rows]
    return "\n".join([_HEAD, *index, "", *map(_card, records), _vectors(), _packages()])


def _card(record: DataSet) -> str:
    module = importlib.import_module(f"sbert_repro.data.sets.{record.name}")
    about = " ".join((inspect.getdoc(module) or "").split())
    entries = {
        "title": record.title,
        "holds": f"{_KINDS[record.kind]}; {_sizes(record)} {record.unit}",
        "columns": ", ".join(f"`{name}`" for name in record.columns),
        **_target(record),
        "licence": record.licence,
        "cite": record.citation,
        "note": record.note if record.in_tables else f"{record.note} `make data` gets it by name.",
    }
    lines = [f"- {name}: {text}" for name, text in entries.items()]
    return "\n".join([f"## {record.name}", "", about, "", *lines, *_sources(record), ""])


def _sizes(record: DataSet) -> str:
    about = "about " if record.round_number else ""
    return ", ".join(f"{split} {about}{rows:,}" for split, rows in record.splits.items())


def _target(record: DataSet) -> dict[str, str]:
    entries = {}
    if record.labels is not None:
        entries["classes"] = ", ".join(record.labels)
    if record.dropped_labels:
        dropped = ", ".join(f"`{label}`" for label in record.dropped_labels)
        entries["no class"] = f"rows labelled {dropped} are dropped and counted"
    if record.score_range is not None:
        low, high = record.score_range
        scaled = "" if (low, high) == (0, 1) else ", scaled to 0 to 1 for training"
        entries["scores"] = f"{low:g} to {high:g}{scaled}"
    if record.topics:
        entries["topics"] = ", ".join(record.topics)
    return entries


def _sources(record: DataSet) -> Iterator[str]:
    """Yield a line for each place, with the parts that our splits come from."""
    yield "- sources:"
    for where in dict.fromkeys(map(_where, record.sources)):
        yield f"  - {where}: {_parts([s for s in record.sources if _where(s) == where])}"


def _where(source: Source) -> str:
    words = [f"`{source.place}` ({_FORMATS[source.format]})"]
    if source.archive:
        words.append(f"archive `{source.archive}`")
    if source.config:
        words.append(f"configuration `{source.config}`")
    if source.revision:
        words.append(f"revision `{source.revision}`")
    elif source.format != "by_hand":
        words.append("the newest revision, which the download records")
    if source.sha256:
        words.append(f"sha256 `{source.sha256}`")
    if source.encoding != "utf-8":
        words.append(f"encoding {source.encoding}")
    return ", ".join(words)


def _parts(sources: Sequence[Source]) -> str:
    parts = []
    for source in sources:
        inside = f" ({', '.join(source.subsets)})" if source.subsets else ""
        parts.append(f"{source.split} from `{source.part}`{inside}")
    return "; ".join(parts)


def _vectors() -> str:
    lines = [f"## {FOLDER}", "", "Word vectors for the rows that average them, as published."]
    for one in PUBLISHED:
        second = f", or `{one.hub}` on the Hub" if one.hub else ""
        lines += [
            "",
            f"- `{one.name}`: {one.note}",
            f"  - source: {one.url}{second}",
            f"  - licence: {one.licence}",
            f"  - cite: {one.citation}",
        ]
    return "\n".join([*lines, ""])


def _packages() -> str:
    lines = ["## packages", "", f"Files that `{INSTALL}` gets from the Python index."]
    for one in PACKAGES:
        lines += [
            "",
            f"- `{one.name}`, {one.holds}: {one.note}",
            f"  - source: {one.source}",
            f"  - licence: {one.licence}",
        ]
        lines += [f"  - `{file}`: sha256 `{digest}`" for file, digest in one.sha256.items()]
    return "\n".join([*lines, ""])


def main() -> None:
    """Write the page."""
    write_file(PAGE, page())
    print(f"written: {PAGE}")


if __name__ == "__main__":
    one_line_errors(main)
