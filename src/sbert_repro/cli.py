"""The frame of every command: compose, check, run; one-line errors, ``--help``, quoting."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sbert_repro.compose import check, explain, options_of, prepare, refuse_ignored
from sbert_repro.config import CONFIG_DIR
from sbert_repro.errors import UserError
from sbert_repro.redaction import masked
from sbert_repro.storage import write_file

USER_MISTAKE = 2
INTERRUPTED = 130
HELP = ("-h", "--help")
_SWEEP = {"-m", "--multirun"}

Main = Callable[[DictConfig, list[str]], None]


def one_line_errors(command: Callable[[], Any]) -> None:
    """Run a command; a user's mistake ends it in one line on stderr and status 2.

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


def hydra_command(
    config_name: str, texts: Collection[str] = ()
) -> Callable[[Main], Callable[[], None]]:
    """Make a command of ``main(config, overrides)``; ``-m`` sweeps as Hydra's own commands do.

    Args:
        config_name: The root in ``configs/`` that the command composes.
        texts: Options whose values are taken as typed (see `quoted`).

    Returns:
        Callable: A decorator; what it returns is called without arguments.
    """

    def decorate(main: Main) -> Callable[[], None]:
        mistakes: list[UserError] = []

        def task(config: DictConfig) -> None:
            # Raised through Hydra, a mistake would be announced in two lines and, in a sweep, only
            # after the jobs that had none; so it is kept, and the other jobs go on.
            _hide_secrets_of_sweep()
            typed = list(HydraConfig.get().overrides.task)
            try:
                check(config)
                refuse_ignored(config, typed)
                prepare(config)
                main(config, typed)
            except UserError as mistake:
                mistakes.append(mistake)

        def run() -> None:
            # Hydra would otherwise print several lines of its own and exit with status 1.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            sys.argv[1:] = quoted(sys.argv[1:], texts)
            _refuse_code(sys.argv[1:])
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


def _refuse_code(words: Sequence[str]) -> None:
    """Hydra would import what its own options name before any option of ours is looked at."""
    for word in words:
        if word.lstrip("+~").startswith("hydra") and "_target_" in word:
            raise UserError("only components of sbert_repro may be named", where=word)


def _hide_secrets_of_sweep() -> None:
    """Hydra writes down what was typed for a sweep before its first job, secrets too."""
    path = Path(HydraConfig.get().sweep.dir) / "multirun.yaml"
    if HydraConfig.get().mode == RunMode.MULTIRUN and path.is_file():
        written = path.read_text(encoding="utf-8")
        if (shown := masked(written)) != written:
            write_file(path, shown)


def quoted(arguments: Sequence[str], texts: Collection[str]) -> list[str]:
    """Quote the values of some options for Hydra, so that they arrive as they were typed.

    ``task=sts12,stsb`` would be refused as a sweep, and a run's key such as ``12345678e9012345``
    would be taken for a number. In a sweep (``-m``) commas keep their meaning: nothing is quoted.

    Args:
        arguments: Words of the command line.
        texts: Options whose values are texts.

    Returns:
        list[str]: The words, quoted where needed.
    """
    if _SWEEP & set(arguments):
        return list(arguments)
    return [_quoted(word) if word.partition("=")[0] in texts else word for word in arguments]


def _quoted(word: str) -> str:
    key, _, value = word.partition("=")
    return word if not value or value[0] in "'\"" or value == "null" else f"{key}='{value}'"


def split_words(
    arguments: Sequence[str], own: Mapping[str, str], flags: Collection[str] = ()
) -> tuple[dict[str, str], list[str], set[str]]:
    """Tell a command's own words from options of the configuration behind it.

    Args:
        arguments: Words of the command line.
        own: The command's own options with their defaults.
        flags: Its own words without a value; ``-h`` and ``--help`` are always among them.

    Returns:
        The own options as typed; the other words, as typed; the flags that were given.

    Raises:
        UserError: If a word is neither ``name=value`` nor a flag.
    """
    values, others, given = dict(own), [], set()
    for word in arguments:
        name, sign, value = word.partition("=")
        if word in (*flags, *HELP):
            given.add(word)
        elif not sign or word.startswith("-"):
            known = ", ".join(["name=value", *flags])
            raise UserError(f"no such option; there are {known} and --help", where=word)
        elif name in own:
            values[name] = value
        else:
            others.append(word)
    return values, others, given


def usage(
    what: str, own: Mapping[str, str], config: DictConfig, without: Sequence[str], example: str
) -> str:
    """Lay out what a command prints for ``--help``.

    Args:
        what: What it does, in a line.
        own: Its own words, with what each means.
        config: The composed options that further words change.
        without: Options and groups of it that cannot be typed here.
        example: A command that works.

    Returns:
        str: The text.
    """
    width = max(map(len, own))
    options = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    assert isinstance(options, dict), "a command's options have names"
    return "\n".join(
        [
            what,
            "",
            "Its own words:",
            *(f"  {word:<{width}}  {meaning}" for word, meaning in own.items()),
            "",
            "Further words change these options (name=value, shown with their present values):",
            *(f"  {name}={_shown(value)}" for name, value in _leaves(options, without)),
            "",
            f"Example: {example}",
        ]
    )


def _leaves(
    options: Mapping[Any, Any], without: Sequence[str], place: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield the options that hold a value, by their dotted names."""
    for key, value in options.items():
        name = f"{place}{key}"
        if name in without or str(key).startswith("_"):
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, without, f"{name}.")
        else:
            yield name, value


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
