"""Weights & Biases: settings, curves, scores, tables and plots. A failure here never stops a run.

There is a project for each profile and a group for each table; a run is a training (`TRAIN`), the
scores of an encoder that was not trained here (`EVALUATE`) or a table (`TABLE`). No result is ever
read from W&B; the ledger has them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import netrc
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from omegaconf import DictConfig

from sbert_repro.config import plain
from sbert_repro.ledger import hardware
from sbert_repro.redaction import masked, without_secrets

TRAIN, EVALUATE, TABLE = "train", "evaluate", "table"
"""What kinds of runs there are: the job type in W&B."""
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
    "host": "-",
    "init_timeout": 20.0,
    "finish_timeout": 60.0,
}
"""Capture only what is logged here, neither code nor the machine's name, and do not wait long for
a server that is down. A machine with a GPU sends its load too."""
_LONGEST_TAG = 64
"""W&B refuses longer ones."""


class Tracking:
    """A run in W&B, or nothing at all; the caller need not know which.

    Attributes:
        id: The run's id in W&B; ``None`` if nothing is tracked.

    Args:
        run: What ``wandb.init`` returned, or ``None``.
        empty: Whether W&B has nothing yet of what an earlier process logged, so that `replay` has
            to log it again.
    """

    id: str | None

    def __init__(self, run: Any = None, *, empty: bool = False) -> None:
        self._run, self._empty = run, empty
        self.id = None if run is None else str(run.id)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Add a point to each of some curves at an optimizer step."""
        self._try("log", lambda run: run.log(dict(values), step=step))

    def replay(self, points: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Add the points that an earlier process logged, unless W&B has them.

        Args:
            points: Step and values, the first step first.
        """
        if self._empty:
            for step, values in points:
                self.log(values, step)

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set the final scores."""
        self._try("summary", lambda run: run.summary.update(dict(values)))

    def log_table(self, name: str, frame: Any) -> None:
        """Add a table, a pandas ``DataFrame``."""

        def send(run: Any) -> None:
            import wandb

            run.log({name: wandb.Table(dataframe=frame)})

        self._try("log_table", send)

    def log_plots(self, draw: Callable[[], Mapping[str, bytes]]) -> None:
        """Add plots as images.

        Args:
            draw: Draws them: name → PNG file.
        """

        def send(run: Any) -> None:
            import wandb
            from PIL import Image

            if plots := draw():
                opened = {name: Image.open(io.BytesIO(png)) for name, png in plots.items()}
                run.log({f"plot {name}": wandb.Image(image) for name, image in opened.items()})

        self._try("log_plots", send)

    def log_model(self, folder: Path, key: str) -> None:
        """Add a model folder as an artifact, ``model-<key>``.

        Args:
            folder: All its files are sent, or copied for ``wandb sync``.
            key: Of the run that trained it.
        """

        def send(run: Any) -> None:
            import wandb

            artifact = wandb.Artifact(f"model-{key}", type="model")
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                artifact.add_file(str(path), path.relative_to(folder).as_posix())
            run.log_artifact(artifact)

        self._try("log_model", send)

    def finish(self) -> None:
        """Flush and close the run; within `together`, when another begins or the block ends."""
        if _together and self._run is not None:
            _kept[:] = [self]
        else:
            self._close()

    def _close(self) -> None:
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


_together: list[None] = []
"""Not empty within `together`."""
_kept: list[Tracking] = []
"""The run that stays open there, at most one."""


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Keep a training's run open for the test scores that follow, which then go into it.

    Yields:
        Nothing.
    """
    _together.append(None)
    try:
        yield
    finally:
        _together.pop()
        _close_kept()


def _close_kept() -> None:
    while _kept:
        _kept.pop()._close()


def start(
    config: DictConfig,
    key: str,
    kind: str,
    settings: Mapping[str, Any],
    words: Mapping[str, str] | None = None,
    *,
    anew: bool = False,
) -> Tracking:
    """Begin or continue a run, offline below ``paths.results`` unless the user is logged in.

    Args:
        config: The composed options; ``wandb``, ``paths.results``, ``profile.name`` and, if there
            is one, ``seed`` are read.
        key: The run's key, which becomes its id: whoever gives it again continues the run.
        kind: `TRAIN`, `EVALUATE` or `TABLE`.
        settings: What W&B shows as the run's configuration, as flat words; secrets are removed.
        words: By which people tell runs apart, such as ``{"pooling": "max"}``: its tags, part of
            its configuration and, unless ``wandb.name`` names it, its name.
        anew: Whether all of the run is logged from here on (with `Tracking.replay` of what was
            logged before), so that what an earlier process left offline is removed.

    Returns:
        A tracked run, or one that tracks nothing if W&B is off or fails to start.
    """
    if any(run.id == key for run in _kept):
        return _kept.pop()
    _close_kept()
    chosen = mode(plain(config.wandb.mode))
    if chosen == "disabled":
        return Tracking()
    if chosen == "online" and _away:
        chosen = "offline"
    for attempt in dict.fromkeys((chosen, "offline")):
        left, known = _fragments(config, key) if anew else ([], [])
        try:
            run = _init(config, key, kind, settings, words or {}, attempt)
        except Exception as problem:  # whatever it is, training continues
            _log.warning("W&B did not start (%s): %s", attempt, _line(problem))
            _forget_attempt()
            if attempt == "online":
                _away.append(True)
            continue
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
        return Tracking(run, empty=bool(left) or (attempt == "offline" and not known))
    return Tracking()


def _fragments(config: DictConfig, key: str) -> tuple[list[Path], list[Path]]:
    """Return the folders of a run that lie here alone, and those whose content the server has."""
    folders = sorted(Path(config.paths.results).glob(f"wandb/*run-*-{key}*"))
    offline = [folder for folder in folders if folder.name.startswith("offline-")]
    left = [folder for folder in offline if not any(folder.glob("*.synced"))]
    return left, [folder for folder in folders if folder not in left]


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
    kind: str,
    settings: Mapping[str, Any],
    words: Mapping[str, str],
    chosen: Any,
) -> Any:
    import wandb  # half a second that an untracked run need not pay

    folder = Path(config.paths.results)
    folder.mkdir(parents=True, exist_ok=True)
    seed = [] if kind != TRAIN else [f"seed {config.seed}"]
    name = [config.wandb.name] if config.wandb.name else words.values()
    here = hardware()
    machine = {"cpu": here["cpu"], "gpus": ", ".join(here["gpus"] or ())}
    return wandb.init(
        project=config.wandb.project or f"sbert_repro-{config.profile.name}",
        job_type=kind,
        tags=list(dict.fromkeys(word[:_LONGEST_TAG] for word in words.values())),
        group=config.wandb.group,
        dir=str(folder),
        id=key,
        name=" · ".join([*name, *seed]),
        resume="allow",
        mode=chosen,
        config=without_secrets({**flat(plain(settings)), **words, **machine, "key": key}),
        settings=wandb.Settings(**{**_SPARSE, "x_disable_stats": not here["gpus"]}),
    )


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Lay nested settings out as words with one value each, as one types them.

    Args:
        settings: Plain values; a component is a dict with a ``name``.
        prefix: Before each word.

    Returns:
        ``{"loss": {"name": "triplet", "margin": 1}}`` → ``{"loss": "triplet", "loss.margin": 1}``.
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if not isinstance(value, Mapping):
            found[prefix + name] = value
            continue
        inner = flat(value, f"{prefix}{name}.")
        if "name" in value:
            found[prefix + name] = inner.pop(f"{prefix}{name}.name")
        found |= inner
    return found


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
