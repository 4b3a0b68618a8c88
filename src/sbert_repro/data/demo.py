"""The demo's data root: every data set of the project in small, made of a language with meaning.

It has the layout, names and columns of a root of real data, so no reader, task or table knows of
it. What is in it is synthetic; ``MANIFEST.json`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sbert_repro.data.demo_language import (
    CONCEPTS,
    Change,
    Detail,
    Dice,
    Scene,
    add,
    change,
    deny,
    draw,
    general,
    kind_of,
    omit,
    oppose,
    other,
    phrase,
    related,
    relation,
    say,
    similarity,
    swap,
    word,
    word_vector_lines,
    word_vectors,
)
from sbert_repro.storage import make_folder, sha256_of

VERSION = 2
"""Raised by hand when the root would hold other sentences."""
SEED = 2019

Row = tuple[str | float | int, ...]
Table = tuple[str, tuple[str, ...], list[Row]]
"""A file's name (``nli/train``), its columns and its rows."""


class Author:
    """Says scenes in sentences that nobody has said before.

    All data sets of a root share the set of sentences, so no sentence of an evaluation split can
    have been seen in training.

    Args:
        dice: Chooses words.
        said: All sentences so far; grows.
    """

    def __init__(self, dice: Dice, said: set[str]) -> None:
        self.dice, self._said = dice, said

    def say(self, *scenes: Scene) -> tuple[str, ...] | None:
        """Return a new sentence for each scene, or `None` if one of them is not new."""
        sentences = tuple(say(scene, self.dice) for scene in scenes)
        if len(set(sentences)) < len(sentences) or not self._said.isdisjoint(sentences):
            return None
        self._said.update(sentences)
        return sentences


# Pairs and triplets: each function yields rows without end


LABELS = ("entailment", "neutral", "contradiction")
NEAR_MISS = 0.2
"""Share of neutral pairs that differ in a fact or two; the others speak of another event."""


def nli(author: Author) -> Iterator[Row]:
    """Yield premise, hypothesis, label and source; the three labels are equally likely."""
    dice = author.dice
    while True:
        label = dice.pick(LABELS)
        while True:
            premise = draw(dice)
            hypothesis = _claim(premise, label, dice)
            if relation(premise, hypothesis) == label:
                break
        if sentences := author.say(premise, hypothesis):
            yield (*sentences, label, "demo")


def _claim(premise: Scene, label: str, dice: Dice) -> Scene:
    """Propose a hypothesis that may have the label; meaning decides afterwards.

    Whatever the label, details are left out and kinds named as often, so that a hypothesis alone
    does not give its label away.
    """
    claim = premise
    if label == "contradiction":
        claim = change(premise, dice, (oppose, deny), 1)
    elif label == "neutral" and dice.chance(NEAR_MISS):
        claim = change(premise, dice, (other, add, related), dice.pick((1, 2)))
    elif label == "neutral":
        claim = draw(dice)
    return change(claim, dice, (general, omit), dice.pick((0, 0, 1)))


SUBSETS: dict[str, tuple[Detail, tuple[Change, ...]]] = {
    "captions": (Detail(), (other, related, general, omit, add, oppose, deny)),
    "headlines": (Detail(quality=0.1, place=0.1), (other, other, related, general)),
    "answers": (Detail(quality=0.9, place=0.9), (other, general, omit, deny)),
    "denials": (Detail(negated=0.4), (deny, deny, oppose, omit, other)),
    "rewordings": (Detail(), (related, general, omit, add)),
    "events": (Detail(), (other, other, related, swap)),
}
"""Sub-set of an STS year → what its pairs are like. The names are the demo's own."""


def _pair(dice: Dice, subset: str) -> tuple[Scene, Scene]:
    detail, changes = SUBSETS[subset]
    first = draw(dice, detail)
    times = dice.pick((0, 0, 1, 2, 3, 4, -1, -1))
    return first, draw(dice, detail) if times < 0 else change(first, dice, changes, times)


