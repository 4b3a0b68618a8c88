"""One lock says what is installed; everything else that names a version must agree with it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read_requirements(path: Path) -> list[str]:
    """The lines of a requirements file that say something."""
    lines = [
        line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return [line for line in lines if line]


def pins(lines: list[str]) -> dict[str, str]:
    """Name to version; a line that is no exact pin is an error."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
        assert match, f"{line!r} is no exact pin"
        found[canonicalize_name(match[1])] = match[2]
    return found


LOCK = pins(read_requirements(ROOT / "requirements.lock"))


def conda_pins() -> dict[str, str]:
    """What environment.yml installs with pip, `-r FILE` followed, the project itself left out."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (asked,) = (item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    lines: list[str] = []
    for line in asked:
        option, _, value = line.partition(" ")
        if option == "-r":
            lines += read_requirements(ROOT / value)
        elif line != "-e .":
            lines.append(line)
    return pins(lines)


def test_conda_gets_the_versions_of_the_lock():
    assert conda_pins() == LOCK


def test_conda_gets_a_python_the_project_accepts():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (python,) = (d for d in environment["dependencies"] if str(d).startswith("python="))
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))


@pytest.mark.parametrize(
    "line",
    [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["dev"],
        *(r for r in read_requirements(ROOT / "requirements.in") if not r.startswith(".")),
    ],
)
def test_lock_holds_every_requirement(line):
    wanted = Requirement(line)
    assert wanted.specifier.contains(LOCK[canonicalize_name(wanted.name)])


EXTRAS = sorted(set(PROJECT["optional-dependencies"]) - {"dev"})


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_lock_of_an_extra_holds_it_and_changes_nothing_in_the_lock(extra):
    beside = pins(read_requirements(ROOT / f"requirements-{extra}.lock"))
    assert not set(beside) & set(LOCK)
    both = {**LOCK, **beside}
    for line in PROJECT["optional-dependencies"][extra]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(both[canonicalize_name(wanted.name)])


def test_extras_can_be_installed_together():
    wanted: dict[str, set[str]] = {}
    for extra in EXTRAS:
        for name, version in pins(read_requirements(ROOT / f"requirements-{extra}.lock")).items():
            wanted.setdefault(name, set()).add(version)
    assert not {name: versions for name, versions in wanted.items() if len(versions) > 1}


def test_every_lock_of_an_extra_is_one_of_an_extra():
    locks = {p.stem.removeprefix("requirements-") for p in ROOT.glob("requirements-*.lock")}
    assert locks == set(EXTRAS)


def test_every_import_is_a_declared_dependency():
    # What another package happens to bring along is gone the day it stops needing it.
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").glob("*.py"), ROOT / "train.py"]
    named: set[str] = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named.add(str(node.module).partition(".")[0])
    others = named - set(sys.stdlib_module_names) - {"sbert_repro"}
    declared = {canonicalize_name(Requirement(r).name) for r in PROJECT["dependencies"]}
    brought_by = packages_distributions()
    assert not {n for n in others if not declared & set(map(canonicalize_name, brought_by[n]))}


def test_lock_fits_machines_with_and_without_a_gpu():
    # torch itself asks for the CUDA packages of its build; pinned here, laptops would fetch them.
    assert LOCK["torch"] == "2.13.0"
    assert not [name for name in LOCK if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_citation_names_the_paper_and_this_repository():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    paper = citation["preferred-citation"]
    assert [a["family-names"] for a in paper["authors"]] == ["Reimers", "Gurevych"]
    assert (paper["year"], paper["doi"]) == (2019, "10.18653/v1/D19-1410")


def test_licence_is_the_whole_text():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
