"""A small language whose sentences have a known meaning; the demo's data sets are made of it.

A sentence is one way to say a `Scene`: who does what to whom. Scores and labels are computed from
scenes and never look at words, so counting shared words cannot find them. The words for one concept
mean exactly the same, whatever they look like, and a concept and its opposite look no more alike
than any two: nothing but training can teach a model which is which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")


# Words


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that sentences are about.

    Attributes:
        words: All words for it, the first of which is its name; a verb stands in its base form.
        kind: What it is a case of ("animal").
        opposite: The name of the concept that contradicts it, or "".
        takes: For an action: the kinds that it can be done to.
    """

    words: tuple[str, ...]
    kind: str
    opposite: str = ""
    takes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name."""
        return self.words[0]


def _cases(kind: str, *concepts: str) -> list[Concept]:
    return [Concept(tuple(words.split()), kind) for words in concepts]


def _opposites(kind: str, pair: str, takes: str = "") -> list[Concept]:
    """Return two concepts that contradict each other, written "big large / small little"."""
    one, other = (tuple(side.split()) for side in pair.split("/"))
    kinds = tuple(takes.split())
    return [Concept(one, kind, other[0], kinds), Concept(other, kind, one[0], kinds)]


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
_ANY_THING = "food vehicle toy furniture"
ACTIONS = [
    *_opposites("moving", "push shove / pull yank", _ANY_THING),
    *_opposites("trading", "purchase acquire / peddle vend", _ANY_THING),
    *_opposites("crafting", "repair mend / damage wreck", "vehicle toy furniture"),
    *_opposites("feeling", "love adore / hate despise", f"{_ANY_THING} person animal"),
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

_OTHER_WORDS = (
    "a an the is are not never no does being by who what where which why how many in at it there "
    "do i think say that seems feels name stand for mean letters short of people believe clearly "
    "probably because should nobody anyone everyone , ? ."
)
_ENDINGS = ("##s", "##es", "##e", "##ing", "##ed")


def inflected(verb: str) -> tuple[str, str, str]:
    """Return the forms of a verb, all regular: "raises", "raising", "raised" of "raise"."""
    stem = verb.removesuffix("e")
    es = stem != verb or verb.endswith(("s", "x", "sh", "ch"))
    return stem + ("es" if es else "s"), stem + "ing", stem + "ed"


def vocabulary() -> list[str]:
    """Return the word pieces of the language: whole words, and verbs as stem and ending.

    Returns:
        Each once, sorted; an ending starts with "##" as in BERT's vocabulary.
    """
    stems = {word.removesuffix("e") for action in ACTIONS for word in action.words}
    nouns = {word for c in CONCEPTS.values() if c not in ACTIONS for word in c.words}
    kinds = {word for words in KINDS.values() for word in words}
    return sorted({*stems, *nouns, *kinds, *_OTHER_WORDS.split(), *_ENDINGS})


# Meaning


WEIGHTS = {"action": 3.0, "agent": 2.5, "patient": 2.5, "quality": 1.5, "place": 1.0}
"""Role → how much it counts in the meaning of a scene."""
GENERAL, RELATED, UNSAID = 0.7, 0.3, 0.4
"""What a role keeps of its weight: dog and animal; dog and cat; said in one sentence only."""
DENIED = 0.35
"""What is left of the similarity when one sentence denies the other: same topic, other message."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Who (of which quality) does or does not do what to whom, and where.

    A role holds the name of a concept or of a kind; `quality`, the agent's, and `place` may be "".
    """

    agent: str
    action: str
    patient: str
    quality: str = ""
    place: str = ""
    negated: bool = False

    def role(self, name: str) -> str:
        """Return what fills a role of `WEIGHTS`: the name of a concept or a kind, or ""."""
        filler: str = getattr(self, name)
        return filler

    def put(self, fillers: Mapping[str, str]) -> Scene:
        """Return the scene with some roles filled otherwise."""
        changes: dict[str, Any] = dict(fillers)
        return replace(self, **changes)


@cache
def kind_of(name: str) -> str:
    """Return the kind of a concept; a kind is its own kind."""
    return name if name in KINDS else CONCEPTS[name].kind


def opposite_of(name: str) -> str:
    """Return the name of the concept that contradicts a concept, a kind or "", or ""."""
    return CONCEPTS[name].opposite if name in CONCEPTS else ""


@cache
def _closeness(one: str, other: str) -> float:
    if one == other:
        return 1.0
    if not one or not other:
        return UNSAID
    if kind_of(one) != kind_of(other):
        return 0.0
    return GENERAL if one in KINDS or other in KINDS else RELATED


def similarity(one: Scene, other: Scene) -> float:
    """Return how much two scenes share, 0 (nothing) to 5 (all), as annotators of STS are asked to.

    Args:
        one: A scene.
        other: Another; the order does not matter.

    Returns:
        The weighted share of the roles; little of it is left if one scene denies what the other
        says, or names an opposite.
    """
    fillers = {role: (one.role(role), other.role(role)) for role in WEIGHTS}
    said = {role: pair for role, pair in fillers.items() if any(pair)}
    shared = sum(WEIGHTS[role] * _closeness(*pair) for role, pair in said.items())
    denied = one.negated != other.negated or any(
        b and opposite_of(a) == b for a, b in said.values()
    )
    return 5.0 * shared / sum(WEIGHTS[role] for role in said) * (DENIED if denied else 1.0)


def _covers(special: str, general: str) -> bool:
    return not general or special == general or (bool(special) and kind_of(special) == general)


def entails(premise: Scene, hypothesis: Scene) -> bool:
    """Tell whether the hypothesis must be true when the premise is.

    It is if it means the same, or something more general or less detailed. A denied scene entails
    itself only: that no dog does it does not mean that no animal does.
    """
    if premise.negated or hypothesis.negated:
        return premise == hypothesis
    return all(_covers(premise.role(role), hypothesis.role(role)) for role in WEIGHTS)


def contradicts(premise: Scene, hypothesis: Scene) -> bool:
    """Tell whether premise and hypothesis cannot both be true of one event.

    They cannot if one denies what the other entails, or names the opposite action or quality.
    """
    if premise.negated != hypothesis.negated:
        yes, no = (hypothesis, premise) if premise.negated else (premise, hypothesis)
        return entails(yes, replace(no, negated=False))
    turned = {
        role: premise.role(role)
        for role in ("action", "quality")
        if hypothesis.role(role) and opposite_of(premise.role(role)) == hypothesis.role(role)
    }
    return bool(turned) and entails(premise, hypothesis.put(turned))


def relation(premise: Scene, hypothesis: Scene) -> str:
    """Return the NLI label of a pair: ``entailment``, ``contradiction`` or ``neutral``."""
    if entails(premise, hypothesis):
        return "entailment"
    return "contradiction" if contradicts(premise, hypothesis) else "neutral"


# Scenes drawn at random, and the changes that turn one into another


class Dice:
    """Random choices that are the same on every machine.

    Only PCG64's doubles are used: their stream is fixed, that of NumPy's other methods is not.

    Args:
        seed: Any number.
        name: What it is for; each name has its own stream.
    """

    def __init__(self, seed: int, name: str) -> None:
        self._generator = np.random.Generator(np.random.PCG64([seed, *name.encode()]))

    def chance(self, probability: float) -> bool:
        """Return True with a probability of 0 to 1."""
        return bool(self._generator.random() < probability)

    def pick(self, options: Sequence[_T]) -> _T:
        """Return one of several things, each as likely as the others."""
        return options[int(self._generator.random() * len(options))]


@dataclass(frozen=True)
class Detail:
    """How often a scene names a quality, names a place, is denied; each 0 to 1."""

    quality: float = 0.5
    place: float = 0.5
    negated: float = 0.15


_ROLES = tuple(WEIGHTS)
_NAMES = {
    "agent": [c.name for c in BEINGS],
    "action": [c.name for c in ACTIONS],
    "patient": [c.name for c in [*THINGS, *BEINGS]],
    "quality": [c.name for c in QUALITIES],
    "place": [c.name for c in PLACES],
}


def draw(dice: Dice, detail: Detail = Detail()) -> Scene:
    """Draw a scene that makes sense: food is not repaired, nobody does anything to himself."""
    agent, action = dice.pick(_NAMES["agent"]), dice.pick(_NAMES["action"])
    patient = dice.pick([name for name in _patients(action) if name != agent])
    quality = dice.pick(_NAMES["quality"]) if dice.chance(detail.quality) else ""
    place = dice.pick(_NAMES["place"]) if dice.chance(detail.place) else ""
    return Scene(agent, action, patient, quality, place, dice.chance(detail.negated))


@cache
def _patients(action: str) -> list[str]:
    return [name for name in _NAMES["patient"] if kind_of(name) in CONCEPTS[action].takes]


def _fill(scene: Scene, role: str, dice: Dice, *, related: bool) -> Scene:
    """Fill a role with something of the same kind (related) or of another one, if anything fits."""
    if role == "action":
        kind = kind_of(scene.patient)
        names = [name for name in _NAMES[role] if kind in CONCEPTS[name].takes]
    elif role == "patient":
        names = [name for name in _patients(scene.action) if name != scene.agent]
    else:
        names = [name for name in _NAMES[role] if name != scene.patient]
    now = scene.role(role)
    kind = kind_of(now) if now else ""
    fit = [name for name in names if (kind_of(name) == kind) == related]
    fit = [name for name in fit if name not in (now, opposite_of(now))]
    return scene.put({role: dice.pick(fit)}) if fit else scene


def other(scene: Scene, dice: Dice) -> Scene:
    """Fill a role with something of another kind; an empty role is filled."""
    return _fill(scene, dice.pick(_ROLES), dice, related=False)


def related(scene: Scene, dice: Dice) -> Scene:
    """Put another case of the same kind in a role: a cat for a dog."""
    return _fill(scene, dice.pick(("agent", "patient", "place")), dice, related=True)


def general(scene: Scene, dice: Dice) -> Scene:
    """Name the kind instead of the case: an animal for a dog."""
    role = dice.pick(("agent", "patient", "place"))
    return scene.put({role: kind_of(scene.role(role))}) if scene.role(role) else scene


def omit(scene: Scene, dice: Dice) -> Scene:
    """Leave out the quality or the place."""
    return scene.put({dice.pick(("quality", "place")): ""})


def add(scene: Scene, dice: Dice) -> Scene:
    """Add a quality or a place where there is none."""
    role = dice.pick(("quality", "place"))
    return scene if scene.role(role) else _fill(scene, role, dice, related=False)


def oppose(scene: Scene, dice: Dice) -> Scene:
    """Replace the action or the quality by its opposite."""
    role = dice.pick(("action", "quality"))
    opposite = opposite_of(scene.role(role))
    return scene.put({role: opposite}) if opposite else scene


def deny(scene: Scene, dice: Dice) -> Scene:
    """Deny what was said, or say what was denied."""
    return replace(scene, negated=not scene.negated)


def swap(scene: Scene, dice: Dice) -> Scene:
    """Let agent and patient change places if both are beings: same words, other event."""
    if {kind_of(scene.patient), kind_of(scene.agent)} <= {"person", "animal"}:
        return replace(scene, agent=scene.patient, patient=scene.agent)
    return scene


Change = Callable[[Scene, Dice], Scene]
_TRIES = 8


def change(scene: Scene, dice: Dice, changes: Sequence[Change], times: int) -> Scene:
    """Change a scene several times.

    A change that does not fit, such as leaving out a place that was never named, is replaced by
    another one.

    Args:
        scene: The scene.
        dice: Chooses.
        changes: What may be done to it.
        times: How often.

    Returns:
        The changed scene.
    """
    for _ in range(times):
        before, tries = scene, 0
        while scene == before and tries < _TRIES:
            scene, tries = dice.pick(changes)(before, dice), tries + 1
    return scene


# Scenes put into words


PASSIVE, PLACE_FIRST = 0.3, 0.3
"""How often a sentence is in the passive voice, and how often it starts with its place."""


def word(name: str, dice: Dice) -> str:
    """Return one of the words for a concept or a kind, a verb in its base form."""
    return dice.pick(KINDS[name] if name in KINDS else CONCEPTS[name].words)


def phrase(name: str, dice: Dice, quality: str = "") -> str:
    """Return a noun phrase for a concept or a kind, such as "an old dog"."""
    words = ([word(quality, dice)] if quality else []) + [word(name, dice)]
    article = dice.pick(("the", "an" if words[0][0] in "aeiou" else "a"))
    return " ".join([article, *words])


def say(scene: Scene, dice: Dice) -> str:
    """Put a scene into words.

    Args:
        scene: What to say.
        dice: Chooses among all the ways to say it.

    Returns:
        A sentence with a capital and without a full stop, as in SICK.
    """
    agent, patient = phrase(scene.agent, dice, scene.quality), phrase(scene.patient, dice)
    passive = dice.chance(PASSIVE)
    verb = word(scene.action, dice)
    does, doing, done = inflected(verb)
    if passive:
        be = dice.pick(("is not", "is never") if scene.negated else ("is", "is being"))
        event = f"{patient} {be} {done} by {agent}"
    elif scene.negated:
        verb = dice.pick((f"does not {verb}", f"is not {doing}", f"never {does}"))
        event = f"{agent} {verb} {patient}"
    else:
        event = f"{agent} {dice.pick((does, f'is {doing}'))} {patient}"
    place = scene.place
    if place in KINDS:  # "outside"
        place = word(place, dice)
    elif place:
        place = f"{dice.pick(('in', 'at'))} the {word(place, dice)}"
    parts = [event, place]
    if dice.chance(PLACE_FIRST):
        parts.reverse()
    sentence = " ".join(part for part in parts if part)
    return sentence[0].upper() + sentence[1:]


# Word vectors, as training on much text would have given them


NOISE, OWN, OPPOSED = 0.3, 1.0, 0.5
"""What a word, its concept, and a side of two opposites add to the vector of a kind."""


def word_vectors(width: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Make vectors of the language's words.

    Words for one concept lie close together and those of one kind not far apart; so do a word and
    its opposite, as in real word vectors, which know what a word is about better than what it says
    of it.

    Args:
        width: Numbers of a vector.
        seed: Another one gives other vectors with the same neighbours.

    Returns:
        Word → vector, rounded to the four digits that are written.
    """
    # Only PCG64's doubles are used: their stream is the same on every machine.
    generator = np.random.Generator(np.random.PCG64(seed))

    def drawn() -> NDArray[np.float64]:
        return generator.random(width) - 0.5

    kinds = {concept.kind: drawn() for concept in CONCEPTS.values()}
    vectors: dict[str, NDArray[np.float64]] = {}
    pairs: dict[str, NDArray[np.float64]] = {}
    for concept in CONCEPTS.values():
        shared = pairs.get(concept.opposite)
        if shared is None:
            shared = pairs[concept.name] = OWN * drawn()
        middle = kinds[concept.kind] + shared + (OPPOSED * drawn() if concept.opposite else 0.0)
        for one in concept.words:
            forms = (one, *(inflected(one) if concept in ACTIONS else ()))
            vectors |= dict.fromkeys(forms, middle + NOISE * drawn())
    for kind, words in KINDS.items():
        vectors |= {one: kinds.get(kind, drawn()) + NOISE * drawn() for one in words}
    rest = [one for one in vocabulary() if one not in vectors and not one.startswith("##")]
    vectors |= {one: drawn() for one in rest}
    return {one: vector.round(4) for one, vector in vectors.items()}


def word_vector_lines(vectors: dict[str, NDArray[np.float64]], *, header: bool) -> Iterator[str]:
    """Write vectors as published files do.

    Args:
        vectors: Word → vector.
        header: Start with the numbers of words and of numbers, as fastText does and GloVe does not.

    Yields:
        The lines.
    """
    if header:
        yield f"{len(vectors)} {len(next(iter(vectors.values())))}"
    for one, vector in vectors.items():
        yield " ".join([one, *(f"{number:.4f}" for number in vector)])
