"""Labelled sentences in the manner of the seven SentEval tasks; MRPC's pairs are in `pairs`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sbert_repro.data.demo_language.grammar import Scene, kind_of
from sbert_repro.data.demo_language.pairs import Row
from sbert_repro.data.demo_language.scenes import Detail, draw
from sbert_repro.data.demo_language.speech import Dice, phrase, say, word

_GOOD = ("love", "help", "repair")
_BAD = ("hate", "injure", "damage")
_FEELINGS = {"happy": 1, "sad": 0, **dict.fromkeys(_GOOD, 1), **dict.fromkeys(_BAD, 0)}
OPINIONS = ("I think that", "It seems that", "I believe", "People say", "Clearly")


def _with_action(dice: Dice, actions: tuple[str, ...], detail: Detail) -> Scene:
    while True:
        scene = draw(dice, detail)
        if scene.action in actions:
            return scene


def reviews(dice: Dice, detail: Detail) -> Iterator[Row]:
    """Give sentences about good and bad deeds, without end; a denied good deed is a bad one.

    Args:
        dice: Chooses.
        detail: Long like a review, or short like a phrase.

    Yields:
        Row: Text, and 1 for good or 0 for bad.
    """
    while True:
        scene = _with_action(dice, _GOOD + _BAD, detail)
        yield say(scene, dice), _FEELINGS[scene.action] ^ scene.negated


def phrases(dice: Dice) -> Iterator[Row]:
    """Give phrases of two to six words with a polarity, as MPQA has them, without end.

    Args:
        dice: Chooses.

    Yields:
        Row: Text, and 1 for good or 0 for bad.
    """
    while True:
        scene = _with_action(dice, _GOOD + _BAD, Detail(quality=0.0, place=0.0, negated=0.0))
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
    """Give events told plainly and judged by somebody, without end.

    Args:
        dice: Chooses.

    Yields:
        Row: Text, and 1 for plain, 0 for a judgement.
    """
    while True:
        sentence, plain = say(draw(dice), dice), dice.chance(0.5)
        if not plain and dice.chance(0.5):
            who, what = phrase(draw(dice).agent, dice), word(dice.pick(("happy", "sad")), dice)
            sentence = f"{who} {dice.pick(('should', 'seems to'))} be {what}"
        elif not plain:
            sentence = f"{dice.pick(OPINIONS)} {sentence[0].lower()}{sentence[1:]}"
        yield sentence, int(plain)


def questions(dice: Dice) -> Iterator[Row]:
    """Give questions with the six coarse classes of TREC and a fine one, without end.

    Args:
        dice: Chooses.

    Yields:
        Row: Text, coarse label, fine label.
    """
    while True:
        scene = replace(draw(dice, Detail(quality=0.3, place=0.0)), negated=False)
        statement = say(scene, dice)
        event = statement[0].lower() + statement[1:]
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
