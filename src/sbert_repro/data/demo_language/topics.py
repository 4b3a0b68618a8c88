"""Pairs of arguments on one topic, and triplets from the sections of one article."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sbert_repro.data.demo_language.grammar import Scene, kind_of, similarity
from sbert_repro.data.demo_language.pairs import Author, Row
from sbert_repro.data.demo_language.scenes import Detail, add, change, deny, draw, omit, oppose
from sbert_repro.data.demo_language.speech import Dice
from sbert_repro.data.demo_language.words import CONCEPTS

TOPICS = {
    "Animal care": ("help", "animal"),
    "Car repair": ("repair", "vehicle"),
    "Food trade": ("purchase", "food"),
    "Toys": ("love", "toy"),
}
"""Topic → an action that is argued for or against, and what it is done to."""


def arguments(author: Author) -> Iterator[Row]:
    """Give topic, two arguments on it and their similarity 0-1, topic after topic, without end.

    Args:
        author: Says them.

    Yields:
        Row: One pair; stances on a topic differ by its action or the opposite, and by denials.
    """
    while True:
        for topic in TOPICS:
            sentences = None
            while sentences is None:
                first = _on(topic, author.dice)
                changed = author.dice.pick((0, 1, 2, -1))
                if changed < 0:
                    second = _on(topic, author.dice)
                else:
                    second = change(first, author.dice, (omit, add, oppose, deny), changed)
                sentences = author.say(first, second)
            yield (topic, *sentences, round(similarity(first, second) / 5, 4))


def _on(topic: str, dice: Dice) -> Scene:
    action, kind = TOPICS[topic]
    action = dice.pick((action, CONCEPTS[action].opposite))
    while True:
        scene = replace(draw(dice, Detail(negated=0.3)), action=action)
        if kind_of(scene.patient) == kind:
            return scene


def sections(author: Author) -> Iterator[Row]:
    """Give anchor, positive and negative, without end.

    An "article" is about one being, a "section" of it about one thing it does: anchor and positive
    share both, the negative comes from another section of the same article.

    Args:
        author: Says them.

    Yields:
        Row: One triplet.
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
