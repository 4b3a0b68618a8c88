"""Secrets are removed from everything that is written, logged or sent.

An entry is a secret by its name, such as ``api_key``. A value is one when an environment variable
with such a name holds it, so that a token typed into an option or a path is found too.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any

HIDDEN = "<hidden>"
_NAME = re.compile(
    r"(?:^|[_.-])(?:token|secret|passw(?:or)?d|credentials?|api_?key|access_?key|auth(?:orization)?)(?:$|[_.-])",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_SHORTEST = 8
"""Shorter values are no secrets: a token variable that holds "1" would hide every 1."""


def is_secret(name: str) -> bool:
    """Tell whether an entry of this name holds a secret.

    Args:
        name: Such as ``WANDB_API_KEY`` or ``hf_token``; ``tokenisation`` is not one.

    Returns:
        bool: True if it does.
    """
    return bool(_NAME.search(name))


def masked(text: str) -> str:
    """Replace the environment's secrets, and passwords in URLs, by `HIDDEN`.

    Args:
        text: What will be written, logged or sent.

    Returns:
        str: The text without them.
    """
    for secret in _known():
        text = text.replace(secret, HIDDEN)
    return _IN_URL.sub(HIDDEN, text)


def without_secrets(value: Any) -> Any:
    """Remove every entry that is a secret by its name, and mask secret values elsewhere.

    Args:
        value: Plain values: dicts, lists, strings, numbers.

    Returns:
        Any: A copy without them.
    """
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not is_secret(str(key))}
        return {key: without_secrets(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return masked(value) if isinstance(value, str) else value


class MaskedFormatter(logging.Formatter):
    """Formats log records of any library without secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102 - as in the base class
        return masked(super().format(record))


def log_masked(level: int = logging.INFO) -> None:
    """Send this process's log and warnings to stderr, without secrets.

    Args:
        level: The least severe level that is shown.
    """
    logging.basicConfig(level=level, stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(MaskedFormatter("%(message)s"))
    logging.captureWarnings(True)


def _known() -> list[str]:
    values = (value.strip() for name, value in os.environ.items() if is_secret(name))
    found = {value for value in values if len(value) >= _SHORTEST}
    return sorted(found, key=len, reverse=True)  # one may contain another
