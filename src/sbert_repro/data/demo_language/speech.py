"""Scenes put into words: active or passive, which word for a concept, how to deny it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from sbert_repro.data.demo_language.grammar import Scene
from sbert_repro.data.demo_language.words import CONCEPTS, KINDS, inflected

_T = TypeVar("_T")
PASSIVE, PLACE_FIRST = 0.3, 0.3
"""How often a sentence is turned around, and how often it starts with its place."""


class Dice:
    """Random choices that are the same on every machine.

    Only PCG64's doubles are used: their stream is fixed, that of NumPy's other methods is not.
    """

    def __init__(self, seed: int, name: str) -> None:
        """Start a stream of choices.

        Args:
            seed: Any number.
            name: What it is for; each name has its own stream.
        """
        self._generator = np.random.Generator(np.random.PCG64([seed, *name.encode()]))

    def chance(self, probability: float) -> bool:
        """Give True with a probability.

        Args:
            probability: 0 to 1.

        Returns:
            bool: The outcome.
        """
        return bool(self._generator.random() < probability)

    def pick(self, options: Sequence[_T]) -> _T:
        """Give one of several things, each as likely as the others.

        Args:
            options: At least one.

        Returns:
            _T: One of them.
        """
        return options[int(self._generator.random() * len(options))]


def word(name: str, dice: Dice) -> str:
    """Give one of the words for a concept or a kind.

    Args:
        name: Its name.
        dice: Chooses.

    Returns:
        str: A word, a verb in its base form.
    """
    return dice.pick(KINDS[name] if name in KINDS else CONCEPTS[name].words)


def phrase(name: str, dice: Dice, quality: str = "") -> str:
    """Give a noun phrase, such as "an old dog".

    Args:
        name: A concept's or a kind's name.
        dice: Chooses words and article.
        quality: The name of its quality, or "".

    Returns:
        str: The phrase.
    """
    words = ([word(quality, dice)] if quality else []) + [word(name, dice)]
    article = dice.pick(("the", "an" if words[0][0] in "aeiou" else "a"))
    return " ".join([article, *words])


def _where(place: str, dice: Dice) -> str:
    if not place or place in KINDS:
        return word(place, dice) if place else ""
    return f"{dice.pick(('in', 'at'))} the {word(place, dice)}"


def _active(scene: Scene, agent: str, patient: str, dice: Dice) -> str:
    verb = word(scene.action, dice)
    does, doing, _ = inflected(verb)
    if scene.negated:
        verb = dice.pick((f"does not {verb}", f"is not {doing}", f"never {does}"))
    else:
        verb = dice.pick((does, f"is {doing}"))
    return f"{agent} {verb} {patient}"


def _passive(scene: Scene, agent: str, patient: str, dice: Dice) -> str:
    done = inflected(word(scene.action, dice))[2]
    verb = dice.pick(("is not", "is never") if scene.negated else ("is", "is being"))
    return f"{patient} {verb} {done} by {agent}"


def say(scene: Scene, dice: Dice) -> str:
    """Put a scene into words.

    Args:
        scene: What to say.
        dice: Chooses among all the ways to say it.

    Returns:
        str: A sentence with a capital and without a full stop, as in SICK.
    """
    agent, patient = phrase(scene.agent, dice, scene.quality), phrase(scene.patient, dice)
    voice = _passive if dice.chance(PASSIVE) else _active
    parts = [voice(scene, agent, patient, dice), _where(scene.place, dice)]
    if dice.chance(PLACE_FIRST):
        parts.reverse()
    sentence = " ".join(part for part in parts if part)
    return sentence[0].upper() + sentence[1:]