def _score(first: Scene, second: Scene) -> float:
    """Return the similarity in fifths, the mean of five annotators who give whole points."""
    return round(similarity(first, second) * 5) / 5


def sts(author: Author, subsets: Sequence[str]) -> Iterator[Row]:
    """Yield sub-set, two sentences and their similarity 0-5, one sub-set after the other."""
    while True:
        for subset in subsets:
            sentences = None
            while sentences is None:
                first, second = _pair(author.dice, subset)
                sentences = author.say(first, second)
            yield (subset, *sentences, _score(first, second))


def _sts_benchmark(author: Author) -> Iterator[Row]:
    return (row[1:] for row in sts(author, tuple(SUBSETS)))


def sick(author: Author) -> Iterator[Row]:
    """Yield two sentences, their relatedness 1-5 and their NLI label."""
    while True:
        first, second = _pair(author.dice, "captions")
        if sentences := author.say(first, second):
            score = 1 + _score(first, second) * 4 / 5
            yield (*sentences, round(score, 2), relation(first, second))


def paraphrases(author: Author) -> Iterator[Row]:
    """Yield two sentences and whether they mean the same (1); two of three do, as in MRPC."""
    dice = author.dice
    while True:
        first = draw(dice, Detail(quality=0.8, place=0.8))
        times = 0 if dice.chance(2 / 3) else dice.pick((1, 2))
        second = change(first, dice, (other, related, oppose, deny), times)
        if sentences := author.say(first, second):
            yield (*sentences, int(first == second))


TOPICS = {
    "Animal care": ("help", "animal"),
    "Car repair": ("repair", "vehicle"),
    "Food trade": ("purchase", "food"),
    "Toys": ("love", "toy"),
}
"""Topic → an action that is argued for or against, and what it is done to."""


def arguments(author: Author) -> Iterator[Row]:
    """Yield topic, two arguments on it and their similarity 0-1, topic after topic.

    Stances on a topic differ by its action or the opposite, and by denials.
    """
    dice = author.dice
    while True:
        for topic in TOPICS:
            sentences = None
            while sentences is None:
                first = _argument(topic, dice)
                times = dice.pick((0, 1, 2, -1))
                second = (
                    _argument(topic, dice)
                    if times < 0
                    else change(first, dice, (omit, add, oppose, deny), times)
                )
                sentences = author.say(first, second)
            yield (topic, *sentences, round(similarity(first, second) / 5, 4))


def _argument(topic: str, dice: Dice) -> Scene:
    action, kind = TOPICS[topic]
    action = dice.pick((action, CONCEPTS[action].opposite))
    while True:
        scene = replace(draw(dice, Detail(negated=0.3)), action=action)
        if kind_of(scene.patient) == kind:
            return scene


def sections(author: Author) -> Iterator[Row]:
    """Yield anchor, positive and negative.

    An "article" is about one being, a "section" of it about one thing it does: anchor and positive
    share both, the negative comes from another section of the same article.
    """
    dice = author.dice
    while True:
        anchor, positive, negative = draw(dice), draw(dice), draw(dice)
        if anchor.action != positive.action or anchor.action == negative.action:
            continue
        agent = anchor.agent
        scenes = [replace(scene, agent=agent) for scene in (anchor, positive, negative)]
        if any(scene.patient == agent for scene in scenes):
            continue
        if sentences := author.say(*scenes):
            yield sentences


# Labelled texts in the manner of SentEval's tasks, also without end


_GOOD = ("love", "help", "repair")
_BAD = ("hate", "injure", "damage")
_FEELINGS = {"happy": 1, "sad": 0, **dict.fromkeys(_GOOD, 1), **dict.fromkeys(_BAD, 0)}
_OPINIONS = ("I think that", "It seems that", "I believe", "People say", "Clearly")


def _deed(dice: Dice, detail: Detail) -> Scene:
    """Draw a scene with a good or a bad action."""
    while True:
        scene = draw(dice, detail)
        if scene.action in _GOOD + _BAD:
            return scene


