"""Words on the command line → a checked configuration, or one line that refuses them.

What can be refused by looking at the options alone is refused here; what needs the model, the data
or the machine, by whoever has them. `compose` refuses what does not exist or has the wrong type;
`refuse_ignored` what was typed and would change nothing; `check_training` options that are
each right but cannot make a training run together; `compose_table` and `compose_speed` what the
rows of a table decide for themselves.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import pickle
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import omegaconf._utils
import omegaconf.base
import omegaconf.grammar_parser
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from hydra.plugins.config_source import ConfigResult
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sbert_repro.config import CONFIG_DIR, plain
from sbert_repro.declared import REQUIRED, Declared, declared
from sbert_repro.errors import UserError, is_out_of_memory
from sbert_repro.redaction import is_secret, masked

STAGE_LENGTHS = ("trainer.epochs", "trainer.max_steps")
STAGE_GROUPS = ("experiment", "loss", "data", "parent", "evaluate", *STAGE_LENGTHS)
"""Options that belong to one training stage only, so that a first stage does not inherit them."""
STAGE_PERMISSIONS = ("data.allow_partial",)
"""What the user allows for a run is allowed for its first stage too."""
ROW_OPTIONS = (
    "encoder",
    "pooling",
    "concatenation",
    "loss",
    "data",
    "experiment",
    "parent",
    "evaluate",
)
"""Options that each row of a table chooses for itself."""
KINDS = {"labels": "labelled_pairs", "scores": "scored_pairs", "triplets": "triplets"}
"""What an objective needs → the kind of data set that has it."""
_RANGES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("seed", lambda n: 0 <= n < 2**32, f"0 to {2**32 - 1}"),
    ("encoder.max_length data.max_length", lambda n: n >= 1, "at least 1"),
    ("data.pair_length", lambda n: n >= 8, "at least 8, special tokens included"),  # noqa: PLR2004
    ("trainer.epochs trainer.max_steps trainer.batch_size", lambda n: n >= 1, "at least 1"),
    ("trainer.evaluate_every trainer.save_every", lambda n: n >= 1, "at least 1"),
    ("trainer.save_minutes", lambda n: n > 0, "more than 0, or null for steps alone"),
    ("trainer.devices", lambda n: n >= 1, "at least 1"),
    ("trainer.warmup", lambda n: 0 <= n <= 1, "a share of all steps, 0 to 1"),
    ("trainer.max_grad_norm", lambda n: n > 0, "more than 0, or null for no clipping"),
    ("optimizer.lr optimizer.eps", lambda n: 0 < n < math.inf, "more than 0"),
    ("optimizer.clip_per_tensor optimizer.min_lr", lambda n: 0 < n < math.inf, "more than 0"),
    ("optimizer.decay optimizer.shrink", lambda n: 0 < n < math.inf, "more than 0"),
    ("optimizer.weight_decay", lambda n: 0 <= n < math.inf, "at least 0"),
    ("optimizer.beta1 optimizer.beta2", lambda n: 0 <= n < 1, "at least 0 and less than 1"),
    ("repeats batch_size pairs largest k block", lambda n: n >= 1, "at least 1"),
    ("sentences", lambda n: n >= 2, "at least 2"),  # noqa: PLR2004
    ("data.epochs data.limit data.dev_limit", lambda n: n >= 1, "at least 1"),
    ("profile.max_seeds profile.min_seeds profile.max_parts", lambda n: n >= 1, "at least 1"),
    ("profile.lstm_width profile.save_every", lambda n: n >= 1, "at least 1"),
    ("encoder.hidden encoder.batch_size", lambda n: n >= 1, "at least 1"),
    ("classifier.kfold", lambda n: n >= 2, "at least 2"),  # noqa: PLR2004
    ("classifier.batch_size classifier.epoch_size", lambda n: n >= 1, "at least 1"),
    ("classifier.tenacity classifier.max_epoch", lambda n: n >= 1, "at least 1"),
    ("classifier.max_iter", lambda n: n >= 1, "at least 1"),
    ("classifier.learning_rate", lambda n: 0 < n < math.inf, "more than 0"),
    ("classifier.seed", lambda n: 0 <= n < 2**32, f"0 to {2**32 - 1}"),
    ("loss.margin", lambda n: 0 <= n < math.inf, "at least 0"),
    ("loss.dropout", lambda n: 0 <= n < 1, "at least 0 and less than 1"),
    ("loss.num_labels loss.fc_dim", lambda n: n >= 1, "at least 1"),
    ("what.steps what.repeats what.batch_size what.test_folds", lambda n: n >= 1, "at least 1"),
    ("what.vectors what.width what.queries what.k", lambda n: n >= 1, "at least 1"),
    ("what.sentences", lambda n: n >= 2, "at least 2"),  # noqa: PLR2004
    ("index.lists index.probes", lambda n: n >= 1, "at least 1"),
    ("index.check", lambda n: n >= 0, "at least 0"),
)
"""Options of any command, what their numbers must be, and how to say so."""

_IN_FILE = re.compile(r"^\s*(?:- )?_target_: (\S+)", re.MULTILINE)
_GROUP_OF = {"prepare": "profile"}
"""Where components are configured under another name than that of their folder in ``configs/``."""
_OF_HYDRA = (
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
    "hydra.output_subdir",
    "hydra.verbose",
    "hydra.mode",
)
"""Hydra's own options that may be typed; others name what it imports, or where it looks for it."""

