"""The frame of every command: compose, check, run; one-line errors, ``--help``, quoting."""

from __future__ import annotations

import ast
import contextlib
import functools
import logging
import os
import re
import runpy
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sbert_repro.compose import (
    check,
    composed,
    explain,
    options_of,
    prepare,
    refuse_ignored,
    refuse_words,
    respelt,
)
from sbert_repro.config import CONFIG_DIR, HOME
from sbert_repro.errors import UserError, is_out_of_memory
from sbert_repro.redaction import masked
from sbert_repro.signals import TERMINATED, Interrupted, Terminated, on_sigterm
from sbert_repro.storage import refused_by_system

BUG = 1
USER_MISTAKE = 2
INTERRUPTED = 130
READER_GONE = 141
"""As of a program that SIGPIPE ends: the reader of the output has seen enough, as ``head`` has."""
_STOP_MAKE = "SBERT_STOP_MAKE"
"""Set by a make that keeps going when a command fails, and has to stop when the user stops one."""
HELP = ("-h", "--help")
_SWEEP = {"-m", "--multirun"}
_ELSEWHERE = {"-cd", "--config-dir", "-cp", "--config-path", "-cn", "--config-name"}
_ELSEWHERE |= {"--experimental-rerun"}
"""Words of Hydra's that read options, or a pickle, from somewhere else than ``configs/``."""
_FLAGS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("--cfg", "-c"), ("job", "hydra", "all")),
    **dict.fromkeys(
        ("--info", "-i"), ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
    ),
    **dict.fromkeys(("--run", "-r", "--hydra-help", "--version"), ()),
    **dict.fromkeys(("--shell-completion", "-sc", *sorted(_SWEEP), *HELP), ()),
    **dict.fromkeys(("--package", "-p", "--resolve"), ()),
}
"""Words of Hydra's that begin with a dash, and what may stand behind them."""
_WITH_CFG = {"--package", "-p", "--resolve"}
_TAKES_A_WORD = {"--cfg", "-c", "--info", "-i", "--package", "-p"}

_installed = False
"""Whether ``sbert-repro`` was typed."""
_COMMAND = re.compile(r"python (?:scripts/)?(\w+)\.py")
_NOT_SHOWN = {"lock", "data_cards"}
"""Scripts that look after the checkout itself."""

Main = Callable[[DictConfig, list[str]], str | None]
"""What a command does with its options; what it returns stands in the summary of a sweep."""


class _Stream:
    """Standard output or error: no secret passes, and no failure of it is a traceback.

    Args:
        stream: What is written to.
        name: Its name, for messages; "" where failures are nobody's business (standard error).
    """

    def __init__(self, stream: Any, name: str = "") -> None:
        self.stream, self._name = stream, name
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # it may know no more than ASCII

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text without the secrets in it."""
        self._do(lambda: self.stream.write(masked(text)))
        return len(text)

    def flush(self) -> None:
        """Hand on what has been written."""
        self._do(self.stream.flush)

    def _do(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as problem:
            if self.stream in (sys.__stdout__, sys.__stderr__):
                # Or Python would try again when it ends, and complain.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
            if isinstance(problem, BrokenPipeError):
                raise SystemExit(READER_GONE) from None
            if self._name:
                raise refused_by_system(problem, self._name) from None


def _open_streams() -> None:
    """Open what was closed when the command began, or the next file would be written to instead."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))


