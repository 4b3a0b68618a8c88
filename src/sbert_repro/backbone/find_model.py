"""Finding a model by name, on disk, in a package or on the Hub; and what its weights are."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from sbert_repro import json_files
from sbert_repro.backbone import glove_bert
from sbert_repro.data.download import retried
from sbert_repro.data.packages import INSTALL, MINILM, Package
from sbert_repro.errors import UserError
from sbert_repro.facts import Fact, fact
from sbert_repro.storage import filling, folder_sha256, sha256_of, write_file

REVISIONS = {
    "google-bert/bert-base-uncased": "86b5e0934494bd15c9632b12f734a8a67f723594",
    "google-bert/bert-large-uncased": "6da4b6a26a1877e173fca3225479512db81a5e5b",
    "FacebookAI/roberta-base": "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
    "FacebookAI/roberta-large": "722cf37b1afa9454edce342e7895e588b6ff1d59",
    "sentence-transformers/all-MiniLM-L6-v2": "8b3219a92973c328a8e22fadcfa821b5dc75636a",
}
"""The commits that ``configs/encoder`` pins and `make data` gets, for those that name none: what is
timed beside ours takes any model."""
SHA256 = {
    "google-bert/bert-base-uncased": (
        "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3"
    ),
    "sentence-transformers/all-MiniLM-L6-v2": (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    ),
}
"""Hub id → sha256 of ``model.safetensors`` at the revision that ``configs/encoder`` pins. Those of
other models are not known here, so what is found is reported and not compared."""
PACKAGED: dict[str, Package] = {"sentence-transformers/all-MiniLM-L6-v2": MINILM}
"""Hub id → the package whose one archive holds the model at the revision of ``REVISIONS``."""

_DOWNLOADED = ["*.safetensors", "*.json", "vocab.txt", "merges.txt", "*.model"]
_CONTENT = (
    ".safetensors",
    "config.json",
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    ".model",
)
_PATIENCE = 20.0
"""Seconds to wait for the Hub's first answer."""
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def find_model(
    name: str,
    models_root: Path | None = None,
    revision: str | None = None,
    cache: Path = Path(".cache"),
) -> Path:
    """Look a model up: as `at_hand`, then in the Hub's local cache, then on the Hub.

    Args:
        name: A folder, or a Hub id such as ``google-bert/bert-base-uncased``.
        models_root: Folder of models (``SBERT_MODELS`` or ``paths.models``), if there is one.
        revision: Commit, tag or branch on the Hub; ``None`` for that of ``REVISIONS``, or the
            default one. A local folder has no revisions.
        cache: Folder of all caches.

    Returns:
        The folder as it lies there; `weights_folder` returns the part that holds the weights.

    Raises:
        UserError: If it is nowhere, or the package that holds it is damaged.
    """
    if folder := at_hand(name, models_root, revision, cache):
        return folder
    mend = f"copy its folder to SBERT_MODELS{f' ({models_root})' if models_root else ''}"
    mend += ", or give its path as encoder.path"
    if not _HUB_ID.fullmatch(name):
        raise UserError(
            f"no model {Path(name).name} on this machine", where=name, mend=mend, code="missing"
        )
    found = _from_hub(name, revision or REVISIONS.get(name))
    if isinstance(found, Path):
        return found
    if name in PACKAGED:
        mend = f"{INSTALL} (a package holds it), {mend}"
    raise UserError(
        f"no model {name} on this machine",
        mend=f"{mend}, or run: hf download {name} (the Hub was asked: {found})",
        code="missing",
    )


def at_hand(name: str, models_root: Path | None, revision: str | None, cache: Path) -> Path | None:
    """Look a model up without asking the Hub: a path, the models root, an installed package.

    ``glove-bert`` is made of an installed package's word vectors.

    Args:
        name: As of `find_model`.
        models_root: As of `find_model`.
        revision: As of `find_model`.
        cache: Where what a package holds is unpacked, once.

    Returns:
        The folder, or ``None``.

    Raises:
        UserError: If the package is not the one that is known, or the disk is full.
    """
    places = [Path(name).expanduser()]
    if models_root is not None:
        places += [models_root / name, models_root / Path(name).name]
    for place in places:
        if place.is_dir():
            return place
    if name == glove_bert.NAME:
        return glove_bert.make_glove_bert(cache / "models" / name)
    if name not in PACKAGED or revision not in (None, REVISIONS[name]):
        return None
    try:
        (archive,) = PACKAGED[name].files()
    except UserError as problem:
        if problem.code == "missing":
            return None
        raise
    folder = cache / "models" / sha256_of(archive)[:16] / Path(name).name
    if not folder.is_dir():
        with filling(folder) as unpacked:
            zipfile.ZipFile(archive).extractall(unpacked)
            _write_vocabulary(unpacked)
    return folder


