"""Where the weights of a model lie: on disk, in the Hub's cache or on the Hub."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sbert_repro.data.download import retried
from sbert_repro.errors import UserError
from sbert_repro.storage import folder_sha256

_NEEDED = ["*.safetensors", "*.json", "vocab.txt", "merges.txt", "*.model"]
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


def find_model(name: str, models_root: Path | None = None, revision: str | None = None) -> Path:
    """Look a model up: a path, the models root, the Hub's local cache, the Hub, in this order.

    Args:
        name: A folder, or a Hub id such as ``google-bert/bert-base-uncased``.
        models_root: Folder of models (``SBERT_MODELS`` or ``paths.models``), if there is one.
        revision: Commit, tag or branch on the Hub; ``None`` for the default one. A local folder has
            no revisions.

    Returns:
        Path: The folder as it lies there; `weights_folder` gives the part that the weights are in.

    Raises:
        UserError: If it is in none of the four places.
    """
    places = [Path(name).expanduser()]
    if models_root is not None:
        places += [models_root / name, models_root / Path(name).name]
    for place in places:
        if place.is_dir():
            return place
    where, mend = f"model {name}: no such folder", "Give its path, or set SBERT_MODELS"
    if models_root is not None:
        where += f", not in {models_root}/"
        mend = f"Copy the folder to {models_root}/{Path(name).name}, or set SBERT_MODELS"
    if not _HUB_ID.fullmatch(name):
        raise UserError(f"{where}. {mend}")
    found = _from_hub(name, revision)
    if isinstance(found, Path):
        return found
    raise UserError(f"{where}, and not from the Hub ({found}). {mend}, or run: hf download {name}")


def _from_hub(name: str, revision: str | None) -> Path | str:
    """Give the cached or downloaded snapshot, or in few words why there is none."""
    from huggingface_hub import constants, get_session, snapshot_download

    def get(local: bool) -> Path:
        return Path(
            snapshot_download(
                repo_id=name, revision=revision, allow_patterns=_NEEDED, local_files_only=local
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


def weights_folder(folder: Path) -> Path:
    """Find the transformer inside of a model folder.

    Args:
        folder: A plain transformers folder, or one in the layout of sentence-transformers, which
            keeps the transformer at its root (newer) or in ``0_Transformer`` (older).

    Returns:
        Path: The folder that holds ``config.json`` and the weights.

    Raises:
        UserError: If it holds neither.
    """
    for place in (folder, folder / "0_Transformer"):
        if _describes_a_model(place / "config.json"):
            if any(place.glob("*.safetensors")):
                return place
            raise UserError(
                f"{place}: no weights in safetensors format, expected model.safetensors (pickled "
                "weights are not read); get the safetensors revision of the model"
            )
    raise UserError(
        f"{folder}: not a model folder; expected config.json with a model_type, model.safetensors "
        "and a tokenizer, as transformers or sentence-transformers save them"
    )


def _describes_a_model(path: Path) -> bool:
    try:
        return "model_type" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def model_sha256(folder: Path) -> str:
    """Give what a model is by content: weights, configuration and tokenizer, wherever they lie.

    Args:
        folder: A model folder.

    Returns:
        str: 64 hex digits, for run keys.
    """
    return folder_sha256(weights_folder(folder), _CONTENT)
