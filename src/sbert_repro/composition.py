"""From words on the command line to a checked configuration, or to one line of refusal."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable
from typing import Any, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sbert_repro.config import CONFIG_DIR, plain
from sbert_repro.errors import UserError

STAGE_LENGTHS = ("trainer.epochs", "trainer.max_steps")
STAGE_GROUPS = ("experiment", "loss", "data", "parent", "evaluate", *STAGE_LENGTHS)
"""Options that belong to one training stage only, so a first stage does not inherit them."""
STAGE_PERMISSIONS = ("data.allow_partial",)
"""What the user allows for a run is allowed for its first stage too."""


def explain(problem: Exception, known: Iterable[str] = ()) -> UserError:
    """Turn what Hydra or OmegaConf raised into one line that lists what exists.

    Args:
        problem: The exception.
        known: Names to suggest from when a key does not exist.

    Returns:
        UserError: To be raised instead.
    """
    if isinstance(problem, MissingConfigException) and problem.missing_cfg_file:
        group, _, option = str(problem.missing_cfg_file).rpartition("/")
        options = ", ".join(problem.options or ()) or "nothing"
        return UserError(f"{group}={option}: there is no such option; {group} is one of: {options}")
    text = re.sub(r"\s+", " ", str(problem.__cause__ or problem)).strip()
    unknown = re.search(r"Could not override '([^']+)'", str(problem)) or re.search(
        r"Key '([^']+)' (?:is )?not in ", f"{problem} {text}"
    )
    if unknown and ("not in" in f"{problem} {text}" or "No match" in str(problem)):
        return _unknown_key(unknown.group(1), list(known))
    override = re.search(r"Error merging override (\S+)", str(problem))
    text = re.sub(r"\s*(full_key|object_type|reference_type)[:=]\s*\S+", "", text)
    return UserError(f"{override.group(1)}: {text}" if override else text)


def _unknown_key(key: str, known: list[str]) -> UserError:
    parent, _, last = key.rpartition(".")
    prefix = f"{parent}." if parent else ""
    names = {k[len(prefix) :].split(".")[0] for k in known if k.startswith(prefix)}
    beside = sorted(name for name in names if not name.startswith("_"))
    close = difflib.get_close_matches(last, beside, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    where = f"{parent} has" if parent else "the options are"
    return UserError(f"{key}: there is no such option{hint}; {where}: {', '.join(beside)}")


def known_keys(config: DictConfig) -> list[str]:
    """List every key of a configuration in dotted form.

    Args:
        config: A composed configuration.

    Returns:
        list[str]: ``["encoder", "encoder.path", …]``.
    """
    found: list[str] = []
    for key in map(str, config):
        found.append(key)
        if not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key):
            node = config[key]
            if isinstance(node, DictConfig):
                found += [f"{key}.{name}" for name in known_keys(node)]
    return found


def compose(overrides: list[str], config_name: str = "train") -> DictConfig:
    """Compose and check a configuration outside of the command line (tables, tests, parents).

    Args:
        overrides: Hydra overrides, as typed after ``python train.py``.
        config_name: A root in ``configs/``.

    Returns:
        DictConfig: Composed, interpolations not yet resolved.

    Raises:
        UserError: If an option does not exist or has the wrong type.
    """
    try:
        config = _compose(overrides, config_name)
    except (HydraException, OmegaConfBaseException) as problem:
        raise explain(problem, options_of(config_name)) from None
    check(config)
    return config


def _compose(overrides: list[str], config_name: str) -> DictConfig:
    """Compose also while a command of Hydra's is running, whose global state is put back after."""
    running = get_gh_backup()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
            return hydra_compose(config_name, overrides=list(overrides))
    finally:
        restore_gh_from_backup(running)


def options_of(config_name: str) -> list[str]:
    """List every key that a command's defaults have, and the optional groups.

    Args:
        config_name: A root in ``configs/``.

    Returns:
        list[str]: ``["encoder", "encoder.path", …, "experiment"]``.
    """
    return [*known_keys(_compose([], config_name)), "experiment"]


def check(config: DictConfig) -> None:
    """Check every component of a configuration against the signature of the class it names.

    Args:
        config: A composed configuration.

    Raises:
        UserError: If a key is unknown, a value has the wrong type or a required one is not set.
    """
    for name in map(str, config):
        if OmegaConf.is_missing(config, name):
            raise UserError(f"{name} is not set: give {name}=…")
        if isinstance(node := config[name], DictConfig):
            if "_target_" in node:
                _check_component(name, node)
            elif missing := [key for key in map(str, node) if OmegaConf.is_missing(node, key)]:
                raise UserError(f"{name}.{missing[0]} is not set: give {name}.{missing[0]}=…")


