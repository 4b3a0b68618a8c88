"""Prove the GPU paths on a machine that has one: python scripts/gpu_check.py part=a|b|c.

The parts take 5, 8 and 7 minutes at most and need no network; reports go to ``results/gpu``.
Without a GPU it says what it would do, and runs what a CPU can. Exit status 1 when a check failed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sbert_repro.cli import one_line_errors
from sbert_repro.errors import UserError

_OPTIONS = ("part", "check", "cache", "results")


def main() -> None:
    """Run one part, or one check of it."""
    words, rest = {"part": "a", "cache": ".cache", "results": "results"}, []
    for word in sys.argv[1:]:
        name, _, value = word.partition("=")
        if "check" in words and name not in _OPTIONS:
            rest.append(word)  # of the command that a check runs
        elif name in _OPTIONS:
            words[name] = value
        else:
            expected = "part=a|b|c, cache=FOLDER, results=FOLDER"
            raise UserError(f"there is no such option; there are {expected}", where=word)
    # Heavy imports stand here so that a misspelt option is refused at once.
    import torch

    from sbert_repro.benchmarks.gpu_check import FUNCTIONS, run

    cache = Path(words["cache"]).absolute()
    if "check" in words:
        for line in FUNCTIONS[words["check"]](cache, *rest):
            print(line, flush=True)
        return
    if not torch.cuda.is_available():
        print("This machine has no GPU: nothing here says anything about one. What a CPU can runs.")
    failed = False
    for one in run(words["part"], cache, Path(words["results"])):
        print(f"{one.state:>7} {one.seconds:6.1f} s  {one.name}", flush=True)
        if one.state != "held":
            print("\n".join(f"                   {line}" for line in one.said.splitlines()[-3:]))
        failed |= one.state == "failed"
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    one_line_errors(main, __doc__)
