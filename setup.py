"""Put the commands and their options into the wheel; all else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ("train.py", "scripts", "configs")


class Build(build_py):
    """Copy what a checkout has beside `src/` to where `sbert_repro.config.HOME` finds it."""

    def run(self) -> None:
        """Build as usual, then copy; an editable install runs from the checkout itself."""
        super().run()
        if self.editable_mode:
            return
        home = Path(self.build_lib) / "sbert_repro" / "_shipped"
        shutil.rmtree(home, ignore_errors=True)
        for name in SHIPPED:
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                home.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, home / name)


setup(cmdclass={"build_py": Build})
