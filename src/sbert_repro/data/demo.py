"""The demo's data root: every data set of the project in small, made of a language with meaning.

It has the layout, names and columns of a root of real data, so no reader, task or table knows of
it. What is in it is synthetic; ``MANIFEST.json`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sbert_repro.data.demo_language import labelled, pairs, topics
from sbert_repro.data.demo_language.pairs import Author, Row
from sbert_repro.data.demo_language.scenes import Detail
from sbert_repro.data.demo_language.speech import Dice
from sbert_repro.data.demo_language.vectors import as_text, word_vectors
from sbert_repro.storage import make_folder, sha256_of

VERSION = 2
"""Raised by hand when the same root would be other sentences."""
SEED = 2019
Table = tuple[str, tuple[str, ...], list[Row]]

_LABELLED = ("text", "label")
_SCORED = ("sentence1", "sentence2", "score")
_SUBSETS = {
    "sts12": ("captions", "headlines", "rewordings"),
    "sts13": ("headlines", "answers"),
    "sts14": ("captions", "events", "headlines", "denials"),
    "sts15": ("answers", "denials", "captions"),
    "sts16": ("events", "answers", "rewordings"),
}


@dataclass(frozen=True)
class _Pairs:
    """A data set of sentences that stand in no other split: columns, maker, split → rows."""

    name: str
    columns: tuple[str, ...]
    rows: Callable[[Author], Iterator[Row]]
    splits: dict[str, int]


def _benchmark(author: Author) -> Iterator[Row]:
    return (row[1:] for row in pairs.sts(author, tuple(pairs.STYLES)))


_PAIRS = (
    _Pairs(
        "nli",
        ("premise", "hypothesis", "label", "source"),
        pairs.nli,
        {"train": 4_000, "dev": 300, "test": 300},
    ),
    _Pairs("stsb", _SCORED, _benchmark, {"train": 1_000, "dev": 400, "test": 400}),
    _Pairs("sickr", (*_SCORED, "label"), pairs.sick, {"train": 400, "dev": 100, "test": 400}),
    *(
        _Pairs(year, ("subset", *_SCORED), partial(pairs.sts, styles=subsets), {"test": 300})
        for year, subsets in _SUBSETS.items()
    ),
    _Pairs(
        "mrpc",
        ("sentence1", "sentence2", "label"),
        pairs.paraphrases,
        {"train": 400, "test": 150},
    ),
    _Pairs("bws", ("topic", *_SCORED), topics.arguments, {"all": 320}),
    _Pairs(
        "wikisections",
        ("anchor", "positive", "negative"),
        topics.sections,
        {"train": 1_000, "dev": 100, "test": 300},
    ),
)


def _pair_tables() -> Iterator[Table]:
    said: set[str] = set()
    for made in _PAIRS:
        for split, count in made.splits.items():
            name = f"{made.name}/{split}"
            rows = made.rows(Author(Dice(SEED, name), said))
            yield name, made.columns, list(islice(rows, count))


def _text_tables() -> Iterator[Table]:
    """Give file, columns and rows of the data sets of labelled texts."""
    long, short = Detail(quality=0.8, place=0.8, negated=0.3), Detail(0.3, 0.0, 0.3)

    def ordered(name: str, rows: Iterator[Row]) -> Table:
        # Upstream lists all 1s, then all 0s.
        return name, _LABELLED, sorted(_distinct(rows, 400), key=lambda row: -int(row[1]))

    yield ordered("mr/all", labelled.reviews(Dice(SEED, "mr"), long))
    yield ordered("cr/all", labelled.reviews(Dice(SEED, "cr"), Detail()))
    yield ordered("subj/all", labelled.subjectivity(Dice(SEED, "subj")))
    yield ordered("mpqa/all", labelled.phrases(Dice(SEED, "mpqa")))
    rows = _distinct(labelled.reviews(Dice(SEED, "sst2"), short), 800)
    for split, part in (("train", rows[:500]), ("dev", rows[500:600]), ("test", rows[600:])):
        yield f"sst2/{split}", _LABELLED, part
    rows = _distinct(labelled.questions(Dice(SEED, "trec")), 500)
    for split, part in (("train", rows[:400]), ("test", rows[400:])):
        yield f"trec/{split}", (*_LABELLED, "fine_label"), part


def _distinct(rows: Iterator[Row], count: int) -> list[Row]:
    """Give the first rows whose texts differ."""
    found: dict[str | float, Row] = {}
    for row in rows:
        found.setdefault(row[0], row)
        if len(found) == count:
            break
    return list(found.values())


def tables() -> Iterator[Table]:
    """Make every file of the root.

    Yields:
        Table: Name (``nli/train``), columns, rows. Always the same; no sentence of a pair stands
            in two files, so that nothing of an evaluation split can have been learnt by heart.
    """
    yield from _pair_tables()
    yield from _text_tables()


def _type(column: str, value: object) -> pa.DataType:
    if column == "score":
        return pa.float64()
    return pa.int64() if isinstance(value, int) else pa.large_string()


def _fill(folder: Path) -> list[dict[str, Any]]:
    entries = []
    for name, columns, rows in tables():
        schema = pa.schema(
            [(c, _type(c, value)) for c, value in zip(columns, rows[0], strict=True)]
        )
        path = folder / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        values = zip(*rows, strict=True)
        arrays = [pa.array(v, t) for v, t in zip(values, schema.types, strict=True)]
        pq.write_table(pa.table(arrays, schema=schema), path)
        entries.append(
            {
                "file": f"{name}.parquet",
                "rows": len(rows),
                "columns": list(columns),
                "sha256": sha256_of(path),
            }
        )
    return [*entries, *_word_vectors(folder / "word_vectors")]


def _word_vectors(folder: Path) -> Iterator[dict[str, Any]]:
    """Write one file in GloVe's format and one, with other numbers, in fastText's."""
    folder.mkdir()
    for name, width, header in (("demo-glove.txt", 24, False), ("demo-fasttext.vec", 32, True)):
        vectors = word_vectors(width, SEED + width)
        path = folder / name
        path.write_text("\n".join(as_text(vectors, header=header)) + "\n", encoding="utf-8")
        yield {
            "file": f"{folder.name}/{name}",
            "rows": len(vectors),
            "columns": ["word", *(f"v{number}" for number in range(1, width + 1))],
            "sha256": sha256_of(path),
        }


def write_demo(root: Path) -> bool:
    """Write the demo's data root, unless this version of it is there.

    Args:
        root: The folder; made, or made anew when another version of the demo wrote it.

    Returns:
        bool: Whether it had to be written.

    Raises:
        UserError: If the folder holds anything else than a demo, or cannot be written.
    """
    return make_folder(root, {"generator": "sbert_repro.data.demo", "version": VERSION}, _fill)
