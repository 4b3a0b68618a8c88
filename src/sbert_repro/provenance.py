"""Where a number came from: code, locked versions and machine, gathered without importing torch."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from sbert_repro.storage import sha256_of

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, when the package runs from one (an installed copy has no git state and no lock)."""

_CODE = ("src", "configs", "scripts", "train.py", "requirements.lock")
_LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "pytorch-lightning",
    "numpy",
    "scipy",
    "pyarrow",
    "hydra-core",
    "wandb",
)


@functools.cache
def provenance() -> dict[str, Any]:
    """Describe the code and the machine behind a number.

    Read once a process: the code that runs is the code that was there when the process began,
    whatever is edited while a long run is under way.

    Returns:
        `git` (commit, dirty), `lock_sha256`, `hardware`, `versions`; what cannot be found is None.
    """
    return {
        "git": git_state(ROOT),
        "lock_sha256": _lock_sha256(ROOT / "requirements.lock"),
        "hardware": hardware(),
        "versions": versions(),
    }


def git_state(root: Path) -> dict[str, Any]:
    """Commit and whether code differs from it.

    Only code and configs count as dirt: a table that writes its own results must not make every
    later number look as if it came from changed code.

    Args:
        root: the checkout.

    Returns:
        `commit` (None outside a repository) and `dirty` (None when that cannot be told).
    """
    commit = _output(["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD"])
    paths = [name for name in _CODE if (root / name).exists()]
    changed = _output(["git", "-C", str(root), "status", "--porcelain", "--", *paths])
    return {"commit": commit or None, "dirty": None if changed is None else bool(changed)}


def hardware() -> dict[str, Any]:
    """CPU model, usable cores, RAM in GiB and the names of the GPUs this process may use."""
    return {
        "cpu": _cpu_model(),
        "cores": _cores(),
        "ram_gib": _ram_gib(),
        "gpus": _gpus(),
    }


def versions() -> dict[str, str | None]:
    """Python and the libraries that can move a number."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _lock_sha256(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _cores() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _ram_gib() -> float | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    return round(total / 2**30, 1)


def _gpus() -> list[str]:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return []
    names = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return [line.strip() for line in (names or "").splitlines() if line.strip()]
