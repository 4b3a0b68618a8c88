"""Secrets are removed from everything that is written, logged or sent.

An entry is a secret by its name, such as ``api_key``. A value is one when an environment variable
with such a name holds it, or when it begins as the tokens of a known service do. The command line
refuses both (`compose.refuse_words`), its output passes through `masked` (`cli.one_line_errors`),
and so does what is written about a run.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import Any

HIDDEN = "<hidden>"
_NAME = re.compile(
    r"(?:^|[_.-])(?:token|secret|passw(?:or)?d|passphrase|credentials?|pat|api_?key|access_?key"
    r"|auth(?:orization)?)(?:$|[_.-])"
    r"|[_.-](?:key|pwd)$",  # OPENAI_KEY; PWD alone is the folder, and encoder.key names a run
    re.IGNORECASE,
)
_SHAPES = re.compile(
    r"\b(?:hf_|sk-|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|wandb_v\d_)[\w-]{16,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
)
"""Tokens that are known by how they begin, wherever they come from."""
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
    """Replace the environment's secrets, passwords in URLs and known tokens by `HIDDEN`.

    Args:
        text: What will be written, logged or sent.

    Returns:
        str: The text without them.
    """
    for secret in _known():
        text = text.replace(secret, HIDDEN)
    return _SHAPES.sub(HIDDEN, _IN_URL.sub(HIDDEN, text))


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
