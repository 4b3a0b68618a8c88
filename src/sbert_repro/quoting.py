"""Words of the command line that mean themselves, whatever Hydra's grammar makes of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_SWEEP = {"-m", "--multirun"}


def quoted(arguments: Sequence[str], keys: Collection[str]) -> list[str]:
    """Quote the values of some options, so that they arrive as they were typed.

    ``task=sts12,stsb`` would be refused as a sweep, and a run's key such as ``12345678e9012345``
    would be taken for a number. In a sweep (``-m``) commas keep their meaning, and nothing is done.

    Args:
        arguments: Words of the command line.
        keys: Options whose values are texts.

    Returns:
        list[str]: The words, quoted where needed.
    """
    if _SWEEP & set(arguments):
        return list(arguments)
    return [_quoted(word, keys) for word in arguments]


def _quoted(word: str, keys: Collection[str]) -> str:
    key, sign, value = word.partition("=")
    if not sign or key not in keys or not value or value[0] in "'\"" or value == "null":
        return word
    return f"{key}='{value}'"
