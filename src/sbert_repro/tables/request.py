"""What a table was asked for: a profile, and options that are changed for all its rows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from sbert_repro.composition import compose, options_of
from sbert_repro.errors import UserError
from sbert_repro.typed_options import check_lengths

OF_ROWS = (
    "encoder",
    "pooling",
    "concatenation",
    "loss",
    "data",
    "experiment",
    "parent",
    "evaluate",
)
"""Options that each row of a table chooses for itself."""

_NEUTRAL = (
    "paths.",
    "wandb.",
    "profile.max_seeds=",
    "progress=",
    "trainer.progress=",
    "trainer.accelerator=",
    "trainer.save_every=",
)


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        profile: Name of the profile.
        changes: Other overrides, which hold for every row.
    """

    profile: str
    changes: tuple[str, ...] = ()

    @property
    def of_numbers(self) -> tuple[str, ...]:
        """Changes of anything but places, messages and the number of seeds."""
        return tuple(change for change in self.changes if not is_neutral(change))


def is_neutral(override: str) -> bool:
    """Whether an override changes no number (where files lie, what is shown, how many seeds).

    Args:
        override: As typed.

    Returns:
        True when a table need not mention it.
    """
    return override.lstrip("+~").startswith(_NEUTRAL)


def check(request: Request) -> DictConfig:
    """Refuse what is wrong with the command itself, before any row is looked at.

    Args:
        request: What was asked for.

    Returns:
        The profile's options.

    Raises:
        UserError: An option does not exist, or is one that rows or the table decide.
    """
    for change in request.changes:
        name = change.partition("=")[0].lstrip("+~")
        if name in OF_ROWS:
            raise UserError(f"{change}: rows of a table choose their own {name}; leave it out")
        if name == "seed":
            raise UserError(
                f"{change}: a table has its own seeds; choose how many: profile.max_seeds=N"
            )
    words = [f"profile={request.profile}", *for_command("train", request.changes)]
    base = compose(words, "train")
    check_lengths(base)
    return base


def for_command(root: str, changes: Sequence[str]) -> list[str]:
    """Overrides that a command knows: an encoder that is not trained has no trainer to change.

    What no command knows is left for `compose` to refuse.
    """
    known, elsewhere = _groups(root), _groups("evaluate" if root == "train" else "train")
    names = [change.partition("=")[0].lstrip("+~").partition(".")[0] for change in changes]
    pairs = zip(names, changes, strict=True)
    return [change for name, change in pairs if name in known or name not in elsewhere]


@functools.cache
def _groups(root: str) -> frozenset[str]:
    return frozenset(key.partition(".")[0] for key in options_of(root))
