"""What is true of a number, as fields; and the one place where such a fact becomes a sentence.

A fact is a dictionary with a ``code`` and fields of plain values. Records of the ledger hold facts,
verdicts are computed from them, and `sentence` is called last, for people: nothing reads its words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Fact = dict[str, Any]
"""``{"code": …, field: value, …}``, with values that JSON can hold."""

_SIDES = {"train": "training ", "dev": "dev ", "test": "test "}
_CORPORA = {"mnli": "MultiNLI", "snli": "SNLI"}
_DIGEST = 16
"""Characters of a sha256 that are shown."""


def rows(
    dataset: str,
    split: str,
    *,
    title: str,
    unit: str,
    used: int,
    expected: int,
    own: int | None = None,
    shares: dict[str, int] | None = None,
) -> Fact:
    """State how many rows of a split a number rests on.

    Args:
        dataset: The data set's name.
        split: The split, or the fold or topic that was cut out of it.
        title: The data set's name in the paper.
        unit: What a row is, in the plural.
        used: Rows that were read and used.
        expected: Rows of the complete split.
        own: Of ``used``, the rows that belong to the paper's corpora; ``None``: all of them.
        shares: Of ``own``, the rows of each corpus; ``None``: not known.

    Returns:
        The fact.
    """
    return {
        "code": "rows",
        "dataset": dataset,
        "split": split,
        "title": title,
        "unit": unit,
        "used": used,
        "expected": expected,
        "own": used if own is None else own,
        **({} if shares is None else {"shares": shares}),
    }


def fact(code: str, **fields: Any) -> Fact:
    """State any other fact.

    Args:
        code: A key of `SENTENCES`.
        **fields: The fields that the code's sentence names.

    Returns:
        The fact.
    """
    if code not in SENTENCES:
        raise KeyError(f"{code} is not one of the codes of facts.SENTENCES")
    return {"code": code, **fields}


def is_partial(facts: Iterable[Fact]) -> bool:
    """Tell whether a number rests on part of a data set, or on rows that the paper's has not.

    Args:
        facts: Of a record.

    Returns:
        Whether one of them says so.
    """
    return any(
        one["used"] != one["expected"] or one["own"] != one["used"]
        for one in facts
        if one["code"] == "rows"
    )


def sentence(one: Fact) -> str:
    """Say a fact to a person.

    Args:
        one: The fact.

    Returns:
        A sentence without a full stop; "" for what goes without saying, such as a complete split.
    """
    said = _words(one)
    return f"{one['title']}: {said}" if said and one["code"] in _OF_DATA else said


def _words(one: Fact) -> str:
    say = SENTENCES.get(one["code"])
    return str(one) if say is None else say(one)


def sentences(facts: Iterable[Fact]) -> list[str]:
    """Say several facts, each once.

    Args:
        facts: Of one or more records.

    Returns:
        Sentences in the order of the facts.
    """
    return [said for said in dict.fromkeys(map(sentence, facts)) if said]


def by_data_set(facts: Iterable[Fact]) -> list[str]:
    """Say several facts as notes, those about one split of a data set in one sentence.

    Args:
        facts: Of one or more records.

    Returns:
        "NLI train: 30,000 of 942,069 pairs (68 % MultiNLI, 32 % SNLI); 58 texts cut to 128 word
        pieces"; the other facts as in `sentences`, with a capital.
    """
    found: dict[str, dict[str, None]] = {}
    for one in _cut_together(facts):
        if one["code"] in _OF_DATA:
            side = _side(one)
            about = f"{one['title']} {side}" if side in _SIDES else one["title"]
            words, shares = _words({**one, "split": ""}), ", ".join(_shares(one))
            words += f" ({shares})" if shares else ""
        else:
            about, words = "", sentence(one)
            if one["code"] not in _NAME_FIRST:
                words = words[:1].upper() + words[1:]
        if words:
            found.setdefault(about or words, {})[words if about else ""] = None
    return [
        f"{about}: {'; '.join(words)}" if any(words) else about for about, words in found.items()
    ]


def _side(one: Fact) -> str:
    """Return "train" or "dev" of a split, of a part too: train_fold_3."""
    return str(one.get("split", "")).partition("_")[0]


def _cut_together(facts: Iterable[Fact]) -> list[Fact]:
    """Say of the folds of a data set, each of which cuts another number of texts, the range."""
    merged: dict[Any, Fact] = {}
    for number, one in enumerate(facts):
        if one["code"] != "texts_cut":
            merged[number] = one
            continue
        like = (one["title"], _side(one), one.get("unit"), one["length"])
        first = merged.setdefault(like, one)
        counts = (first["count"], first.get("most", first["count"]), one["count"])
        merged[like] = {**first, "count": min(counts), "most": max(counts)}
    return list(merged.values())


def _shares(one: Fact) -> list[str]:
    """Say which share of a training set comes from which corpus: "68 % MultiNLI".

    Nothing is said where all rows of the complete set are used, and where none of it is.
    """
    if one["code"] != "rows" or not one["split"].startswith("train") or not one["own"]:
        return []
    count, own, shares = one["used"], one["own"], one.get("shares")
    if own == count and (shares is None or count == one["expected"]):
        return []
    # A record of before does not say which of the paper's corpora its rows are from.
    known = sorted((shares or {"in the paper": own}).items(), key=lambda share: -share[1])
    parts = [*known, *([("not in the paper", count - own)] if own < count else [])]
    return [f"{100 * rows / count:.0f} % {_CORPORA.get(corpus, corpus)}" for corpus, rows in parts]


def _rows(one: Fact) -> str:
    if one["own"] != one["used"]:
        return (
            f"{one['used']:,} {_unit(one)}, {one['own']:,} of them of the complete set's "
            f"{one['expected']:,}"
        )
    if one["used"] == one["expected"]:
        return ""
    return f"{one['used']:,} of {one['expected']:,} {_unit(one)}"


def _unit(one: Fact) -> str:
    """Return what a row is and which split it is of: "dev pairs"; "pairs" of a set in one piece."""
    return f"{_SIDES.get(_side(one), '')}{one['unit']}"


def _weights(one: Fact) -> str:
    known = one["expected"]
    hub = "not compared with the Hub's" if known is None else f"the Hub's are {known[:_DIGEST]}"
    return f"{one['model']}: weights of a local folder, sha256 {one['sha256'][:_DIGEST]}, {hub}"


def _other_network(one: Fact, runtime: str, quantisation: str) -> str:
    version = one["runtime"]
    if one.get("precision"):  # records made before there was another than fp32 have none
        how = f", {quantisation}" if one["precision"] == "int8" else ""
        version = f"{version} ({one['precision']}{how})"
    return f"`encode` of sentence-transformers {one['library']}, its network in {runtime} {version}"


def _counted(one: Fact) -> str:
    least, most = one["count"], one.get("most", one["count"])
    return f"{least:,}" if most == least else f"{least:,} to {most:,}"


SENTENCES: dict[str, Callable[[Fact], str]] = {
    "rows": _rows,
    "rows_without_label": lambda f: f"{f['count']:,} {_unit(f)} without a gold label dropped",
    "texts_cut": lambda f: f"{_counted(f)} {_unit(f)} cut to {f['length']} word pieces",
    "swapped": lambda f: f"{f['unit']} trained on in both orders",
    "no_dev": lambda f: f"no {f['dataset']} {f['split']}: trained without looking at it",
    "parts": lambda f: f"{f['run']} of {f['all']} {f['unit']}",
    "devices": lambda f: f"trained by {f['count']} processes, each with its own dropout",
    "unknown_weights": _weights,
    "unknown_file": lambda f: f"{f['file']}: sha256 {f['sha256']}, compared with none",
    "vectors_repeated": lambda f: (
        f"{f['file']}: {f['count']:,} rows repeat a word, the first counts"
    ),
    "vectors_unreadable": lambda f: (
        f"{f['file']}: {f['count']:,} rows without a word in UTF-8 left out"
    ),
    "no_correlation": lambda f: (
        f"{f['task']}: all similarities are equal, no correlation is defined"
    ),
    "other_pooling": lambda f: (
        f"{f['model']}: trained with pooling={f['trained']}, used here with pooling={f['given']}"
    ),
    "fewer_found": lambda f: f"k={f['asked']} was asked for; there are {f['found']:,} {f['what']}",
    "approximate_index": lambda f: (
        f"{f['library']} {f['version']}: {f['lists']:,} lists, {f['probes']} looked into"
    ),
    "index_recall": lambda f: (
        f"finds {f['percent']:.1f} % of what exact search does ({f['queries']} queries)"
    ),
    "library": lambda f: f"{f['library']} {f['version']}",
    "onnx_runtime": lambda f: _other_network(f, "ONNX Runtime", "dynamic quantisation"),
    "openvino": lambda f: _other_network(
        f, "OpenVINO", "NNCF's quantisation, calibrated on 300 training sentences"
    ),
    "exported_graph": lambda f: (
        f"the graph is exported here by {f['by']}: {f['instead_of']} has no release for "
        f"{f['lacks']}"
    ),
    "batch_size": lambda f: (
        f"batches of {f['size']}, the fastest of {', '.join(map(str, f['of']))}"
    ),
    "sentences": lambda f: (
        f"{f['count']:,} distinct sentences of {f['title']}'s {f['split']} split"
    ),
    "random_weights": lambda f: (
        f"random weights in the shape of {f['model']} ({f['layers']} layers, {f['width']} wide), "
        "whose speed is that of the trained ones"
    ),
    "busy": lambda f: (
        f"while it was timed, other programs used {f['taken']:g} of {f['cores']} cores, so that it "
        "is faster than this"
    ),
    "demo_model": lambda f: "random 2-layer BERT of the demo",
    "untrained_head": lambda f: "cross-encoder: the same network with an untrained head",
    "engine": lambda f: f"computed by engine={f['engine']}",
    "not_in_8_bits": lambda f: (
        f"computed in {f.get('computed_in', 'fp32')}, not in int8: {f['reason']}"
    ),
    "added_in_16_bits": lambda _: (
        "int8 weights rounded more coarsely: this processor adds two 8-bit products in 16 bits"
    ),
    "speed_only": lambda f: ". ".join(
        [
            "SPEED ONLY: no number here is a score",
            f"Measured on {f['machine']}, not on the paper's hardware",
            *([f"What was timed: {'; '.join(dict.fromkeys(f['timed']))}"] if f["timed"] else []),
        ]
    ),
    "facts_of_before": lambda f: (
        "recorded before facts were fields: texts that were cut are not known"
    ),
}
"""Code → the sentence of its fields. A new kind of fact is added here, and nowhere else."""
_OF_DATA = ("rows", "rows_without_label", "texts_cut", "swapped")
"""Codes of what is said of a data set, after its title."""
_NAME_FIRST = {"unknown_weights", "unknown_file", "vectors_repeated", "vectors_unreadable"}
_NAME_FIRST |= {"no_correlation", "other_pooling", "fewer_found", "approximate_index", "library"}
"""Codes whose sentences begin with the name of a file, model, task, option or library."""

_UNITS = ((31_557_600.0, "years"), (86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def duration(seconds: float) -> str:
    """Write a measured duration with three digits: "65 h", "4.31 s", "12 ms".

    Args:
        seconds: The duration.

    Returns:
        It in the largest unit that it fills.
    """
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"