def _write_vocabulary(folder: Path) -> None:
    """Write ``vocab.txt``, which the Hub has beside ``tokenizer.json`` and the package leaves out.

    A model's files are part of every key (`model_sha256`), and this way it is the Hub's model.
    """
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    words: dict[str, int] = model["vocab"]
    in_order = sorted(words, key=lambda word: words[word])
    write_file(folder / "vocab.txt", "".join(f"{word}\n" for word in in_order))


def _from_hub(name: str, revision: str | None) -> Path | str:
    """Return the cached or downloaded snapshot, or in a few words why there is none."""
    from huggingface_hub import constants, get_session, snapshot_download

    def get(local: bool) -> Path:
        return Path(
            snapshot_download(
                repo_id=name, revision=revision, allow_patterns=_DOWNLOADED, local_files_only=local
            )
        )

    def ask_and_get() -> Path:
        # Asked once before: without a network the client asks for minutes, a line each time.
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
        return get(False)

    problem = ""
    for local in (True, False):
        try:
            # What is in the cache needs no network, and is asked for first.
            folder = get(True) if local else retried(ask_and_get, name)
        except Exception as error:  # the client raises a dozen kinds; all of them mean "not there"
            problem = type(error).__name__
            continue
        if any(folder.rglob("*.safetensors")):
            return folder
        problem = "no safetensors there"
    return problem


def model_name(folder: Path) -> str:
    """Name a model for its reader.

    Args:
        folder: Where it was found.

    Returns:
        The folder's name; for a snapshot of the Hub, whose own folder bears a commit, the model's.
    """
    snapshots = folder.parent
    if snapshots.name == "snapshots" and snapshots.parent.name.startswith("models--"):
        return snapshots.parent.name.rpartition("--")[2]
    return folder.name


def weights_folder(folder: Path) -> Path:
    """Find the transformer inside a model folder.

    Args:
        folder: A plain transformers folder, or one in the layout of sentence-transformers, which
            keeps the transformer at its root (newer) or in ``0_Transformer`` (older).

    Returns:
        The folder that holds ``config.json`` and the weights.

    Raises:
        UserError: If it holds neither.
    """
    for place in (folder, folder / "0_Transformer"):
        if _describes_a_model(place / "config.json"):
            if any(place.glob("*.safetensors")):
                return place
            raise UserError(
                "no weights in safetensors format; expected model.safetensors (pickled weights are "
                "not read)",
                where=place,
                mend="get the safetensors revision of the model",
            )
    raise UserError(
        "not a model folder; expected config.json with a model_type, model.safetensors and a "
        "tokenizer, as transformers or sentence-transformers save them",
        where=folder,
    )


def _describes_a_model(path: Path) -> bool:
    try:
        return "model_type" in json_files.read(path, dict[str, Any])
    except UserError:
        return False


def model_sha256(folder: Path) -> str:
    """Hash a model's content: weights, configuration and tokenizer, wherever they lie.

    Args:
        folder: A model folder.

    Returns:
        64 hex digits, for run keys.
    """
    return folder_sha256(weights_folder(folder), _CONTENT)


def weights_facts(name: str, revision: str | None, folder: Path) -> list[Fact]:
    """State whose weights a number rests on, where a pinned model came from a local folder.

    A folder that merely bears a model's name need not hold that model.

    Args:
        name: The Hub id that was asked for.
        revision: The revision that was asked for; ``None``: any folder will do.
        folder: Where the model was found.

    Returns:
        Nothing for a snapshot of the Hub at this revision, and for weights that are known to be the
        model's.
    """
    file = weights_folder(folder) / "model.safetensors"
    if revision is None or folder.name == revision or not file.is_file():
        return []
    found, expected = sha256_of(file), SHA256.get(name)
    if found == expected:
        return []
    return [fact("unknown_weights", model=name, sha256=found, expected=expected)]
