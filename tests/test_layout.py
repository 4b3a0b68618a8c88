"""The project's own rules: who imports whom, what loads nothing heavy, what files are called."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "sbert_repro"
# Each imports from those before it. What stands in one set stands side by side.
LAYERS = (
    {"data"},
    {"backbone", "pooling", "losses"},
    {"compose"},
    {"training", "cli"},
    {"inference"},
    {"encoders"},
    {"evaluation"},
    {"benchmarks"},
    {"tables"},
    {"report"},
    {"export"},
)
# Read on a laptop, on a login node, in a notebook: seconds matter, and torch costs several.
LIGHT = (
    "errors",
    "facts",
    "storage",
    "config",
    "ledger",
    "similarity",
    "compose",
    "data.read",
    "tables.spec",
    "tables.plan",
    "tables.cells",
    "tables.render",
    "tables.printed",
    "tables.claims",
    "tables.expected",
    "tables.launch",
    "tables.forecast",
    "training.run",
    "encoders.run",
    "evaluation.run",
    "report.results",
    "report.plots",
    "report.page",
)
HEAVY = ("torch", "transformers", "pytorch_lightning", "datasets", "wandb", "sentence_transformers")
SAYS_NOTHING = {"util", "utils", "helper", "helpers", "common", "misc", "manager"}
CODE = sorted(
    path
    for path in (
        ROOT / "train.py",
        *(f for d in ("src", "scripts", "tests") for f in (ROOT / d).rglob("*.py")),
    )
    if "egg-info" not in str(path)
)
MODULES = sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a tree names in an import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + str(node.module or "")
            yield from (start, *(f"{start}.{alias.name}" for alias in node.names))


def ours(path: Path) -> set[str]:
    """Second words of the project's modules that a file imports: `data`, `errors`, ..."""
    named = list(imports(ast.parse(path.read_text(encoding="utf-8"))))
    assert not [name for name in named if name.startswith(".")], "a dot hides which layer is meant"
    found = [name.split(".") for name in named]
    return {words[1] for words in found if words[0] == "sbert_repro" and len(words) > 1}


def rank(folder: str) -> int:
    """Place in LAYERS; modules that stand in none of them are the base, below all."""
    places = [place for place, layer in enumerate(LAYERS) if folder in layer]
    return places[0] if places else -1


def test_every_folder_has_a_layer():
    folders = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert folders <= set().union(*LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downwards(path):
    here = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert not {name for name in ours(path) - {here} if 0 <= rank(name) >= rank(here)}


@pytest.mark.parametrize("path", sorted((SOURCE / "tables").glob("*.py")), ids=name_of)
def test_only_launch_starts_work(path):
    if path.name != "launch.py":
        assert not ours(path) & {"training", "evaluation"}


def test_light_modules_load_nothing_heavy():
    names = [f"sbert_repro.{name}" for name in LIGHT]
    code = (
        f"import sys, importlib; [importlib.import_module(n) for n in {names}]; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(HEAVY)


def test_names_say_something():
    parts = {part for path in CODE for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not parts & SAYS_NOTHING


def test_packages_hold_no_code_in_init():
    for path in SOURCE.rglob("__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1 and ast.get_docstring(ast.Module(body, [])), name_of(path)


def test_paths_go_through_pathlib():
    assert not [
        name_of(path)
        for path in CODE
        if "os.path" in set(imports(ast.parse(path.read_text("utf-8"))))
    ]


def targets(node: object) -> Iterator[str]:
    """Every `_target_` below a node of a YAML file."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from targets(child)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=name_of)
def test_every_target_exists(path):
    for target in targets(yaml.safe_load(path.read_text(encoding="utf-8"))):
        module, _, attribute = target.rpartition(".")
        assert callable(getattr(importlib.import_module(module), attribute, None)), target
