"""Whether a local folder that bears a model's name holds that model's weights."""

from __future__ import annotations

from pathlib import Path

from sbert_repro.backbone.lookup import weights_folder
from sbert_repro.storage import sha256_of

SHA256 = {
    "google-bert/bert-base-uncased": (
        "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3"
    ),
    "sentence-transformers/all-MiniLM-L6-v2": (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    ),
}
"""Hub id → sha256 of ``model.safetensors`` at the revision that ``configs/encoder`` pins. Those of
other models are not known here, so what is found is printed and not compared."""
_SHOWN = 16


def notes(name: str, revision: str | None, folder: Path) -> list[str]:
    """Say what a number rests on when the weights of a pinned model came from a local folder.

    Args:
        name: The Hub id that was asked for.
        revision: The revision that was asked for; ``None``: any folder will do, nothing is said.
        folder: Where the model was found.

    Returns:
        list[str]: Nothing for a snapshot of the Hub at this revision, and for weights that are
        known to be the model's.
    """
    file = weights_folder(folder) / "model.safetensors"
    if revision is None or folder.name == revision or not file.is_file():
        return []
    found = sha256_of(file)
    known = SHA256.get(name)
    if known == found:
        return []
    compared = "not compared with the Hub's" if known is None else f"the Hub's are {known[:_SHOWN]}"
    return [f"{name}: weights of a local folder, sha256 {found[:_SHOWN]}, {compared}"]
