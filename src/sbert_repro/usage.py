"""What a command prints for --help: its own words, the options behind it, an example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

HELP = ("-h", "--help")


def usage(
    what: str, own: Mapping[str, str], config: DictConfig, without: Sequence[str], example: str
) -> str:
    """Lay out the help of a command.

    Args:
        what: What it does, in a line.
        own: Its own words, with what each means.
        config: The composed options that further words change.
        without: Options and groups of it that cannot be typed here.
        example: A command that works.

    Returns:
        The text.
    """
    width = max(map(len, own))
    options = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    assert isinstance(options, dict), "a command's options have names"
    lines = (f"  {name}={_shown(value)}" for name, value in _leaves(options, without))
    return "\n".join(
        [
            what,
            "",
            "Its own words:",
            *(f"  {word:<{width}}  {meaning}" for word, meaning in own.items()),
            "",
            "Further words change these options (name=value, here as they stand):",
            *lines,
            "",
            f"Example: {example}",
        ]
    )


def _leaves(
    options: Mapping[Any, Any], without: Sequence[str], place: str = ""
) -> Iterator[tuple[str, Any]]:
    """Options that hold a value, in their order, by their dotted names."""
    for key, value in options.items():
        name = f"{place}{key}"
        if name in without or str(key).startswith("_"):
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, without, f"{name}.")
        else:
            yield name, value


def _shown(value: Any) -> str:
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