_NAMED_IN_CONFIGS = ("profile.limits", "profile.epochs")
"""Dicts whose entries are options of other files; any other entry would be read by nobody."""

_LIGHTNINGS = {
    "trainer.max_epochs": "trainer.epochs=N",
    "trainer.limit_train_batches": "trainer.max_steps=N",
    "trainer.fast_dev_run": "trainer.max_steps=1",
    "trainer.limit_val_batches": "data.dev_limit=N",
    "trainer.gradient_clip_val": "trainer.max_grad_norm=X",
    "trainer.val_check_interval": "trainer.evaluate_every=N",
    "trainer.check_val_every_n_epoch": "trainer.evaluate_every=null",
    "trainer.enable_progress_bar": "trainer.progress=false",
    "trainer.num_nodes": "trainer.devices=N, on one machine",
    "trainer.deterministic": "seed=N; on a CPU equal seeds give equal bits",
}
"""Names of Lightning's that somebody may try, and what they are called here. Passed on, they would
change a run without being part of its key."""

_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")

_AS_BEFORE: Mapping[tuple[str, str], Any] = {
    ("classification", "init"): "torch",
    ("cross_classification", "init"): "torch",
    ("cross_regression", "init"): "torch",
}
"""Component and option that came later → what was done before: at that value the option is no part
of a key, so that earlier runs keep theirs."""


# Composing

# OmegaConf parses the text of an interpolation each time that it is resolved: in a plan of all
# tables 9,000 times the same few dozen texts. Nothing changes a tree once it is made.
# The names are those of OmegaConf 2.3, which the lock holds; a test asks whether they are in use.
_parse = functools.lru_cache(maxsize=4096)(omegaconf.grammar_parser.parse)
omegaconf.base.parse = omegaconf._utils.parse = _parse  # type: ignore[attr-defined]

_T = TypeVar("_T")


class Original(Generic[_T]):
    """A value that others get copies of, in a fifth of the time that `copy.deepcopy` takes.

    Args:
        value: Options, or something with options in it; not changed any more by who gave it.
    """

    def __init__(self, value: _T) -> None:
        self._pickled = pickle.dumps(value)

    def copy(self) -> _T:
        """Return a copy of its own for who asks."""
        made: _T = pickle.loads(self._pickled)  # noqa: S301 - pickled by this object
        return made


def compose(overrides: Sequence[str], config_name: str = "train") -> DictConfig:
    """Compose and check a configuration outside of the command line (tables, tests, parents).

    Args:
        overrides: Hydra overrides, as typed after ``python train.py``.
        config_name: A root in ``configs/``.

    Returns:
        DictConfig: Composed, interpolations not yet resolved.

    Raises:
        UserError: If an option does not exist or has the wrong type.
    """
    return _checked(tuple(overrides), config_name).copy()


