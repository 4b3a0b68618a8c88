"""What a model folder of a BiLSTM says, read without torch."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import TypedDict

from sbert_repro import json_files
from sbert_repro.backbone.weights import AGAIN
from sbert_repro.data.word_vectors import FOLDER, WordVectors, find
from sbert_repro.data.word_vectors import load as load_word_vectors

DESCRIPTION = "bilstm.json"
"""Its presence tells a model folder of this backbone from one of a transformer."""


def is_bilstm(folder: Path) -> bool:
    """Tell whether a model folder was written by `BiLstmBackbone.save`."""
    return (folder / DESCRIPTION).is_file()


class Described(TypedDict):
    """`DESCRIPTION` in a model folder."""

    hidden: int


def described(folder: Path) -> Described:
    """Read the shape of a network that was trained here.

    Args:
        folder: A model folder.

    Returns:
        Its description.

    Raises:
        UserError: If it is missing or damaged.
    """
    return json_files.read(folder / DESCRIPTION, Described, AGAIN)


def word_vectors(
    path: str, data_root: str | Path | None, cache: str | Path, progress: bool
) -> WordVectors:
    """Open the word vectors that an option names.

    Args:
        path: A file, or its name in ``<data_root>/word_vectors``.
        data_root: The data root.
        cache: Folder of all caches.
        progress: Draw a bar when the file is met for the first time.

    Returns:
        All words of the file.

    Raises:
        UserError: If there is no such file, or it is damaged.
    """
    folders = [] if data_root is None else [Path(data_root) / FOLDER]
    return load_word_vectors(find(path, folders), Path(cache), progress=progress)
