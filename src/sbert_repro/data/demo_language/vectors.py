"""Word vectors of the demo's language, as training on much text would have given them.

Words for one concept lie close together and those of one kind not far apart; so do a word and its
opposite, as in real word vectors, which know what a word is about better than what it says of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sbert_repro.data.demo_language.words import ACTIONS, CONCEPTS, KINDS, inflected, vocabulary

NOISE, OWN, OPPOSED = 0.3, 1.0, 0.5
"""What a word, its concept, and a side of two opposites add to the vector of a kind."""


def word_vectors(width: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Make vectors.

    Args:
        width: Numbers of a vector.
        seed: Another one gives other vectors with the same neighbours.

    Returns:
        dict[str, NDArray[np.float64]]: Word → vector, rounded to the four digits that are written.
    """
    # Only PCG64's doubles are used: their stream is the same on every machine.
    generator = np.random.Generator(np.random.PCG64(seed))

    def drawn() -> NDArray[np.float64]:
        return generator.random(width) - 0.5

    kinds = {concept.kind: drawn() for concept in CONCEPTS.values()}
    found: dict[str, NDArray[np.float64]] = {}
    pairs: dict[str, NDArray[np.float64]] = {}
    for concept in CONCEPTS.values():
        shared = pairs.get(concept.opposite)
        if shared is None:
            shared = pairs[concept.name] = OWN * drawn()
        middle = kinds[concept.kind] + shared + (OPPOSED * drawn() if concept.opposite else 0.0)
        for word in concept.words:
            own = middle + NOISE * drawn()
            forms = inflected(word) if concept in ACTIONS else ()
            found |= dict.fromkeys((word, *forms), own)
    for kind, words in KINDS.items():
        found |= {word: kinds.get(kind, drawn()) + NOISE * drawn() for word in words}
    rest = [word for word in vocabulary() if word not in found and not word.startswith("##")]
    found |= {word: drawn() for word in rest}
    return {word: vector.round(4) for word, vector in found.items()}


def as_text(vectors: dict[str, NDArray[np.float64]], *, header: bool) -> Iterator[str]:
    """Write vectors as published files do.

    Args:
        vectors: Word → vector.
        header: Start with the numbers of words and of numbers, as fastText does and GloVe does not.

    Yields:
        str: Lines.
    """
    if header:
        yield f"{len(vectors)} {len(next(iter(vectors.values())))}"
    for word, vector in vectors.items():
        yield " ".join([word, *(f"{number:.4f}" for number in vector)])
