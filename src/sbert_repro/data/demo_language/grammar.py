"""What a sentence means, and what follows from it: similarity 0-5 and the NLI label.

A sentence is one way to say a `Scene`. Scores and labels are computed from scenes; words never
enter, so counting shared words cannot find them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sbert_repro.data.demo_language.words import CONCEPTS, KINDS

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
        """Give what fills a role.

        Args:
            name: A role from ``WEIGHTS``.

        Returns:
            str: A concept's or a kind's name, or "".
        """
        filler: str = getattr(self, name)
        return filler

    def put(self, fillers: Mapping[str, str]) -> Scene:
        """Give a scene with some roles filled otherwise.

        Args:
            fillers: Role → a concept's or a kind's name, or "".

        Returns:
            Scene: The other scene.
        """
        changes: dict[str, Any] = dict(fillers)
        return replace(self, **changes)


@cache
def kind_of(name: str) -> str:
    """Give the kind of a concept; a kind is its own kind.

    Args:
        name: A concept's or a kind's name.

    Returns:
        str: The kind.
    """
    return name if name in KINDS else CONCEPTS[name].kind


@cache
def opposite_of(name: str) -> str:
    """Give what contradicts a concept.

    Args:
        name: A concept's or a kind's name, or "".

    Returns:
        str: A concept's name, or "" when nothing does.
    """
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
    """Give how much two scenes share, 0 (nothing) to 5 (all), as annotators of STS are asked to.

    Args:
        one: A scene.
        other: Another; the order does not matter.

    Returns:
        float: The weighted share of the roles; when one scene denies what the other says, or an
            opposite stands in its place, little of it is left.
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
    """Say whether the hypothesis must be true when the premise is.

    Args:
        premise: What is known.
        hypothesis: The same meaning, or something more general or less detailed. A denied scene
            entails itself only: that no dog does it does not mean that no animal does.

    Returns:
        bool: Whether it follows.
    """
    if premise.negated or hypothesis.negated:
        return premise == hypothesis
    return all(_covers(premise.role(role), hypothesis.role(role)) for role in WEIGHTS)


def contradicts(premise: Scene, hypothesis: Scene) -> bool:
    """Say whether premise and hypothesis cannot both be true of one event.

    Args:
        premise: What is known.
        hypothesis: What is claimed.

    Returns:
        bool: Whether one denies what the other entails, or says the opposite action or quality.
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
    """Give the NLI label of a pair.

    Args:
        premise: What is known.
        hypothesis: What is claimed.

    Returns:
        str: ``entailment``, ``contradiction`` or, when neither follows, ``neutral``.
    """
    if entails(premise, hypothesis):
        return "entailment"
    return "contradiction" if contradicts(premise, hypothesis) else "neutral"
