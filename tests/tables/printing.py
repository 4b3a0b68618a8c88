"""Tables with numbers of our choice, as if they had been printed."""

from __future__ import annotations

from dataclasses import replace

from sbert_repro.tables.claims import load
from sbert_repro.tables.printed import HEADLINE, headline, read_all

PAIRS = 1_000


def of_the_paper(folder):
    """All tables without numbers of ours, from an empty folder."""
    _, paper = load()
    tables = read_all(folder)
    return {**tables, HEADLINE: headline(folder, paper)}


def evaluation(key, task="stsb", **scores):
    """A record of an evaluation."""
    settings = {"task": task}
    return {
        "kind": "evaluate",
        "key": key,
        "settings": settings,
        "scores": {"n": PAIRS, **scores},
        "seed": None,
    }


def with_numbers(tables, numbers, half=0.01, seeds=None, **more):
    """Fill cells: {(table, row, column): number}, each give or take `half`.

    With a mean, the cells that it is the mean of are filled with the same number. Cells that
    `seeds` names are trained and have these scores by seed; `more` is added to all.
    """
    seeds = seeds or {}
    found = dict(tables)
    parts = {
        (table, row, part.column): number
        for (table, row, column), number in numbers.items()
        for part in tables[table].parts(tables[table].cell(row, column))
    }
    numbers = {**parts, **numbers}
    for ref, number in numbers.items():
        table, row, column = ref
        one = found[table]
        name = "|".join(ref)
        scores = seeds.get(ref) or {0: number}
        runs = tuple(f"run {name} {seed}" for seed in scores) if ref in seeds else ()
        keys = tuple(f"{name} {seed}" for seed in scores)
        filled = {
            "ours": number,
            "n": len(scores),
            "planned": len(scores),
            "scores": scores,
            "interval": (number - half, number + half),
            "keys": (*runs, *keys),
            "reasons": (),
            **more,
        }
        cells = [
            replace(cell, **filled) if (cell.row, cell.column) == (row, column) else cell
            for cell in one.cells
        ]
        records = {
            key: evaluation(key, spearman=score)
            for key, score in zip(keys, scores.values(), strict=True)
        }
        records |= {key: {"kind": "train", "key": key, "settings": {}} for key in runs}
        found[table] = replace(one, cells=tuple(cells), records={**one.records, **records})
    return found