@functools.lru_cache(maxsize=1024)
def _checked(overrides: tuple[str, ...], config_name: str) -> Original[DictConfig]:
    try:
        config = composed(overrides, config_name)
    except (HydraException, OmegaConfBaseException) as problem:
        raise explain(problem, options_of(config_name)) from None
    check(config)
    return Original(config)


@functools.lru_cache(maxsize=1024)  # the rows of tables compose the same words again and again
def composed(overrides: tuple[str, ...], config_name: str) -> DictConfig:
    """Compose, and check nothing.

    It works while a Hydra command is running: Hydra's global state is put back afterwards.

    Args:
        overrides: Words as typed.
        config_name: A root in ``configs/``.

    Returns:
        The options, shared by all who compose the same words: copy before changing.
    """
    running = get_gh_backup()
    try:
        GlobalHydra.instance().hydra = _hydra()
        return hydra_compose(config_name, overrides=list(overrides))
    finally:
        restore_gh_from_backup(running)


@functools.cache
def _hydra() -> Hydra:
    """Return the Hydra that composes; to make one for each composition took longer than it does."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        made = GlobalHydra.instance().hydra
    assert made is not None
    made.config_loader.repository = _ReadOnce(made.config_loader.get_search_path())  # type: ignore[attr-defined]
    return made


class _ReadOnce(ConfigRepository):
    """The files of ``configs/``, each parsed once; Hydra parses twenty for each composition."""

    def __init__(self, search_path: Any) -> None:
        super().__init__(search_path)
        self._read: dict[str, Original[ConfigResult | None]] = {}

    def __deepcopy__(self, memo: Any) -> _ReadOnce:
        return self  # Hydra copies it so that nothing typed changes its search path; nothing can

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return a file's content, which the caller may change."""
        if config_path not in self._read:
            self._read[config_path] = Original(super().load_config(config_path))
        return self._read[config_path].copy()


_OF_EVERY_ENCODER = ("precision", "engine", "progress")
"""Options of a command that its encoder is built with; they may be typed as the encoder's."""


def respelt(word: str, config_name: str) -> str:
    """Return a word with the name that an option has here: ``precision`` for ``encoder.precision``.

    Args:
        word: As typed.
        config_name: A root in ``configs/``.

    Returns:
        str: The word; another one where it names such an option of a command that has it.
    """
    name, sign, value = word.lstrip("+").partition("=")
    own = name.removeprefix("encoder.")
    if name == own or own not in _OF_EVERY_ENCODER or own not in options_of(config_name):
        return word
    return f"{own}{sign}{value}"


@functools.cache
def options_of(config_name: str) -> list[str]:
    """List every key that a command's defaults have, and the optional groups.

    Args:
        config_name: A root in ``configs/``.

    Returns:
        list[str]: ``["encoder", "encoder.path", …, "experiment"]``.
    """
    groups = ["experiment", "recipe"] if config_name == "train" else ["experiment"]
    return [*_keys(composed((), config_name)), *groups]


def _keys(config: DictConfig) -> list[str]:
    found: list[str] = []
    for key in map(str, config):
        found.append(key)
        if not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key):
            node = config[key]
            if isinstance(node, DictConfig):
                found += [f"{key}.{name}" for name in _keys(node)]
    return found


