"""Resolve requirements.in into requirements.lock with pip, the resolver that set-up uses."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Packages that torch asks for by exact version on machines with a GPU, and only there: naming them
# would make every laptop download them.
TORCH_BRINGS = ("nvidia-", "cuda-", "triton")
HEADER = """\
# Made by `make lock`, do not edit: requirements.in and pyproject.toml as resolved by
# pip {pip} on Python {python}. Left out: the project itself, and the CUDA packages that
# torch brings along where it needs them.
"""


def resolve() -> dict[str, Any]:
    """Pip's installation report for requirements.in, as if nothing were installed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--ignore-installed", "--quiet", "--report", str(report)]
        command = [sys.executable, "-m", "pip", "install", *options, "-r", "requirements.in"]
        subprocess.run(command, cwd=ROOT, check=True)
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found


def pins(report: dict[str, Any]) -> list[str]:
    """`name==version` lines of a report, sorted, without build labels such as `+cpu`."""
    found = {}
    for item in report["install"]:
        name = item["metadata"]["name"].lower().replace("_", "-")
        found[name] = item["metadata"]["version"].partition("+")[0]
    del found["sbert-repro"]
    kept = {name: found[name] for name in found if not name.startswith(TORCH_BRINGS)}
    return [f"{name}=={kept[name]}" for name in sorted(kept)]


def main() -> None:
    """Write requirements.lock."""
    report = resolve()
    lines = pins(report)
    header = HEADER.format(pip=report["pip_version"], python=platform.python_version())
    (ROOT / "requirements.lock").write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"requirements.lock: {len(lines)} packages")


if __name__ == "__main__":
    main()
