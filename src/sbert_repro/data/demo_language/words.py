"""The words: concepts, the words for each, what they are a case of, and what contradicts them.

The words for one concept mean exactly the same, whatever they look like, and a concept and its
opposite look no more alike than any two. Nothing but training can teach a model which is which.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that sentences are about; its first word is its name."""

    words: tuple[str, ...]
    """All words for it; a verb stands in its base form."""
    kind: str
    """What it is a case of ("animal")."""
    opposite: str = ""
    """The name of the concept that contradicts it, or ""."""
    takes: tuple[str, ...] = ()
    """For an action: the kinds that it can be done to."""

    @property
    def name(self) -> str:
        """The name."""
        return self.words[0]


def _cases(kind: str, *concepts: str) -> list[Concept]:
    return [Concept(tuple(words.split()), kind) for words in concepts]


def _opposites(kind: str, pair: str, takes: str = "") -> list[Concept]:
    """Two concepts that contradict each other, written "big large / small little"."""
    sides = [tuple(side.split()) for side in pair.split("/")]
    return [
        Concept(words, kind, other[0], tuple(takes.split()))
        for words, other in (sides, sides[::-1])
    ]


BEINGS = [
    *_cases("person", "man guy gentleman", "woman lady madam", "child kid youngster"),
    *_cases("person", "doctor physician medic", "thief robber burglar"),
    *_cases("animal", "dog hound pooch", "cat kitty feline", "rabbit bunny hare"),
]
THINGS = [
    *_cases("food", "cookie biscuit", "soup broth"),
    *_cases("vehicle", "car automobile", "ship boat"),
    *_cases("toy", "ball orb", "doll puppet"),
    *_cases("furniture", "sofa couch", "chair seat"),
]
PLACES = [
    *_cases("outdoors", "forest woods", "street road"),
    *_cases("indoors", "house home", "shop store"),
]
QUALITIES = [
    *_opposites("size", "big large / small little"),
    *_opposites("mood", "happy glad / sad gloomy"),
    *_opposites("age", "old elderly / young youthful"),
    *_opposites("speed", "fast quick / slow sluggish"),
]
_THINGS = "food vehicle toy furniture"
ACTIONS = [
    *_opposites("moving", "push shove / pull yank", _THINGS),
    *_opposites("trading", "purchase acquire / peddle vend", _THINGS),
    *_opposites("crafting", "repair mend / damage wreck", "vehicle toy furniture"),
    *_opposites("feeling", "love adore / hate despise", f"{_THINGS} person animal"),
    *_opposites("treating", "help assist / injure harm", "person animal"),
]
KINDS = {
    "person": ("person", "human", "individual"),
    "animal": ("animal", "creature", "beast"),
    "food": ("food", "meal"),
    "vehicle": ("vehicle", "conveyance"),
    "toy": ("toy", "plaything"),
    "furniture": ("furniture", "furnishing"),
    "outdoors": ("outdoors", "outside"),
    "indoors": ("indoors", "inside"),
}
"""Kind → its words, for the kinds that sentences name themselves."""

CONCEPTS = {concept.name: concept for concept in [*BEINGS, *THINGS, *PLACES, *QUALITIES, *ACTIONS]}

_FUNCTION = (
    "a an the is are not never no does being by who what where which why how many in at it there "
    "do i think say that seems feels name stand for mean letters short of people believe clearly "
    "probably because should nobody anyone everyone , ? ."
)
_ENDINGS = ("##s", "##es", "##e", "##ing", "##ed")


def inflected(verb: str) -> tuple[str, str, str]:
    """Give the forms of a verb; the demo has regular ones only.

    Args:
        verb: Base form, "raise".

    Returns:
        tuple[str, str, str]: "raises", "raising", "raised".
    """
    stem = verb.removesuffix("e")
    es = stem != verb or verb.endswith(("s", "x", "sh", "ch"))
    return stem + ("es" if es else "s"), stem + "ing", stem + "ed"


def vocabulary() -> list[str]:
    """Give the word pieces of the language: whole words, and verbs as stem and ending.

    Returns:
        list[str]: Each once, sorted; an ending starts with "##" as in BERT's vocabulary.
    """
    stems = {word.removesuffix("e") for action in ACTIONS for word in action.words}
    nouns = {word for c in CONCEPTS.values() if c not in ACTIONS for word in c.words}
    kinds = {word for words in KINDS.values() for word in words}
    return sorted({*stems, *nouns, *kinds, *_FUNCTION.split(), *_ENDINGS})
