"""A small BERT that has read no sentence pair: GloVe's word vectors, all other weights random.

The small encoders that packages bring were trained on NLI already, so that NLI shows no effect on
them. Whatever a model that starts here knows beyond single words, it has learnt in its run.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sbert_repro.backbone.random_bert import Size, write_random_bert
from sbert_repro.data import word_vectors
from sbert_repro.data.word_vectors import WordVectors
from sbert_repro.storage import make_folder, sha256_of

if TYPE_CHECKING:  # seconds to import, and what only looks a result up needs none of it
    from transformers import BertModel

NAME = "glove-bert"
"""What ``encoder.path`` calls it."""
VECTORS = "glove.6B.50d"
WORDS = 20_000
SIZE = Size(layers=2, width=64, heads=2, intermediate=128, spread=0.02)
VERSION = 1
"""Raised by hand when the same vectors would give another model."""


def make_glove_bert(folder: Path) -> Path:
    """Write the model where it is not there yet; it takes seconds.

    Args:
        folder: Where to.

    Returns:
        The folder.

    Raises:
        UserError: If the package of the word vectors is not installed (code ``missing``), or the
            folder holds anything else or cannot be written.
    """
    place = word_vectors.find(VECTORS, [])

    def fill(own: Path) -> list[dict[str, Any]]:
        write_glove_bert(own, word_vectors.load(place, folder.parent), WORDS, SIZE)
        return [{"file": p.name, "sha256": sha256_of(p)} for p in sorted(own.iterdir())]

    stamp = {"generator": __name__, "version": VERSION, "size": asdict(SIZE), "words": WORDS}
    make_folder(folder, {**stamp, "vectors": VECTORS}, fill)
    return folder


def write_glove_bert(folder: Path, vectors: WordVectors, words: int, size: Size) -> None:
    """Write a BERT whose word pieces are the most frequent words of some vectors.

    A word that is none of them is spelt out in letters. The first ``E`` of a word's ``size.width``
    numbers are its vector, each of them standardised over all words, and the others are 0.

    Args:
        folder: Where to; made when missing.
        vectors: Vectors ``[V, E]``, the most frequent word first.
        words: How many of them.
        size: Shape of the network, ``E`` or wider; seed and spread of its other weights.
    """
    import torch

    chosen = list(islice(_whole_words(vectors.index), words))
    table = vectors.values[[vectors.index[word] for word in chosen]].astype(np.float64)
    # Rounded, and drawn by numpy: sums and torch's random numbers differ in their last digits from
    # one processor to another, and the bytes of a model are part of the key of each of its runs.
    table = ((table - table.mean(0)) / table.std(0)).round(3)
    random = np.random.default_rng(size.seed)

    def start(model: BertModel, ids: dict[str, int]) -> None:
        with torch.no_grad():
            for _, weight in sorted(model.named_parameters()):
                if weight.dim() > 1:
                    drawn = random.normal(0, size.spread, tuple(weight.shape))
                    weight.copy_(torch.from_numpy(drawn))
            rows = torch.zeros(len(chosen), size.width)
            rows[:, : table.shape[1]] = torch.from_numpy(table)
            model.embeddings.word_embeddings.weight[[ids[word] for word in chosen]] = rows

    write_random_bert(folder, chosen, size, start)
    _without_version(folder / "config.json")


def _whole_words(words: Iterable[str]) -> Iterator[str]:
    """Leave out what BERT's tokenizer would cut or change: accents, and parts such as "'s"."""
    from tokenizers.pre_tokenizers import BertPreTokenizer

    cut = BertPreTokenizer().pre_tokenize_str
    for word in words:
        plain = not any(map(unicodedata.combining, unicodedata.normalize("NFD", word)))
        if plain and len(cut(word)) == 1:
            yield word


def _without_version(path: Path) -> None:
    """Leave out which release of transformers wrote it: the model is the same."""
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["transformers_version"]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
