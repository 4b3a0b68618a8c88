"""The demo's Universal Sentence Encoder: made-up word vectors in the format of TensorFlow Hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from sbert_repro.data.demo_language import word_vectors
from sbert_repro.encoders.use import INSTALL, UseEncoder, tensorflow_module
from sbert_repro.errors import UserError
from sbert_repro.storage import make_folder, sha256_of

VERSION = 1
"""Raised by hand when the same size would give another model."""
WIDTH, SEED = 48, 3
_BUCKETS = 1 << 14
"""Rows of the table of words; so many that hardly two of the demo's words share one."""


def demo_use(
    path: str, *, label: str, models_root: str | Path, progress: bool = False
) -> UseEncoder:
    """Write the model where it is not there yet, which only TensorFlow can do, and load it.

    Args:
        path: Its folder in ``models_root``.
        label: The name that a table prints.
        models_root: The demo's folder of models.
        progress: Show a bar when the work is long.

    Returns:
        UseEncoder: It averages the vectors of a sentence's words.

    Raises:
        UserError: If TensorFlow is not installed, or the model cannot be written.
    """
    if importlib.util.find_spec("tensorflow") is None:
        found = f"{label}: needs TensorFlow, which is not installed"
        raise UserError(found, mend=INSTALL, code="missing")
    made_of = {"version": VERSION, "width": WIDTH, "seed": SEED}
    make_folder(Path(models_root) / path, {"generator": __name__, **made_of}, _fill)
    return UseEncoder(path, label=label, models_root=models_root, progress=progress)


def _fill(folder: Path) -> list[dict[str, Any]]:
    tensorflow, vectors = tensorflow_module(), word_vectors(WIDTH, SEED)
    bucket_of = tensorflow.strings.to_hash_bucket_fast
    rows = np.zeros((_BUCKETS, WIDTH), np.float32)
    rows[bucket_of(list(vectors), _BUCKETS).numpy()] = list(vectors.values())

    class Model(tensorflow.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self.rows = tensorflow.Variable(rows)

        @tensorflow.function(input_signature=[tensorflow.TensorSpec([None], "string")])
        def __call__(self, texts: Any) -> Any:
            plain = tensorflow.strings.regex_replace(tensorflow.strings.lower(texts), r"[.,?!]", "")
            words = tensorflow.strings.split(plain)
            chosen = tensorflow.gather(self.rows, bucket_of(words.values, _BUCKETS))
            sums = tensorflow.math.unsorted_segment_sum(chosen, words.value_rowids(), words.nrows())
            lengths = tensorflow.maximum(words.row_lengths(), 1)
            return sums / tensorflow.cast(lengths, "float32")[:, None]

    model = Model()
    tensorflow.saved_model.save(model, str(folder), signatures=model.__call__)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [{"file": p.relative_to(folder).as_posix(), "sha256": sha256_of(p)} for p in files]
