"""Trying again what a network refused, a little later each time, and then no more."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.error import HTTPError

PAUSES = (1.0, 4.0)
"""Seconds before the second and the third attempt."""
_FORGET_AFTER = 300.0
_FOR_A_WHILE = (408, 425, 429, 500, 502, 503, 504)
# By name: three HTTP libraries may be behind a client, and none of them is imported here.
_NETWORK = (
    "ConnectionError",
    "ConnectError",
    "ConnectTimeout",
    "ReadTimeout",
    "ReadError",
    "RemoteProtocolError",
    "ProxyError",
    "ChunkedEncodingError",
    "IncompleteRead",
    "URLError",
    "gaierror",
)
_OFFLINE = "OfflineModeIsEnabled"

_log = logging.getLogger(__name__)
_gave_up_at: list[float] = []
T = TypeVar("T")


def retried(action: Callable[[], T], what: str) -> T:
    """Do something over the network, up to three times.

    A network that was found to be away is not waited for again in the next five minutes: a table
    asks for the same model once a row and seed.

    Args:
        action: What to do.
        what: What is asked for, for the message.

    Returns:
        T: What it gives.

    Raises:
        Exception: What the last attempt raised; at once what another attempt would not mend.
    """
    for pause in PAUSES:
        try:
            return action()
        except Exception as problem:
            if not is_passing(problem) or _is_away():
                raise
            lines = str(problem).splitlines() or [""]
            _log.warning(
                "%s: %s: %s; again in %g s", what, type(problem).__name__, lines[0][:200], pause
            )
            time.sleep(pause)
    try:
        return action()
    except Exception as problem:
        if is_passing(problem):
            _gave_up_at[:] = [time.monotonic()]
        raise


def _is_away() -> bool:
    return bool(_gave_up_at) and time.monotonic() - _gave_up_at[0] < _FORGET_AFTER


def is_passing(problem: BaseException) -> bool:
    """Tell a network that is away for a while from an answer that will stay the same.

    Args:
        problem: What was raised.

    Returns:
        bool: Whether another attempt may succeed.
    """
    chain = list(_chain(problem))
    if any(type(one).__name__ == _OFFLINE for one in chain):
        return False  # the user said so
    codes = [code for one in chain if (code := _status(one)) is not None]
    if codes:
        return codes[0] in _FOR_A_WHILE
    return any(
        isinstance(one, ConnectionError | TimeoutError) or _is_named(one, _NETWORK) for one in chain
    )


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__


def _is_named(problem: BaseException, names: tuple[str, ...]) -> bool:
    return any(kind.__name__ in names for kind in type(problem).__mro__)


def _status(problem: BaseException) -> int | None:
    if isinstance(problem, HTTPError):
        return problem.code
    code = getattr(getattr(problem, "response", None), "status_code", None)
    return code if isinstance(code, int) else None