def one_line_errors(command: Callable[[], Any], about: str | None = None) -> None:
    """Run a command; a user's mistake ends it in one line on stderr and status 2.

    What the system refuses (a disk that is full, a name that is too long, memory) is one line too;
    anything else is a bug, whose traceback is shown without secrets.

    Args:
        command: What to run.
        about: What ``--help`` prints instead; ``None``: the command itself answers it.

    Raises:
        SystemExit: With status 2 after a user's mistake, 130 after Ctrl-C, 143 after SIGTERM, 1
            after a bug.
    """
    if about is not None and set(HELP) & set(sys.argv[1:]):
        command = functools.partial(print, _as_typed(about))
    _open_streams()
    before = sys.stdout, sys.stderr
    # No process that this one starts may inherit it.
    make = os.getppid() if os.environ.pop(_STOP_MAKE, "") else None
    try:
        with on_sigterm():
            _in_one_line(command, before)
    except SystemExit as end:
        if make and end.code in (INTERRUPTED, TERMINATED):
            _stop(make, int(end.code) - 128)
        raise


def _stop(make: int, number: int) -> None:
    """Send a signal to the make that started this process, if it still is its parent."""
    if os.getppid() == make > 1:
        # make passes it on to this process, which has its own end to finish.
        signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            os.kill(make, number)


