"""Resolve requirements.in into requirements.lock with pip itself, so that set-up and lock use one resolver."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Packages that torch asks for by exact version on machines with a GPU, and only there: naming them
# would make every laptop download them.
TORCH_BRINGS = ("nvidia-", "cuda-", "triton")
HEADER = """\
# Made by `make lock`: pip {pip} resolved requirements.in (which reads pyproject.toml) on Python {python}.
# Do not edit. Left out: the project itself, and the CUDA packages that torch brings where it needs them.
"""


def resolve() -> dict[str, object]:
    """Pip's installation report for requirements.in, as if nothing were installed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["--dry-run", "--ignore-installed", "--quiet", "--report", str(report)]
        command = [sys.executable, "-m", "pip", "install", *options, "-r", "requirements.in"]
        subprocess.run(command, cwd=ROOT, check=True)
        return json.loads(report.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def pins(report: dict[str, object]) -> list[str]:
    """`name==version` lines of a report, sorted, without build labels such as `+cpu`."""
    found = {}
    for item in report["install"]:  # type: ignore[attr-defined]
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