def _uncapitalised(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def reviews(dice: Dice, detail: Detail) -> Iterator[Row]:
    """Yield sentences and 1 for a good or 0 for a bad deed; a denied good deed is a bad one."""
    while True:
        scene = _deed(dice, detail)
        yield say(scene, dice), _FEELINGS[scene.action] ^ scene.negated


def phrases(dice: Dice) -> Iterator[Row]:
    """Yield phrases of two to six words, as MPQA has them, and 1 for good or 0 for bad."""
    while True:
        scene = _deed(dice, Detail(quality=0.0, place=0.0, negated=0.0))
        mood, denied = dice.pick(("happy", "sad")), dice.chance(0.25)
        no = "not " if denied else ""
        text, feeling = dice.pick(
            (
                (f"{no}{word(mood, dice)}, {phrase(scene.agent, dice)}", mood),
                (f"{no}{word(scene.action, dice)} {phrase(scene.patient, dice)}", scene.action),
                (f"{phrase(scene.agent, dice)} is {no}{word(mood, dice)}", mood),
            )
        )
        yield text, _FEELINGS[feeling] ^ denied


def subjectivity(dice: Dice) -> Iterator[Row]:
    """Yield sentences, and 1 for an event told plainly, 0 for a judgement of somebody."""
    while True:
        sentence, plain = say(draw(dice), dice), dice.chance(0.5)
        if not plain and dice.chance(0.5):
            who, what = phrase(draw(dice).agent, dice), word(dice.pick(("happy", "sad")), dice)
            sentence = f"{who} {dice.pick(('should', 'seems to'))} be {what}"
        elif not plain:
            sentence = f"{dice.pick(_OPINIONS)} {_uncapitalised(sentence)}"
        yield sentence, int(plain)


def questions(dice: Dice) -> Iterator[Row]:
    """Yield questions, their coarse class of TREC's six, and a fine one."""
    while True:
        scene = replace(draw(dice, Detail(quality=0.3, place=0.0)), negated=False)
        event = _uncapitalised(say(scene, dice))
        thing = word(scene.patient, dice)
        living = kind_of(scene.patient) in ("person", "animal")
        entity = "ENTY:animal" if living else "ENTY:other"  # codespell:ignore
        text, label = dice.pick(
            (
                (f"Who thinks that {event} ?", "HUM:ind"),
                (f"Name a person who says that {event} ?", "HUM:ind"),
                (f"Where is the place at which {event} ?", "LOC:other"),
                (f"What is the {thing} that {phrase(scene.agent, dice)} has ?", entity),
                (f"How many people believe that {event} ?", "NUM:count"),
                (f"Why is it that {event} ?", "DESC:reason"),
                (f"How does it seem that {event} ?", "DESC:manner"),
                (f"What do the letters {thing[:2].upper()} stand for ?", "ABBR:exp"),
            )
        )
        yield text, label.split(":")[0], label


# The files of the root


@dataclass(frozen=True)
class _PairSet:
    """A data set whose sentences stand in no other split."""

    name: str
    columns: tuple[str, ...]
    rows: Callable[[Author], Iterator[Row]]
    splits: dict[str, int]


_SCORED = ("sentence1", "sentence2", "score")
_STS_YEARS = {
    "sts12": ("captions", "headlines", "rewordings"),
    "sts13": ("headlines", "answers"),
    "sts14": ("captions", "events", "headlines", "denials"),
    "sts15": ("answers", "denials", "captions"),
    "sts16": ("events", "answers", "rewordings"),
}
_PAIR_SETS = (
    _PairSet(
        "nli",
        ("premise", "hypothesis", "label", "source"),
        nli,
        {"train": 4_000, "dev": 300, "test": 300},
    ),
    _PairSet("stsb", _SCORED, _sts_benchmark, {"train": 1_000, "dev": 400, "test": 400}),
    _PairSet("sickr", (*_SCORED, "label"), sick, {"train": 400, "dev": 100, "test": 400}),
    *(
        _PairSet(year, ("subset", *_SCORED), partial(sts, subsets=subsets), {"test": 300})
        for year, subsets in _STS_YEARS.items()
    ),
    _PairSet("mrpc", ("sentence1", "sentence2", "label"), paraphrases, {"train": 400, "test": 150}),
    _PairSet("bws", ("topic", *_SCORED), arguments, {"all": 320}),
    _PairSet(
        "wikisections",
        ("anchor", "positive", "negative"),
        sections,
        {"train": 1_000, "dev": 100, "test": 300},
    ),
)


def tables() -> Iterator[Table]:
    """Make every parquet file of the root.

    Yields:
        Always the same tables; no sentence of a pair stands in two places, so nothing of an
        evaluation split can have been learnt by heart.
    """
    said: set[str] = set()
    for one in _PAIR_SETS:
        for split, count in one.splits.items():
            name = f"{one.name}/{split}"
            author = Author(Dice(SEED, name), said)
            yield name, one.columns, list(islice(one.rows(author), count))
    long, short = Detail(quality=0.8, place=0.8, negated=0.3), Detail(0.3, 0.0, 0.3)
    for name, rows in (
        ("mr", reviews(Dice(SEED, "mr"), long)),
        ("cr", reviews(Dice(SEED, "cr"), Detail())),
        ("subj", subjectivity(Dice(SEED, "subj"))),
        ("mpqa", phrases(Dice(SEED, "mpqa"))),
    ):
        # Upstream lists all 1s, then all 0s.
        ordered = sorted(_distinct(rows, 400), key=lambda row: -int(row[1]))
        yield f"{name}/all", ("text", "label"), ordered
    found = _distinct(reviews(Dice(SEED, "sst2"), short), 800)
    for split, part in (("train", found[:500]), ("dev", found[500:600]), ("test", found[600:])):
        yield f"sst2/{split}", ("text", "label"), part
    found = _distinct(questions(Dice(SEED, "trec")), 500)
    for split, part in (("train", found[:400]), ("test", found[400:])):
        yield f"trec/{split}", ("text", "label", "fine_label"), part


def _distinct(rows: Iterator[Row], count: int) -> list[Row]:
    """Return the first rows whose texts differ."""
    found: dict[str | float, Row] = {}
    while len(found) < count:
        row = next(rows)
        found.setdefault(row[0], row)
    return list(found.values())


def write_demo(root: Path) -> bool:
    """Write the demo's data root, unless this version of it is there.

    Args:
        root: The folder; made, or made anew when another version of the demo wrote it.

    Returns:
        Whether it had to be written.

    Raises:
        UserError: If the folder holds anything else than a demo, or cannot be written.
    """
    return make_folder(root, {"generator": "sbert_repro.data.demo", "version": VERSION}, _fill)


def _fill(root: Path) -> list[dict[str, Any]]:
    entries = []

    def describe(file: Path, rows: int, columns: Sequence[str]) -> None:
        name = file.relative_to(root).as_posix()
        entry = {"file": name, "rows": rows, "columns": list(columns), "sha256": sha256_of(file)}
        entries.append(entry)

    for name, columns, rows in tables():
        file = root / f"{name}.parquet"
        file.parent.mkdir(exist_ok=True)
        arrays = [
            pa.array(values, _type(column, values[0]))
            for column, values in zip(columns, zip(*rows, strict=True), strict=True)
        ]
        pq.write_table(pa.table(arrays, names=columns), file)
        describe(file, len(rows), columns)
    (root / "word_vectors").mkdir()
    for name, width, header in (("demo-glove.txt", 24, False), ("demo-fasttext.vec", 32, True)):
        file, vectors = root / "word_vectors" / name, word_vectors(width, SEED + width)
        lines = word_vector_lines(vectors, header=header)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        describe(file, len(vectors), ["word", *(f"v{number}" for number in range(1, width + 1))])
    return entries


def _type(column: str, value: object) -> pa.DataType:
    if column == "score":
        return pa.float64()
    return pa.int64() if isinstance(value, int) else pa.large_string()
