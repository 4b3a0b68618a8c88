"""What every command does alike: compose, check, run, and say a user's mistake in one line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sbert_repro.composition import check, explain, options_of, prepare
from sbert_repro.config import CONFIG_DIR
from sbert_repro.errors import UserError
from sbert_repro.redaction import masked
from sbert_repro.storage import write_file
from sbert_repro.typed_options import refuse_ignored

USER_MISTAKE = 2
INTERRUPTED = 130

Main = Callable[[DictConfig, list[str]], None]


def one_line_errors(command: Callable[[], Any]) -> None:
    """Run a command; a mistake of the user's ends it in one line and status 2.

    Args:
        command: What to run.

    Raises:
        SystemExit: With status 2 after a user's mistake, 130 after Ctrl-C.
    """
    try:
        command()
    except UserError as problem:
        sys.stderr.write(f"error: {masked(str(problem))}\n")
        raise SystemExit(USER_MISTAKE) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the same command goes on where this one stopped\n")
        raise SystemExit(INTERRUPTED) from None


def hydra_command(config_name: str) -> Callable[[Main], Callable[[], None]]:
    """Make a command of ``main(config, overrides)``; ``-m`` sweeps as Hydra's own commands do.

    Args:
        config_name: The root in ``configs/`` that the command composes.

    Returns:
        Callable: A decorator that gives the function to call without arguments.
    """

    def decorate(main: Main) -> Callable[[], None]:
        mistakes: list[UserError] = []

        def task(config: DictConfig) -> None:
            # Raised through Hydra, a mistake would be announced in two lines and, in a sweep, only
            # after the jobs that had none; so it is kept, and the other jobs go on.
            _hide_in_sweep()
            try:
                _run(main, config, list(HydraConfig.get().overrides.task))
            except UserError as mistake:
                mistakes.append(mistake)

        def run() -> None:
            # Hydra would otherwise print its own several lines and exit with status 1.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            mistakes.clear()
            logging.captureWarnings(True)
            try:
                hydra.main(str(CONFIG_DIR), config_name, version_base="1.3")(task)()
            except (HydraException, OmegaConfBaseException) as problem:
                raise explain(problem, options_of(config_name)) from None
            for mistake in mistakes[:-1]:
                sys.stderr.write(f"error: {masked(str(mistake))}\n")
            if mistakes:
                raise mistakes[-1]

        return lambda: one_line_errors(run)

    return decorate


def _run(main: Main, config: DictConfig, typed: list[str]) -> None:
    check(config)
    refuse_ignored(config, typed)
    prepare(config)
    main(config, typed)


def _hide_in_sweep() -> None:
    """Hydra writes down what was typed for a sweep before its first job, secrets too."""
    path = Path(HydraConfig.get().sweep.dir) / "multirun.yaml"
    if HydraConfig.get().mode == RunMode.MULTIRUN and path.is_file():
        written = path.read_text(encoding="utf-8")
        if (shown := masked(written)) != written:
            write_file(path, shown)