def _check_component(name: str, node: DictConfig) -> None:
    target = get_object(node["_target_"])
    parameters = inspect.signature(target).parameters
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    for key in map(str, node):
        full = f"{name}.{key}"
        if key.startswith("_"):
            continue
        if key not in parameters:
            raise _unknown_key(full, [f"{name}.{p}" for p in parameters])
        if OmegaConf.is_missing(node, key):
            raise UserError(f"{full} is not set: give {full}=…")
        _check_type(full, node[key], hints.get(key, Any))


def _check_type(name: str, value: Any, hint: Any) -> None:
    """Let OmegaConf judge the value by the parameter's annotation, where it knows the type."""
    plain_value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    kinds = {int: int, float: float, str: str, bool: bool}
    options = [kinds[t] for t in (getattr(hint, "__args__", None) or (hint,)) if t in kinds]
    optional = type(None) in getattr(hint, "__args__", ())
    if not options or isinstance(plain_value, list | dict) or (plain_value is None and optional):
        return
    as_float = (
        float in options and isinstance(plain_value, int) and not isinstance(plain_value, bool)
    )
    exact = any(type(plain_value) is kind for kind in options)
    if not exact and not as_float:
        wanted = " or ".join(kind.__name__ for kind in options)
        raise UserError(
            f"{name}={plain_value}: expected {wanted}, found {type(plain_value).__name__}"
        )


def build(node: DictConfig, **extra: Any) -> Any:
    """Build the component that a node names.

    Args:
        node: A checked node with ``_target_``.
        **extra: What only the program knows, such as a width; left out where it is not asked for.

    Returns:
        Any: The component.

    Raises:
        UserError: If the component itself refuses its options, such as a file that is not there.
    """
    wanted = inspect.signature(get_object(node["_target_"])).parameters
    try:
        return instantiate(node, **{key: value for key, value in extra.items() if key in wanted})
    except InstantiationException as problem:
        # Hydra wraps what a constructor raises; a user's mistake has to reach who can act on it.
        if isinstance(problem.__cause__, UserError):
            raise problem.__cause__ from None
        raise


def described(node: DictConfig) -> dict[str, Any]:
    """Describe a component by its word, its version and all its options, given or default.

    Args:
        node: A checked node with ``_target_``.

    Returns:
        ``{"name": word, "version": n, option: value, …}``: what run keys and saved models hold.
    """
    target = get_object(node["_target_"])
    parameters = inspect.signature(target).parameters.values()
    options = {p.name: p.default for p in parameters if p.default is not p.empty}
    options |= {k: v for k, v in plain(node).items() if k != "_target_"}
    described: dict[str, Any] = plain({**options, "name": target.name, "version": target.VERSION})
    return described


def prepare(config: DictConfig) -> None:
    """Run what a profile asks for before anything is read (the demo writes its own data root).

    Args:
        config: A composed configuration; ``prepare`` lists calls by ``_target_``.
    """
    for call in config.prepare:
        instantiate(call)


def stage_overrides(overrides: list[str], parent: list[str]) -> list[str]:
    """Give the command line of a first stage (NLI) from that of the second (STSb after NLI).

    Encoder, pooling, optimizer, seed, profile, paths and most trainer options hold for both; those
    that make a stage what it is (`STAGE_GROUPS`), its length too, come from ``parent`` alone.

    Args:
        overrides: The second stage's overrides as typed.
        parent: The first stage's own overrides (``parent`` in the configuration).

    Returns:
        list[str]: Overrides for `compose`.
    """

    def inherited(override: str) -> bool:
        key = override.partition("=")[0].lstrip("+~").split("@")[0]
        return not {key, key.split(".")[0]} & {*STAGE_GROUPS} or key in STAGE_PERMISSIONS

    return [o for o in overrides if inherited(o)] + list(parent)


def set_values(config: DictConfig, **values: Any) -> DictConfig:
    """Give a copy of a configuration with some root values replaced.

    Args:
        config: A composed configuration; left as it is.
        **values: New root values.

    Returns:
        DictConfig: The copy.
    """
    copy = config.copy()
    with open_dict(copy):
        for key, value in values.items():
            copy[key] = value
    return copy
