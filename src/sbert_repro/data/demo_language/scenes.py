"""Scenes drawn at random, and the changes that turn one scene into another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from sbert_repro.data.demo_language.grammar import WEIGHTS, Scene, kind_of, opposite_of
from sbert_repro.data.demo_language.speech import Dice
from sbert_repro.data.demo_language.words import (
    ACTIONS,
    BEINGS,
    CONCEPTS,
    PLACES,
    QUALITIES,
    THINGS,
)

_ROLES = tuple(WEIGHTS)
_NAMES = {
    "agent": tuple(c.name for c in BEINGS),
    "action": tuple(c.name for c in ACTIONS),
    "patient": tuple(c.name for c in [*THINGS, *BEINGS]),
    "quality": tuple(c.name for c in QUALITIES),
    "place": tuple(c.name for c in PLACES),
}


@dataclass(frozen=True)
class Detail:
    """How often a scene names a quality, names a place, is denied; each 0 to 1."""

    quality: float = 0.5
    place: float = 0.5
    negated: float = 0.15


def draw(dice: Dice, detail: Detail = Detail()) -> Scene:
    """Draw a scene.

    Args:
        dice: Chooses.
        detail: How rich the scene is.

    Returns:
        Scene: One that makes sense: food is not repaired, nobody lifts himself.
    """
    agent, action = dice.pick(_NAMES["agent"]), dice.pick(_NAMES["action"])
    patient = dice.pick([name for name in _patients(action) if name != agent])
    quality = dice.pick(_NAMES["quality"]) if dice.chance(detail.quality) else ""
    place = dice.pick(_NAMES["place"]) if dice.chance(detail.place) else ""
    return Scene(agent, action, patient, quality, place, dice.chance(detail.negated))


@cache
def _patients(action: str) -> tuple[str, ...]:
    return tuple(name for name in _NAMES["patient"] if kind_of(name) in CONCEPTS[action].takes)


def _choices(scene: Scene, role: str) -> Sequence[str]:
    """What may fill a role beside what fills the others."""
    if role == "action":
        return [name for name in _NAMES[role] if kind_of(scene.patient) in CONCEPTS[name].takes]
    if role == "patient":
        return [name for name in _patients(scene.action) if name != scene.agent]
    return [name for name in _NAMES[role] if name != scene.patient]


def _fill(scene: Scene, role: str, dice: Dice, *, related: bool) -> Scene:
    now = scene.role(role)
    kind = kind_of(now) if now else ""
    fit = [name for name in _choices(scene, role) if (kind_of(name) == kind) == related]
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
    """Put the opposite in the place of the action or the quality."""
    role = dice.pick(("action", "quality"))
    opposite = opposite_of(scene.role(role))
    return scene.put({role: opposite}) if opposite else scene


def deny(scene: Scene, dice: Dice) -> Scene:
    """Deny what was said, or say what was denied."""
    return replace(scene, negated=not scene.negated)


def swap(scene: Scene, dice: Dice) -> Scene:
    """Let agent and patient change their parts, where both are beings: same words, other event."""
    if {kind_of(scene.patient), kind_of(scene.agent)} <= {"person", "animal"}:
        return replace(scene, agent=scene.patient, patient=scene.agent)
    return scene


Change = Callable[[Scene, Dice], Scene]
_TRIES = 8


def change(scene: Scene, dice: Dice, changes: Sequence[Change], times: int) -> Scene:
    """Change a scene several times.

    Args:
        scene: The scene.
        dice: Chooses.
        changes: What may be done to it.
        times: How often.

    Returns:
        Scene: The changed scene. A change that does not fit, such as leaving out a place that was
            never named, is replaced by another one.
    """
    for _ in range(times):
        before, tries = scene, 0
        while scene == before and tries < _TRIES:
            scene, tries = dice.pick(changes)(before, dice), tries + 1
    return scene