def explain(problem: Exception, known: Iterable[str] = ()) -> UserError:
    """Turn what Hydra or OmegaConf raised into one line that lists what exists.

    Args:
        problem: The exception.
        known: Names to suggest from when a key does not exist.

    Returns:
        UserError: The error to raise instead.
    """
    if isinstance(problem, MissingConfigException) and problem.missing_cfg_file:
        group, _, option = str(problem.missing_cfg_file).rpartition("/")
        options = ", ".join(problem.options or ()) or "nothing"
        return UserError(
            f"there is no such option; {group} is one of: {options}", where=f"{group}={option}"
        )
    # Hydra has no fields for the rest, so its own messages are read here, and only here.
    text = re.sub(r"\s+", " ", str(problem.__cause__ or problem)).strip()
    unknown = re.search(r"Could not override '([^']+)'", str(problem)) or re.search(
        r"Key '([^']+)' (?:is )?not in ", f"{problem} {text}"
    )
    if unknown and ("not in" in f"{problem} {text}" or "No match" in str(problem)):
        return _unknown_key(unknown.group(1), known)
    if several := re.search(r"Ambiguous value for argument '(\S+)'", text):
        word = several.group(1)
        mend = f"add -m to try each, or give a list: {word.partition('=')[0]}=[a,b]"
        return UserError("holds several values", where=word, mend=mend)
    if there := re.search(r"(?:already at '|Multiple values for )([\w.]+\w)", text):
        name = there.group(1)
        return UserError("is there already", where=f"+{name}", mend=f"leave out the +: {name}=…")
    if unread := re.search(r"Error parsing override '([^']*)'", str(problem)):
        return UserError("cannot be read; expected name=value", where=unread.group(1))
    override = re.search(r"Error merging override (\S+)", str(problem))
    text = re.sub(r"\s*(full_key|object_type|reference_type)[:=]\s*\S+", "", text)
    where = override.group(1) if override else ""
    if "is not a ListConfig" in text:
        return UserError("expected a list", where=where, mend=f"{where.partition('=')[0]}=[a,b]")
    return UserError(text, where=where, mend="" if where else "give it another value")


