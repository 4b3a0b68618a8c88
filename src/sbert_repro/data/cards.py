"""The page that shows what the records say: a card for each data set, in Markdown."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Sequence

from sbert_repro.data.description import DataSet, Source
from sbert_repro.data.download import SOURCE_FILE
from sbert_repro.data.record import dataset, names
from sbert_repro.data.word_vector_files import FOLDER, PUBLISHED

_HEAD = f"""\
# Data sets

Made by `python scripts/data_cards.py` from the records in `src/sbert_repro/data`; do not edit.

A data set lies in `<data root>/<name>/<split>.parquet`. `make data` gets what may be got,
`make verify-data` compares rows found with the rows below, and a set with another number of rows is
refused unless `data.allow_partial=true`. A revision is a commit on the Hub, so it fixes the
content; `make data` writes down the sha256 of each file it makes, beside it in `{SOURCE_FILE}`, and
every result names the sha256 of the rows it rests on.
"""
_FORMATS = {
    "hub_table": "a table on the Hugging Face Hub",
    "tsv": "a tab-separated file, where a quote is a plain character",
    "sts_folder": "files of pairs beside files of gold scores; a blank score drops its pair",
    "lines": "a file with a row a line",
    "by_hand": "a CSV that has to be fetched by hand",
}
_KINDS = {
    "labelled_pairs": "pairs with a class",
    "scored_pairs": "pairs with a score",
    "triplets": "triplets",
    "labelled_texts": "texts with a class",
}


def page() -> str:
    """Write the page.

    Returns:
        str: Markdown, data sets in the order of their names, then the word vectors.
    """
    records = [dataset(name) for name in names()]
    rows = [f"| [{r.title}](#{r.name}) | `{r.name}` | {_sizes(r)} | {r.licence} |" for r in records]
    index = ["| data set | name | rows | licence |", "|---|---|---|---|", *rows]
    cards = [_card(record) for record in records]
    return "\n".join([_HEAD, *index, "", *cards, _vectors()])


def _card(record: DataSet) -> str:
    module = importlib.import_module(f"sbert_repro.data.{record.name}")
    about = " ".join((inspect.getdoc(module) or "").split())
    facts = {
        "title": record.title,
        "holds": f"{_KINDS[record.kind]}; {_sizes(record)} {record.unit}",
        "columns": ", ".join(f"`{name}`" for name in record.columns),
        **_target(record),
        "licence": record.licence,
        "cite": record.citation,
        "note": record.note,
    }
    lines = [f"- {name}: {text}" for name, text in facts.items()]
    return "\n".join([f"## {record.name}", "", about, "", *lines, *_sources(record), ""])


def _sizes(record: DataSet) -> str:
    about = "about " if record.round_number else ""
    return ", ".join(f"{split} {about}{rows:,}" for split, rows in record.splits.items())


def _target(record: DataSet) -> dict[str, str]:
    facts = {}
    if record.labels is not None:
        facts["classes"] = ", ".join(record.labels)
    if record.dropped_labels:
        dropped = ", ".join(f"`{label}`" for label in record.dropped_labels)
        facts["no class"] = f"rows labelled {dropped} are dropped and counted"
    if record.score_range is not None:
        low, high = record.score_range
        brought = "" if (low, high) == (0, 1) else ", brought to 0 to 1 for training"
        facts["scores"] = f"{low:g} to {high:g}{brought}"
    if record.topics:
        facts["topics"] = ", ".join(record.topics)
    return facts


def _sources(record: DataSet) -> Iterator[str]:
    """A line for each place, with the parts that our splits come from."""
    yield "- sources:"
    for where in dict.fromkeys(map(_where, record.sources)):
        yield f"  - {where}: {_parts([s for s in record.sources if _where(s) == where])}"


def _where(source: Source) -> str:
    words = [f"`{source.place}`", f"({_FORMATS[source.format]})"]
    if source.archive:
        words.append(f"archive `{source.archive}`")
    if source.config:
        words.append(f"configuration `{source.config}`")
    if source.revision:
        words.append(f"revision `{source.revision}`")
    elif source.format != "by_hand":
        words.append("the newest, which the download writes down")
    if source.sha256:
        words.append(f"sha256 `{source.sha256}`")
    if source.encoding != "utf-8":
        words.append(f"encoding {source.encoding}")
    return ", ".join([" ".join(words[:2]), *words[2:]])


def _parts(sources: Sequence[Source]) -> str:
    said = []
    for source in sources:
        inside = f" ({', '.join(source.subsets)})" if source.subsets else ""
        said.append(f"{source.split} from `{source.part}`{inside}")
    return "; ".join(said)


def _vectors() -> str:
    lines = [
        f"## {FOLDER}",
        "",
        "Word vectors for the rows that average them; as they are published.",
    ]
    for one in PUBLISHED:
        got = "`make data` gets it" if one.in_tables else "not in a table, so `make data` leaves it"
        lines += [
            "",
            f"- `{one.name}`: {one.note}",
            f"  - source: {one.url} ({got})",
            f"  - licence: {one.licence}",
            f"  - cite: {one.citation}",
        ]
    return "\n".join([*lines, ""])
