"""Resolve requirements.in into requirements.lock with pip, which `make setup` installs with too.

Each extra of pyproject.toml except dev gets a requirements-NAME.lock with what it needs beyond it.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# torch itself asks for these by exact version on machines with a GPU. Pinned here, every laptop
# would download them.
TORCH_BRINGS = ("nvidia-", "cuda-", "triton")
HEADER = """\
# Made by `make lock`, do not edit: {source} as resolved by
# pip {pip} on Python {python}. Left out: {left_out}
"""
LEFT_OUT = """the project itself, and the CUDA packages that
# torch brings along where it needs them."""
BESIDE = "what stands in requirements.lock."


def resolve(*asked: str) -> dict[str, Any]:
    """Return pip's installation report for some requirements, as if nothing were installed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--ignore-installed", "--quiet", "--report", str(report)]
        command = [sys.executable, "-m", "pip", "install", *options, *asked]
        subprocess.run(command, cwd=ROOT, check=True)
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found


def pins(report: dict[str, Any]) -> list[str]:
    """Return a report's sorted `name==version` lines, without build labels such as `+cpu`."""
    found = {}
    for item in report["install"]:
        name = item["metadata"]["name"].lower().replace("_", "-")
        found[name] = item["metadata"]["version"].partition("+")[0]
    del found["sbert-repro"]
    kept = {name: found[name] for name in found if not name.startswith(TORCH_BRINGS)}
    return [f"{name}=={kept[name]}" for name in sorted(kept)]


def write(name: str, report: dict[str, Any], lines: list[str], **said: str) -> None:
    """Write one lock file under a header that says what it was made from."""
    header = HEADER.format(pip=report["pip_version"], python=platform.python_version(), **said)
    (ROOT / name).write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{name}: {len(lines)} packages")


def extras() -> list[str]:
    """Return the names of the extras that a user may install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted(set(project["optional-dependencies"]) - {"dev"})


def main() -> None:
    """Write requirements.lock and the lock of each extra; with names given, only those extras'."""
    if not sys.argv[1:]:
        report = resolve("-r", "requirements.in")
        source = "requirements.in and pyproject.toml"
        write("requirements.lock", report, pins(report), source=source, left_out=LEFT_OUT)
    common = set((ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines())
    chosen, done = sys.argv[1:] or extras(), set(extras()) - set(sys.argv[1:] or extras())
    for extra in chosen:
        # Constrained by the other locks, so that an extra changes none of their versions.
        locks = ["requirements.lock", *(f"requirements-{name}.lock" for name in sorted(done))]
        report = resolve(*(word for lock in locks for word in ("-c", lock)), f".[{extra}]")
        done.add(extra)
        lines = [line for line in pins(report) if line not in common]
        source = f"the extra {extra} of pyproject.toml"
        write(f"requirements-{extra}.lock", report, lines, source=source, left_out=BESIDE)


if __name__ == "__main__":
    main()