def _unknown_key(key: str, known: Iterable[str]) -> UserError:
    known = list(known)
    parent, _, last = key.rpartition(".")
    prefix = f"{parent}." if parent else ""
    names = {k[len(prefix) :].split(".")[0] for k in known if k.startswith(prefix)}
    beside = sorted(name for name in names if not name.startswith("_"))
    close = difflib.get_close_matches(last, beside, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    elsewhere = [name for name in known if name != key and name.rpartition(".")[2] == last]
    mend = _LIGHTNINGS.get(key) or " or ".join(f"{name}=…" for name in elsewhere)
    has = f"{parent} has" if parent else "the options are"
    found = f"there is no such option{hint}; {has}: {', '.join(beside) or 'nothing'}"
    return UserError(found, where=key, mend=f"use {mend}" if mend else "")


@functools.cache
def _components(group: str = "*") -> dict[str, str]:
    """Return what may be built: import path → word, as the files of a group in ``configs/`` say."""
    texts = [(file.stem, file.read_text(encoding="utf-8")) for file in _files(group)]
    return {target: word for word, text in texts for target in _IN_FILE.findall(text)}


def _files(group: str = "*") -> list[Path]:
    return sorted(CONFIG_DIR.glob(f"{group}/*.yaml"))


def refuse_foreign(value: Any, place: str = "") -> None:
    """Refuse, before anything is imported, what is not one of the components in ``configs/``.

    Args:
        value: Plain values: the options of a command, or a part of them.
        place: Its name, for the message.

    Raises:
        UserError: If a ``_target_``, at any depth, is anything else than a component of its group.
    """
    if isinstance(value, list):
        for number, item in enumerate(value):
            refuse_foreign(item, f"{place}[{number}]")
    if not isinstance(value, dict):
        return
    group = re.split(r"[.\[]", place)[0]
    known = _components(_GROUP_OF.get(group, group) or "*")
    for key, item in value.items():
        name = f"{place}.{key}" if place else str(key)
        if key == "_target_" and not (isinstance(item, str) and item in known):
            words = ", ".join(sorted({*known.values()})) if group and known else ""
            raise UserError(
                "only components of sbert_repro may be named, and here "
                f"{'one of its own group' if words else 'none'}",
                where=f"{name}={item}",
                mend=f"choose by name: {group}=WORD, one of {words}" if words else "leave it out",
            )
        refuse_foreign(item, name)


def _instantiated(node: DictConfig, **extra: Any) -> Any:
    """Build what a node names, and no component of others within it."""
    refuse_foreign(plain(node))
    try:
        return instantiate(node, **extra)
    except InstantiationException as problem:
        # Hydra wraps what a constructor raises; what the user can mend has to reach who can say so.
        cause = problem.__cause__
        if isinstance(cause, UserError | OSError) or (cause and is_out_of_memory(cause)):
            raise cause from None
        raise


def check(config: DictConfig) -> None:
    """Check every component against the signature of its class, and every number's range.

    Args:
        config: A composed configuration.

    Raises:
        UserError: If a key is unknown, a required one is not set, a value has the wrong type or is
            out of range.
    """
    refuse_foreign(OmegaConf.to_container(config, resolve=False))
    _refuse_unknown(config)
    for name in map(str, config):
        _check_set(config, name, name)
        if isinstance(node := config[name], DictConfig):
            if "_target_" in node:
                _check_component(name, node)
            else:
                _refuse_unknown(node, name)
                for key in map(str, node):
                    _check_set(node, key, f"{name}.{key}")
    accelerator = OmegaConf.select(config, "trainer.accelerator")
    if accelerator is not None and accelerator not in _ACCELERATORS:
        raise UserError(
            f"expected one of: {', '.join(_ACCELERATORS)}",
            where=f"trainer.accelerator={accelerator}",
        )
    for names, fits, expected in _RANGES:
        for name in names.split():
            value = OmegaConf.select(config, name)
            if isinstance(value, int | float) and not fits(value):
                raise UserError(f"expected {expected}", where=f"{name}={value}")


def _refuse_unknown(node: DictConfig, name: str = "") -> None:
    """Refuse keys that a node's type does not have: typed with +, Hydra would take any."""
    kind = OmegaConf.get_type(node)
    if name == "concatenation":
        names = {"parts"}
    elif name in _NAMED_IN_CONFIGS:
        names = _read_by_configs(name)
    elif name in ("profile.stand_ins", "profile.trained_stand_ins"):
        names = {file.stem for group in ("encoder", "data") for file in _files(group)}
    elif dataclasses.is_dataclass(kind):
        names = {field.name for field in dataclasses.fields(kind)}
    else:
        return
    known = [f"{name}.{key}".lstrip(".") for key in names]
    for key in map(str, node):
        if (full := f"{name}.{key}".lstrip(".")) not in known:
            raise _unknown_key(full, known)
        if isinstance(child := OmegaConf.select(node, key), DictConfig) and name:
            _refuse_unknown(child, full)


@functools.cache
def _read_by_configs(name: str) -> set[str]:
    """Return the entries of an open dict that some file in ``configs/`` reads."""
    texts = (file.read_text(encoding="utf-8") for file in _files())
    return {key for text in texts for key in re.findall(rf"{re.escape(name)}\.(\w+)", text)}


def _check_set(node: DictConfig, key: str, name: str) -> None:
    if OmegaConf.is_missing(node, key):
        raise UserError("is not set", where=name, mend=f"give {name}=…")


def _check_component(name: str, node: DictConfig) -> None:
    parameters = declaration(node).parameters
    for key in map(str, node):
        if key.startswith("_"):
            continue
        if key not in parameters:
            raise _unknown_key(f"{name}.{key}", [f"{name}.{p}" for p in parameters])
        _check_set(node, key, f"{name}.{key}")
        _check_type(f"{name}.{key}", node[key], parameters[key].kinds)


def _check_type(name: str, value: Any, kinds: Collection[type]) -> None:
    """Check plain values against a parameter's annotation; other types are the class's business."""
    value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    allowed = [kind for kind in (int, float, str, bool) if kind in kinds]
    if not allowed or isinstance(value, list | dict) or (value is None and type(None) in kinds):
        return
    if type(value) not in allowed and not (float in allowed and type(value) is int):
        wanted = " or ".join(kind.__name__ for kind in allowed)
        raise UserError(f"expected {wanted}, found {type(value).__name__}", where=f"{name}={value}")


# Components


def build(node: DictConfig, **extra: Any) -> Any:
    """Build the component that a node names.

    Args:
        node: A checked node with ``_target_``.
        **extra: What only the program knows, such as a width; passed if the component takes it.

    Returns:
        Any: The component.

    Raises:
        UserError: If the component itself refuses its options, such as a file that is not there.
    """
    return _instantiated(node, **{k: v for k, v in extra.items() if takes(node, k)})


def takes(node: DictConfig, parameter: str) -> bool:
    """Tell whether the component that a node names has a parameter of this name."""
    return parameter in declaration(node).parameters


def declaration(node: DictConfig) -> Declared:
    """Return what the source of a component declares; nothing is imported.

    Args:
        node: A node with ``_target_``.

    Returns:
        Declared: Its parameters and constants.

    Raises:
        UserError: If no file in ``configs/`` names the component.
    """
    refuse_foreign({"_target_": node["_target_"]})
    return declared(node["_target_"])


def word_of(node: DictConfig) -> str:
    """Return the command-line word of a component: ``max`` for a node of ``pooling=max``.

    Args:
        node: A node with ``_target_``.

    Returns:
        str: The ``name`` of its class; of a class without one, what the class is called.
    """
    name = declaration(node).constants.get("name")
    return name if isinstance(name, str) else str(node["_target_"]).rpartition(".")[2]


def described(node: DictConfig) -> dict[str, Any]:
    """Describe a component by its word, its version and all its options, given or default.

    Args:
        node: A checked node with ``_target_``.

    Returns:
        ``{"name": word, "version": n, option: value, …}``: what run keys and saved models hold.
    """
    component = declaration(node)
    name, version = component.constants["name"], component.constants["VERSION"]
    parameters = component.parameters.items()
    options = {k: p.default for k, p in parameters if p.default is not REQUIRED}
    options |= {k: v for k, v in plain(node).items() if k != "_target_"}
    later = {k: _AS_BEFORE[name, k] for k in options if (name, k) in _AS_BEFORE}
    options = {k: v for k, v in options.items() if k not in later or v != later[k]}
    described: dict[str, Any] = plain({**options, "name": name, "version": version})
    return described


def prepare(config: DictConfig) -> None:
    """Run what a profile asks for before anything is read (the demo writes its own data root).

    Args:
        config: A composed configuration; ``prepare`` lists calls by ``_target_``.
    """
    for call in config.prepare:
        _instantiated(call)


# Overrides, as typed


def option_name(override: str) -> str:
    """Return the name of the option that an override sets, ``pooling`` for ``+pooling=max``.

    Args:
        override: As typed.

    Returns:
        str: The name without what Hydra puts before or behind it.
    """
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def _group(override: str) -> str:
    return option_name(override).partition(".")[0]


def stage_overrides(overrides: Sequence[str], parent: Sequence[str]) -> list[str]:
    """Derive the command line of a first stage (NLI) from that of the second (STSb after NLI).

    Encoder, pooling, optimizer, seed, profile, paths and most trainer options hold for both; those
    that make a stage what it is (`STAGE_GROUPS`), its length too, come from ``parent`` alone.

    Args:
        overrides: The second stage's overrides as typed.
        parent: The first stage's own overrides (``parent`` in the configuration).

    Returns:
        list[str]: Overrides for `compose`.
    """
    inherited = [
        word
        for word in overrides
        if not {option_name(word), _group(word)} & {*STAGE_GROUPS}
        or option_name(word) in STAGE_PERMISSIONS
    ]
    return [*inherited, *parent]


def known_to(config_name: str, changes: Sequence[str]) -> list[str]:
    """Keep the overrides that a command knows: what is not trained has no trainer to change.

    Args:
        config_name: ``train`` or ``evaluate``.
        changes: Overrides for the rows of a table, which may use either command.

    Returns:
        list[str]: Without what only the other command knows; what neither knows is kept, so that
        `compose` refuses it.
    """
    known = set(map(_group, options_of(config_name)))
    other = set(map(_group, options_of("evaluate" if config_name == "train" else "train")))
    return [word for word in changes if _group(word) in known or _group(word) not in other]


# Refusals: words that cannot mean what was typed


@functools.cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def refuse_words(words: Sequence[str]) -> None:
    """Refuse words of a command line by their look alone, before anything is done with them.

    Args:
        words: As typed, without those that begin with ``-``.

    Raises:
        UserError: If a word holds a secret, is not readable, names what cannot be chosen or chooses
            several of a group, or if two words set one option.
    """
    seen: dict[str, str] = {}
    for word in words:
        name = word.partition("=")[0]
        if is_secret(name.rpartition(".")[2]) or masked(word) != word:
            raise UserError(
                "no option takes a key or a password, which would be written to logs and records",
                where=masked(name),
                mend="leave it in the environment, such as HF_TOKEN or WANDB_API_KEY",
            )
        if word.startswith("~"):
            raise UserError("an option cannot be removed", where=word, mend="set it: name=value")
        if "${" in word:
            found = "a value is taken as it stands, and refers to no other"
            raise UserError(found, where=word, mend="write the value itself")
        try:
            parsed = _parser().parse_override(word)
        except HydraException as problem:
            raise UserError(
                f"cannot be read ({str(problem).strip().splitlines()[0]}); expected name=value",
                where=word,
                mend=f'quote a value that is no plain word: "{_in_quotes(word)}"',
            ) from None
        if not parsed.key_or_group:
            raise UserError("names no option; expected name=value", where=word)
        option = option_name(word)
        is_group = (CONFIG_DIR / option).is_dir()
        if seen.get(option, word) != word or (is_group and option in seen):
            raise UserError(f"is given twice, also as {seen[option]}; give it once", where=word)
        seen[option] = word
        if option.partition("/")[0].partition(".")[0] == "hydra" and option not in _OF_HYDRA:
            raise UserError(
                f"is Hydra's own and fixed here; there are {', '.join(_OF_HYDRA)}", where=word
            )
        if option.partition(".")[0] == "prepare":
            raise UserError("belongs to the profile", where=word, mend="choose profile=demo")
        if is_group and not (parsed.is_sweep_override() or isinstance(parsed.value(), str)):
            one_of = ", ".join(file.stem for file in _files(option))
            raise UserError(f"takes the name of one option; there are: {one_of}", where=word)


def _in_quotes(word: str) -> str:
    name, _, value = word.partition("=")
    bare = value.strip("'\"").replace("'", "\\'") or "VALUE"
    return f"{name}='{bare}'"


# Refusals: options that would change nothing


def refuse_ignored(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse what was typed and is not read by the components that were chosen.

    Only what stands on the command line counts: a profile or an experiment may set what one of its
    components does not take.

    Args:
        config: The composed options of a command.
        overrides: The options as typed.

    Raises:
        UserError: If an option would change nothing; says which one to use instead.
    """
    for override in {option_name(word): word for word in overrides}.values():
        name = option_name(override)
        if _group(override) == "concatenation" and not _concatenates(config, overrides):
            raise UserError(
                f"loss={word_of(config.loss)} concatenates nothing, so it would change nothing",
                where=override,
                mend="leave it out, or use loss=classification",
            )
        if name == "pooling" and not takes(config.encoder, "pooling"):
            raise UserError(
                f"{config.encoder.get('label') or word_of(config.encoder)} pools in its own way, "
                "so it would change nothing",
                where=override,
                mend="leave it out",
            )
        if name == "encoder.max_length" and "trainer" in config:
            raise UserError(
                "training cuts sentences at data.max_length",
                where=override,
                mend=f"use data.max_length={config.encoder.max_length}",
            )


def _concatenates(config: DictConfig, overrides: Sequence[str]) -> bool:
    """Whether an objective reads the parts: that of the run or that of a stage before it."""
    if "loss" not in config or "concatenation" in config.loss:
        return True
    if config.get("parent") is None:
        return False
    words = stage_overrides(overrides, config.parent)
    return _concatenates(compose(words), words)


# Refusals: options that cannot make a training run


def check_training(config: DictConfig) -> None:
    """Refuse options that are each right but cannot make a run together.

    Args:
        config: The composed options.

    Raises:
        UserError: If the data are of another kind than the objective needs, have another number of
            labels or no dev rows to choose a checkpoint with; says what fits.
    """
    from sbert_repro.data.schema import dataset

    data = config.data
    record, loss = dataset(data.name), declaration(config.loss).constants
    _check_dev(config, loss)
    for option in ("pair_length", "swapped"):
        if data[option] and loss["columns"] > 1:
            raise UserError(
                f"loss={word_of(config.loss)} reads each sentence by itself; this is for sentences "
                "that are read as one",
                where=f"data.{option}={data[option]}",
                mend="leave it out, or use loss=cross_regression",
            )
    if record.kind != KINDS[loss["needs"]]:
        raise _mismatch(record, loss)
    labels = record.labels or ()
    if "num_labels" in config.loss and config.loss.num_labels != len(labels):
        raise UserError(
            f"data={record.name} has {len(labels)} labels ({', '.join(labels)})",
            where=f"loss.num_labels={config.loss.num_labels}",
            mend=f"use loss.num_labels={len(labels)}",
        )


def _check_dev(config: DictConfig, loss: Mapping[str, Any]) -> None:
    """Refuse dev rows that say nothing about what is trained."""
    from sbert_repro.data.schema import dataset

    data = config.data
    if data.dev is None:
        if plain(config.checkpoint) == "best_dev":
            raise UserError(
                f"needs dev rows, and data={data.name} has none",
                where="checkpoint=best_dev",
                mend="use checkpoint=last, or name some with data.dev=…",
            )
        return
    if (data.name, data.split) == (data.dev, data.dev_split):
        raise UserError(
            f"data.dev={data.dev} would be scored on the rows that are trained on",
            where=f"data.split={data.split}",
            mend="train on another split, or use data.dev=null checkpoint=last",
        )
    word, kind = f"loss={word_of(config.loss)}", dataset(data.dev).kind
    where = f"data.dev={data.dev}"
    if loss["columns"] > 1:
        if kind == KINDS["labels"] and loss["needs"] != "labels":
            raise UserError(
                f"holds {in_words(kind)}, and {word} predicts no labels",
                where=where,
                mend="use scored pairs or triplets, such as data.dev=stsb",
            )
    elif loss["needs"] != "scores":
        raise UserError(
            f"{word} predicts no score of a pair to compare",
            where=where,
            mend="use data.dev=null checkpoint=last",
        )
    elif kind != KINDS[loss["needs"]]:
        raise UserError(
            f"holds {in_words(kind)}; {word} needs scored pairs",
            where=where,
            mend="use one that has them, such as data.dev=stsb",
        )


def in_words(kind: str) -> str:
    """Say a kind of data in words, "scored pairs".

    Args:
        kind: As in a data set's record.

    Returns:
        str: The words.
    """
    return kind.replace("_", " ")


def _mismatch(record: Any, loss: Mapping[str, Any]) -> UserError:
    from sbert_repro.data.schema import dataset, names

    fitting = [f"data={name}" for name in names() if dataset(name).kind == KINDS[loss["needs"]]]
    for path in _files("loss"):
        needs = declared(OmegaConf.load(path).loss["_target_"]).constants["needs"]
        fitting += [f"loss={path.stem}"] if KINDS[needs] == record.kind else []
    needed, held = in_words(KINDS[loss["needs"]]), in_words(record.kind)
    return UserError(
        f"needs {needed}; data={record.name} holds {held}",
        where=f"loss={loss['name']}",
        mend=f"use {' or '.join(fitting) or 'other data'}",
    )


# Refusals: options that the rows of a table decide


def compose_table(profile: str, changes: Sequence[str]) -> DictConfig:
    """Compose what a table's command asks for, before any row is looked at.

    Args:
        profile: Name of the profile.
        changes: Options of train.py or evaluate.py as typed, for every row.

    Returns:
        DictConfig: The profile's options.

    Raises:
        UserError: If an option does not exist, or is one that rows or the table decide.
    """
    for word in changes:
        name = option_name(word)
        if name in ROW_OPTIONS:
            raise UserError(f"each row chooses its own {name}", where=word, mend="leave it out")
        if name == "seed":
            raise UserError(
                "a table has its own seeds", where=word, mend="say how many: profile.max_seeds=N"
            )
    return compose([f"profile={profile}", *known_to("train", changes)], "train")


def compose_speed(profile: str, changes: Sequence[str]) -> DictConfig:
    """Compose the options of Table 7 or of the headline.

    Args:
        profile: Name of the profile.
        changes: Options of ``configs/speed.yaml`` as typed.

    Returns:
        DictConfig: Checked.

    Raises:
        UserError: If an option does not exist, is out of range, or would change nothing.
    """
    for word in changes:
        if _group(word) in ("encoder", "engine", "pooling"):
            raise UserError(
                "each row of Table 7 names its own, and the headline takes BERT-base, so it would "
                "change nothing",
                where=word,
                mend="leave it out",
            )
    # The demo times few sentences, so that it takes seconds.
    few = ["sentences=64", "repeats=5"] if profile == "demo" else []
    return compose([f"profile={profile}", *few, *changes], "speed")
