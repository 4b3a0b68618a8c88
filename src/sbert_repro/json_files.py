"""JSON files, each read by its type: what is damaged is one line that names the file and the field.

A type is a ``TypedDict`` beside the code that reads the file; entries that it does not name are
kept. What only this program writes and can make again is set aside instead (`read_or_set_aside`).
"""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sbert_repro.errors import UserError

BROKEN = ".broken"
"""Ends the name of a file that was set aside."""
_TYPES = ("str", "int", "float", "bool", "none")
_log = logging.getLogger(__name__)
T = TypeVar("T")


def parse(content: bytes, kind: type[T], where: object, mend: str = "") -> T:
    """Parse JSON and check it against a type.

    Args:
        content: UTF-8 text.
        kind: The type, such as a ``TypedDict`` or ``list[str]``; a number is no text and true is no
            number.
        where: The file, for the message.
        mend: What to do about a file that is damaged.

    Returns:
        The content as JSON gives it.

    Raises:
        UserError: If it is no JSON or of another type; names the first field that is wrong.
    """
    try:
        # Strictly UTF-8: half a character in a name would fail much later, when it is printed.
        # NaN and Infinity are no JSON, but some programs write them: no number.
        found = json.loads(content.decode("utf-8-sig"), parse_constant=lambda _: None)
        json.dumps(found, ensure_ascii=False).encode()
        _adapter(kind).validate_python(found, strict=True)  # type: ignore[arg-type]
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        # A field may be one of several types, whose names pydantic puts behind its own.
        steps = [str(step) for step in first["loc"]]
        place = ".".join(step for step in steps if "[" not in step and step not in _TYPES)
        reason = f"{place or 'content'}: {first['msg']}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as problem:
        reason = f"no JSON: {problem}"
    else:
        checked: T = found
        return checked
    raise UserError(f"damaged ({reason})", where=where, mend=mend, code="damaged")


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read(path: Path, kind: type[T], mend: str = "") -> T:
    """Read a file that must be there.

    Args:
        path: The file.
        kind: As of `parse`.
        mend: What to do about a file that is damaged.

    Returns:
        Its content.

    Raises:
        UserError: If it is missing (code ``missing``), cannot be read or is damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError("there is no such file", where=path, mend=mend, code="missing") from None
    except OSError as problem:
        raise UserError(f"cannot be read ({problem.strerror})", where=path, mend=mend) from problem
    return parse(content, kind, path, mend)


def read_or_set_aside(path: Path, kind: type[T], then: str) -> T | None:
    """Read a file of this program's own; one that is damaged is set aside and counts as missing.

    Args:
        path: The file.
        kind: As of `parse`.
        then: What happens now, for the log: "it is made again".

    Returns:
        Its content, or ``None``.

    Raises:
        UserError: If it is there and cannot be read.
    """
    try:
        return read(path, kind)
    except UserError as problem:
        if problem.code == "damaged":
            set_aside(path, problem.found, then)
        elif problem.code != "missing":
            raise
    return None


def set_aside(path: Path, what: str, then: str) -> None:
    """Rename a damaged file or folder, so that it is neither read again nor lost, and say so.

    Args:
        path: The file or folder.
        what: What is wrong with it.
        then: What happens now: "it is made again".
    """
    aside = path.with_name(f"{path.name}{BROKEN}")
    number = 1
    while aside.is_dir():  # a folder cannot take the place of another one
        number += 1
        aside = path.with_name(f"{path.name}{BROKEN}{number}")
    try:
        path.replace(aside)
    except OSError as problem:
        _log.warning("%s: %s, and cannot be moved (%s); %s", path, what, problem.strerror, then)
    else:
        _log.warning("%s: %s, set aside as %s; %s", path, what, aside, then)
