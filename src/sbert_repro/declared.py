"""What the source of a component declares, read without importing it.

To import a pooling is to import torch, which takes seconds; to check an option, or to compute the
key of a run, takes the names, types and defaults of its parameters and a few constants. Those of
the components are literals, which `tests/test_declared.py` compares with the imported classes.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent
_KINDS: Mapping[str, type] = {"int": int, "float": float, "str": str, "bool": bool}


class _Required:
    """Stands for the default of a parameter that has none."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a component.

    Attributes:
        kinds: Those of int, float, str, bool and ``type(None)`` that its annotation names.
        default: Its default; `REQUIRED` where there is none.
    """

    kinds: frozenset[type]
    default: Any


@dataclass(frozen=True)
class Declared:
    """A class, a function or a module, as its source has it.

    Attributes:
        parameters: What it is called with, by name; of a module none.
        constants: Literals that are assigned in it or, of a class, in its bases.
    """

    parameters: Mapping[str, Parameter]
    constants: Mapping[str, Any]


REQUIRED = _Required()


@functools.cache
def declared(path: str) -> Declared:
    """Read what a class, a function or a module of this package declares.

    Args:
        path: Its import path, such as ``sbert_repro.pooling.max.MaxPooling``.

    Returns:
        Declared: Its parameters and constants.

    Raises:
        AttributeError: If there is no such module, or it defines nothing of this name.
        ValueError: If a default is no literal, nor the name of one in the same module.
    """
    if _file(path).is_file():
        return Declared({}, dict(_literals(_tree(path).body)))
    module, _, name = path.rpartition(".")
    if not _file(module).is_file():
        raise AttributeError(f"{path}: there is no module {module}")
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return Declared(_parameters(node, module), {})
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _class(node, module)
    raise AttributeError(f"{module} defines no {name}")


def component(module: str, name: str) -> Declared:
    """Return the class of a module that a word on the command line names.

    Args:
        module: Its import path.
        name: The word, which the class has as its ``name``.

    Returns:
        Declared: What the class declares.

    Raises:
        AttributeError: If the module has no such class.
    """
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef):
            found = _class(node, module)
            if found.constants.get("name") == name:
                return found
    raise AttributeError(f"{module} has no class of the name {name}")


def _file(module: str) -> Path:
    return _ROOT.parent.joinpath(*module.split(".")).with_suffix(".py")


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text(encoding="utf-8"))


def _class(node: ast.ClassDef, module: str) -> Declared:
    bases = [declared(base) for base in _bases(node, module)]
    constants = {k: v for base in reversed(bases) for k, v in base.constants.items()}
    constants |= dict(_literals(node.body))
    parameters = {k: v for base in reversed(bases) for k, v in base.parameters.items()}
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        parameters |= {
            field.target.id: Parameter(_kinds(field.annotation), _default(field.value, module))
            for field in node.body
            if isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and not ast.unparse(field.annotation).startswith("ClassVar")
        }
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "__init__":
            parameters = _parameters(method, module)
            del parameters["self"]
    return Declared(parameters, constants)


def _bases(node: ast.ClassDef, module: str) -> Iterator[str]:
    """Yield the import paths of those bases that are classes of this package."""
    tree = _tree(module).body
    here = {one.name: f"{module}.{one.name}" for one in tree if isinstance(one, ast.ClassDef)}
    for line in tree:
        if isinstance(line, ast.ImportFrom) and str(line.module).startswith(f"{_ROOT.name}."):
            here |= {name.asname or name.name: f"{line.module}.{name.name}" for name in line.names}
    names = [base.id for base in node.bases if isinstance(base, ast.Name)]
    yield from (here[name] for name in names if name in here)


def _parameters(node: ast.FunctionDef, module: str) -> dict[str, Parameter]:
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    required = [None] * (len(positional) - len(given.defaults))
    defaults = [*required, *given.defaults, *given.kw_defaults]
    return {
        one.arg: Parameter(_kinds(one.annotation), _default(default, module))
        for one, default in zip([*positional, *given.kwonlyargs], defaults, strict=True)
    }


def _kinds(annotation: ast.expr | None) -> frozenset[type]:
    nodes = ast.walk(annotation) if annotation is not None else ()
    named = {_KINDS[node.id] for node in nodes if isinstance(node, ast.Name) and node.id in _KINDS}
    is_optional = annotation is not None and ast.unparse(annotation).endswith("| None")
    return frozenset(named | ({type(None)} if is_optional else set()))


def _default(node: ast.expr | None, module: str) -> Any:
    if node is None:
        return REQUIRED
    if isinstance(node, ast.Name):
        return declared(module).constants[node.id]
    return ast.literal_eval(node)


def _literals(body: list[ast.stmt]) -> Iterator[tuple[str, Any]]:
    for line in body:
        target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
        if isinstance(target, ast.Name) and (value := getattr(line, "value", None)) is not None:
            try:
                yield target.id, ast.literal_eval(value)
            except ValueError:  # computed when it is imported, which nobody here may ask for
                continue
