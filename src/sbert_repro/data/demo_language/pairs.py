"""Sentence pairs with a label or a score: NLI, STS, SICK and paraphrases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sbert_repro.data.demo_language.grammar import Scene, relation, similarity
from sbert_repro.data.demo_language.scenes import (
    Change,
    Detail,
    add,
    change,
    deny,
    draw,
    general,
    omit,
    oppose,
    other,
    related,
    swap,
)
from sbert_repro.data.demo_language.speech import Dice, say

Row = tuple[str | float | int, ...]
LABELS = ("entailment", "neutral", "contradiction")
NEAR_MISS = 0.2
"""Share of neutral pairs that differ in a fact or two; the others speak of another event."""


class Author:
    """Says scenes in sentences that nobody has said before.

    All data sets of a root share the set of sentences, so no sentence of an evaluation split can
    have been seen in training.
    """

    def __init__(self, dice: Dice, said: set[str]) -> None:
        """Start to write.

        Args:
            dice: Chooses words.
            said: All sentences so far; grows.
        """
        self.dice, self._said = dice, said

    def say(self, *scenes: Scene) -> tuple[str, ...] | None:
        """Put scenes into words.

        Args:
            *scenes: One or several.

        Returns:
            tuple[str, ...] | None: A new sentence for each, or `None` if one of them is not new.
        """
        sentences = tuple(say(scene, self.dice) for scene in scenes)
        if len(set(sentences)) < len(sentences) or not self._said.isdisjoint(sentences):
            return None
        self._said.update(sentences)
        return sentences


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


def nli(author: Author) -> Iterator[Row]:
    """Give premise, hypothesis, label and source, without end.

    Args:
        author: Says them.

    Yields:
        Row: The three labels are equally likely.
    """
    dice = author.dice
    while True:
        label = dice.pick(LABELS)
        premise = draw(dice)
        hypothesis = _claim(premise, label, dice)
        while relation(premise, hypothesis) != label:
            premise = draw(dice)
            hypothesis = _claim(premise, label, dice)
        if sentences := author.say(premise, hypothesis):
            yield (*sentences, label, "demo")


@dataclass(frozen=True)
class Style:
    """What the pairs of a sub-set are like."""

    changes: tuple[Change, ...]
    detail: Detail = field(default_factory=Detail)


STYLES = {
    "captions": Style((other, related, general, omit, add, oppose, deny)),
    "headlines": Style((other, other, related, general), Detail(quality=0.1, place=0.1)),
    "answers": Style((other, general, omit, deny), Detail(quality=0.9, place=0.9)),
    "denials": Style((deny, deny, oppose, omit, other), Detail(negated=0.4)),
    "rewordings": Style((related, general, omit, add)),
    "events": Style((other, other, related, swap)),
}
"""Sub-set → style. The names are the demo's own."""


def _pair(dice: Dice, style: Style) -> tuple[Scene, Scene]:
    first = draw(dice, style.detail)
    times = dice.pick((0, 0, 1, 2, 3, 4, -1, -1))
    if times < 0:
        return first, draw(dice, style.detail)
    return first, change(first, dice, style.changes, times)


def _rounded(score: float) -> float:
    """To fifths, the mean of five annotators who give whole points."""
    return round(score * 5) / 5


def sts(author: Author, styles: Sequence[str]) -> Iterator[Row]:
    """Give sub-set, two sentences and their similarity 0-5, without end.

    Args:
        author: Says them.
        styles: Sub-sets, in turns.

    Yields:
        Row: One pair.
    """
    while True:
        for subset in styles:
            sentences = None
            while sentences is None:
                first, second = _pair(author.dice, STYLES[subset])
                sentences = author.say(first, second)
            yield (subset, *sentences, _rounded(similarity(first, second)))


def sick(author: Author) -> Iterator[Row]:
    """Give two sentences, their relatedness 1-5 and their NLI label, without end.

    Args:
        author: Says them.

    Yields:
        Row: One pair.
    """
    while True:
        first, second = _pair(author.dice, STYLES["captions"])
        if sentences := author.say(first, second):
            score = 1 + _rounded(similarity(first, second)) * 4 / 5
            yield (*sentences, round(score, 2), relation(first, second))


def paraphrases(author: Author) -> Iterator[Row]:
    """Give two sentences and whether they mean the same, without end; two of three do, as in MRPC.

    Args:
        author: Says them.

    Yields:
        Row: One pair, label 1 for a paraphrase.
    """
    dice = author.dice
    while True:
        first = draw(dice, Detail(quality=0.8, place=0.8))
        times = 0 if dice.chance(2 / 3) else dice.pick((1, 2))
        second = change(first, dice, (other, related, oppose, deny), times)
        if sentences := author.say(first, second):
            yield (*sentences, int(first == second))
