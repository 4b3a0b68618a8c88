"""Secrets taken out of whatever is written, logged or sent: by the name of an entry, and by value.

A value is known to be a secret when an environment variable with such a name holds it, so a token
that was typed into an option or stands in a path is found too.
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
"""A variable that is called a token and holds "1" is no secret, and would be hidden everywhere."""


def is_secret(name: str) -> bool:
    """Tell whether an entry of this name holds a secret.

    Args:
        name: Such as ``WANDB_API_KEY`` or ``hf_token``; ``tokenisation`` is none.

    Returns:
        bool: Whether it does.
    """
    return bool(_NAME.search(name))


def masked(text: str) -> str:
    """Hide the secrets of the environment, and passwords in URLs, in a text.

    Args:
        text: What will be written, logged or sent.

    Returns:
        str: The same with `HIDDEN` in their place.
    """
    for secret in _known():
        text = text.replace(secret, HIDDEN)
    return _IN_URL.sub(HIDDEN, text)


def without_secrets(value: Any) -> Any:
    """Take out every entry whose name says that it is a secret, and hide known ones elsewhere.

    Args:
        value: Plain values.

    Returns:
        Any: The same without them.
    """
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not is_secret(str(key))}
        return {key: without_secrets(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return masked(value) if isinstance(value, str) else value


class MaskedFormatter(logging.Formatter):
    """What a log says, without secrets, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record.

        Args:
            record: Of any library.

        Returns:
            str: The line.
        """
        return masked(super().format(record))


def log_masked(level: int = logging.INFO) -> None:
    """Send the log and warnings of this process to stderr, without secrets.

    Args:
        level: What is less important than this is not shown.
    """
    logging.basicConfig(level=level, stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(MaskedFormatter("%(message)s"))
    logging.captureWarnings(True)


def _known() -> list[str]:
    values = (value.strip() for name, value in os.environ.items() if is_secret(name))
    found = {value for value in values if len(value) >= _SHORTEST}
    return sorted(found, key=len, reverse=True)  # one may be part of another