def _in_one_line(command: Callable[[], Any], before: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = _Stream(before[0], "standard output"), _Stream(before[1])
    try:
        try:
            command()
            sys.stdout.flush()
        except OSError as problem:
            raise refused_by_system(problem) from problem
        except (MemoryError, RuntimeError) as problem:
            if not is_out_of_memory(problem):
                raise
            mend = "free some, or give smaller batches, fewer jobs at a time or less data"
            raise UserError("out of memory", mend=mend, code="out_of_memory") from problem
    except UserError as problem:
        sys.stderr.write(f"error: {problem}\n")
        raise SystemExit(USER_MISTAKE) from None
    except Terminated:
        sys.stderr.write("ended by SIGTERM: the same command goes on where this one stopped\n")
        raise
    except KeyboardInterrupt as stop:
        where = "where this one stopped"
        if isinstance(stop, Interrupted):
            at = f"at step {stop.step:,} of {stop.steps:,}" if stop.step else "from its beginning"
            where = f"with this training {at}"
        sys.stderr.write(f"interrupted: the same command goes on {where}\n")
        raise SystemExit(INTERRUPTED) from None
    except Exception:
        sys.stderr.write(traceback.format_exc())
        raise SystemExit(BUG) from None
    finally:
        sys.stdout, sys.stderr = before


def console() -> None:
    """Run the command that an installed copy is asked for: ``sbert-repro train pooling=max``.

    Every word is a file: ``train.py`` of the checkout, or one of its ``scripts/``.

    Raises:
        SystemExit: As the command does; with status 2 if there is no such command.
    """
    files = {"train": HOME / "train.py"}
    files |= {path.stem: path for path in sorted((HOME / "scripts").glob("*.py"))}
    files = {word: path for word, path in files.items() if word not in _NOT_SHOWN}
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if word in files:
        global _installed  # as runpy makes sys.argv[0] the path of the file
        _installed = True
        del sys.argv[1]
        runpy.run_path(str(files[word]), run_name="__main__")
    elif word in HELP:
        one_line_errors(functools.partial(print, _commands(files)))
    else:
        known = ", ".join(files)
        sys.stderr.write(f"error: {masked(word)}: there is no such command; there are {known}\n")
        raise SystemExit(USER_MISTAKE)


def _commands(files: Mapping[str, Path]) -> str:
    lines = ["sbert-repro COMMAND [OPTION=VALUE …]; sbert-repro COMMAND --help says more", ""]
    for name, path in files.items():
        what = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        lines.append(f"  {name:<16} {what.splitlines()[0].partition(':')[0].rstrip('.')}")
    return "\n".join(lines)


def _as_typed(text: str) -> str:
    """Name commands as the user of an installed copy does: ``sbert-repro train``, not its file."""
    return _COMMAND.sub(r"sbert-repro \1", text) if _installed else text


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
        problems: list[Exception] = []
        swept: list[tuple[list[str], str]] = []

        def task(config: DictConfig) -> None:
            # Raised through Hydra, a problem would be announced in lines that quote all that was
            # typed and, in a sweep, stop the other jobs; so it is kept, and they go on.
            typed = list(HydraConfig.get().overrides.task)
            sweep = HydraConfig.get().mode == RunMode.MULTIRUN
            if sweep:
                print(f"\n{len(swept) + 1}. {' '.join(typed)}")
            said = None
            try:
                check(config)
                refuse_ignored(config, typed)
                prepare(config)
                said = main(config, typed)
            except Exception as problem:
                problems.append(problem)
                said = f"failed: {next(iter(str(problem).splitlines()), type(problem).__name__)}"
            if sweep:
                swept.append((typed, said or "done"))

        def run() -> None:
            # Hydra would otherwise print several lines of its own and exit with status 1.
            os.environ["HYDRA_FULL_ERROR"] = "1"
            typed_words, flags = split_flags(quoted(sys.argv[1:], texts))
            typed_words = [respelt(word, config_name) for word in typed_words]
            refuse_words(typed_words)
            sys.argv[1:] = [*typed_words, *flags]
            if set(HELP) & set(sys.argv[1:]):
                try:
                    config = composed(tuple(typed_words), config_name)
                except (HydraException, OmegaConfBaseException) as problem:
                    raise explain(problem, options_of(config_name)) from None
                print(hydra_usage(str(main.__globals__["__doc__"]), config_name, config))
                return
            problems.clear()
            swept.clear()
            logging.captureWarnings(True)
            try:
                hydra.main(str(CONFIG_DIR), config_name, version_base="1.3")(task)()
            except (HydraException, OmegaConfBaseException) as problem:
                raise explain(problem, options_of(config_name)) from None
            print(_summary(swept), end="")
            # A bug comes before mistakes: it is raised and shown whole.
            problems.sort(key=lambda one: isinstance(one, UserError))
            for mistake in problems[1:]:
                sys.stderr.write(f"error: {mistake}\n")
            if problems:
                raise problems[0]

        return lambda: one_line_errors(run)

    return decorate


def _summary(swept: Sequence[tuple[Sequence[str], str]]) -> str:
    """Say what became of each job of a sweep, by the words in which the jobs differ."""
    if not swept:
        return ""
    same = set.intersection(*(set(typed) for typed, _ in swept)) if len(swept) > 1 else set()
    named = [" ".join(word for word in typed if word not in same) for typed, _ in swept]
    width = max(map(len, named))
    lines = (f"  {name:<{width}}  {said}\n" for name, (_, said) in zip(named, swept, strict=True))
    return "\nAll runs:\n" + "".join(lines)


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


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell options from Hydra's own flags, whose parser wants them behind all options.

    Args:
        arguments: Words of the command line.

    Returns:
        The options; the flags, each with the word that belongs to it.

    Raises:
        UserError: If there is no such flag, it takes no such word, or it reads options from
            somewhere else than ``configs/``.
    """
    words: list[str] = []
    flags: list[str] = []
    named: list[str] = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        flag, sign, value = word.partition("=")
        if before in _TAKES_A_WORD and not word.startswith("-") and not sign:
            flag, value = before, word
        elif not word.startswith("-"):
            words.append(word)
            continue
        if flag in _ELSEWHERE:
            raise UserError("all options are in configs/ of this program", where=word)
        if flag not in _FLAGS:
            known = ", ".join(sorted(name for name in _FLAGS if name.startswith("--")))
            raise UserError(f"no such flag; there are {known}, and -m for --multirun", where=word)
        if value and _FLAGS[flag] and value not in _FLAGS[flag]:
            expected = f"expected one of: {', '.join(_FLAGS[flag])}"
            raise UserError(expected, where=f"{flag} {value}")
        flags.append(word)
        named += [flag] if word.startswith("-") else []
    if flags and flags[-1] in _TAKES_A_WORD - {"--info", "-i"}:
        raise UserError("a word is missing behind it, such as --cfg job", where=flags[-1])
    if (beside := _WITH_CFG & set(named)) and not {"--cfg", "-c"} & set(named):
        raise UserError("belongs to --cfg", where=min(beside), mend="add --cfg job")
    if len(alone := [flag for flag in named if flag not in _WITH_CFG]) > 1:
        raise UserError("one of them at a time", where=" ".join(alone))
    return words, flags


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
    typed = [word for word in arguments if "=" in word and not word.startswith("-")]
    mine = [word for word in typed if word.partition("=")[0] in own]
    for word in mine:  # one by one: the Makefile gives some, and what a user types stands behind
        refuse_words([word])
    refuse_words([word for word in typed if word not in mine])
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
    return "\n".join(
        [
            _as_typed(what),
            "",
            "Its own words:",
            *(f"  {word:<{width}}  {meaning}" for word, meaning in own.items()),
            "",
            "Further words change these options (name=value, shown with their present values):",
            *(f"  {name}={_shown(value)}" for name, value in _leaves(_values(config), without)),
            "",
            f"Example: {_as_typed(example)}",
        ]
    )


def hydra_usage(what: str, config_name: str, config: DictConfig) -> str:
    """Lay out what a command of Hydra's prints for ``--help``, with the words typed beside it.

    Args:
        what: The docstring of its file, which begins with an example.
        config_name: Its root in ``configs/``.
        config: The composed options.

    Returns:
        The text: what may be chosen, and every option with its value and what ``configs/`` says
        about it.
    """
    folders = {path.name for path in CONFIG_DIR.iterdir() if path.is_dir()} - {"hydra"}
    if config_name != "train":
        folders.remove("experiment")
    groups = [name for name in options_of(config_name) if name in folders]
    comments = _comments(CONFIG_DIR / f"{config_name}.yaml")
    choices = []
    for group in groups:
        files = sorted((CONFIG_DIR / group).glob("*.yaml"))
        words = " ".join(path.stem for path in files)
        choices.append(textwrap.fill(words, 96, initial_indent="  ", subsequent_indent="    "))
        choices[-1] = f"  {group}: {choices[-1].strip()}"
        for path in files:
            if len(files) == 1 or _describes(path, config.get(group)):
                comments |= {f"{group}.{key}": said for key, said in _comments(path).items()}
    if choices:
        how = "such as encoder=WORD; with --help it shows what it brings"
        choices = [f"Choose one word of each ({how}):", *choices, ""]
    lines = [
        (f"  {name}={_shown(value)}", comments.get(name, ""))
        for name, value in _leaves(_values(config), ("prepare", "profile"))
        if name not in groups
    ]
    return "\n".join(
        [
            _as_typed(what.strip()),
            "",
            *choices,
            "Options (name=value, shown with their present values; ??? must be given):",
            *(f"{said:<{_TO_COMMENT}}  {comment}".rstrip() for said, comment in lines),
            "",
            "Hydra's own: -m tries several values (seed=1,2,3); --cfg job prints the options;",
            "--info says where they come from; --hydra-help lists the rest.",
        ]
    )


_TO_COMMENT = 40
_COMMENTED = re.compile(r"^(\w+):[^#\n]*?[ ]#[ ]?(.*)$", re.MULTILINE)


def _comments(path: Path) -> dict[str, str]:
    """Return what a file of ``configs/`` says beside its options."""
    return dict(_COMMENTED.findall(path.read_text(encoding="utf-8")))


def _describes(path: Path, node: Any) -> bool:
    """Tell whether a file of a group is the one that a node came from, or of the same class."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return isinstance(node, DictConfig) and any(
        name in content and name in node and content[name] == node[name]
        for name in ("_target_", "name")
    )


def _values(config: DictConfig) -> dict[Any, Any]:
    """Return the options with the values that they have, interpolations resolved where they can."""
    try:
        options = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    except OmegaConfBaseException:  # one refers to what has still to be given
        options = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    assert isinstance(options, dict), "a command's options have names"
    return options


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
