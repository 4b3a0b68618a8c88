"""Weights & Biases: the curves and settings of a run. A failure here never stops the run.

No result is ever read from W&B; the ledger has them.
"""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from omegaconf import DictConfig

from sbert_repro.config import plain
from sbert_repro.ledger import hardware
from sbert_repro.redaction import masked, without_secrets

_log = logging.getLogger(__name__)
_away: list[bool] = []
"""Not empty once the server has failed to answer this process, which then stops waiting for it: a
table would wait once per run. The client itself retries until `init_timeout`."""
_SPARSE: dict[str, Any] = {
    "console": "off",
    "silent": True,
    "save_code": False,
    "disable_git": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "init_timeout": 20.0,
    "finish_timeout": 60.0,
}
"""Capture only what is logged here, and do not wait long for a server that is down. A machine with
a GPU sends its load too."""
_LONGEST_TAG = 64
"""W&B refuses longer ones."""


class Tracking:
    """A run in W&B, or nothing at all; the caller need not know which.

    Attributes:
        id: The run's id in W&B; ``None`` if nothing is tracked.

    Args:
        run: What ``wandb.init`` returned, or ``None``.
    """

    id: str | None

    def __init__(self, run: Any = None) -> None:
        self._run = run
        self.id = None if run is None else str(run.id)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Add a point to each of some curves at an optimizer step."""
        self._try("log", lambda run: run.log(dict(values), step=step))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set the final scores."""
        self._try("summary", lambda run: run.summary.update(dict(values)))

    def log_table(self, name: str, frame: Any) -> None:
        """Add a table, a pandas ``DataFrame``."""

        def send(run: Any) -> None:
            import wandb

            run.log({name: wandb.Table(dataframe=frame)})

        self._try("log_table", send)

    def finish(self) -> None:
        """Flush and close the run."""
        self._try("finish", lambda run: run.finish())
        self._run = None

    def _try(self, what: str, action: Callable[[Any], Any]) -> None:
        if self._run is None:
            return
        try:
            action(self._run)
        except Exception as problem:  # whatever it is, training continues
            _log.warning("W&B stopped at %s, the run goes on without it: %s", what, _line(problem))
            self._run = None


def start(
    config: DictConfig,
    key: str,
    settings: Mapping[str, Any],
    words: Mapping[str, str] | None = None,
) -> Tracking:
    """Start to track a run, offline below ``paths.results`` unless the user is logged in.

    Args:
        config: The composed options; ``wandb``, ``paths.results``, ``profile.name`` and ``seed``
            are read.
        key: The run's key, which becomes its id.
        settings: What W&B shows as the run's configuration; secrets are removed.
        words: By which people tell trainings apart, such as ``{"pooling": "max"}``: they become
            the run's name, its tags and part of its configuration. None for a table.

    Returns:
        A tracked run, or one that tracks nothing if W&B is off or fails to start.
    """
    chosen = mode(plain(config.wandb.mode))
    if chosen == "disabled":
        return Tracking()
    if chosen == "online" and _away:
        chosen = "offline"
    for attempt in dict.fromkeys((chosen, "offline")):
        try:
            return Tracking(_init(config, key, settings, words or {}, attempt))
        except Exception as problem:  # whatever it is, training continues
            _log.warning("W&B did not start (%s): %s", attempt, _line(problem))
            _forget_attempt()
            if attempt == "online":
                _away.append(True)
    return Tracking()


def _forget_attempt() -> None:
    """End W&B's service process, in which the run's id would count as taken at the next attempt."""
    import wandb

    try:
        wandb.teardown()
    except Exception as problem:  # as above
        _log.warning("W&B did not end: %s", _line(problem))


def _init(
    config: DictConfig,
    key: str,
    settings: Mapping[str, Any],
    words: Mapping[str, str],
    chosen: Any,
) -> Any:
    import wandb  # half a second that an untracked run need not pay

    folder = Path(config.paths.results)
    folder.mkdir(parents=True, exist_ok=True)
    return wandb.init(
        project=config.wandb.project or f"sbert_repro-{config.profile.name}",
        job_type="train" if words else "table",
        tags=[word[:_LONGEST_TAG] for word in words.values()],
        group=config.wandb.group,
        dir=str(folder),
        id=key,
        name=" · ".join([*words.values(), f"seed {config.seed}"]) if words else key,
        resume="allow" if chosen == "online" else None,
        mode=chosen,
        config=without_secrets({**plain(settings), **{f"word/{n}": w for n, w in words.items()}}),
        settings=wandb.Settings(**{**_SPARSE, "x_disable_stats": not hardware()["gpus"]}),
    )


def mode(option: str) -> str:
    """Decide between online, offline and disabled.

    Args:
        option: ``wandb.mode``; anything but ``auto`` is taken as it is.

    Returns:
        For ``auto`` what WANDB_MODE says, otherwise online if logged in, otherwise offline.
    """
    if option != "auto":
        return option
    if os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes"):
        return "disabled"
    asked = os.environ.get("WANDB_MODE", "").lower()
    if asked in ("online", "offline", "disabled"):
        return asked
    return "online" if not asked and _logged_in() else "offline"


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    named = os.environ.get("NETRC")
    files = [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
    return any(_has_entry(path, host) for path in files)


def _has_entry(path: Path, host: str) -> bool:
    try:
        return host in netrc.netrc(str(path)).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False


def _line(problem: Exception) -> str:
    return masked(" ".join(f"{type(problem).__name__}: {problem}".split()))[:200]
