"""Made-up test sets in the data root's layout, and an encoder that costs nothing."""

import hashlib

import numpy as np
import pandas as pd
import pytest

PARTS = {"MSRpar": 12, "MSRvid": 20, "SMTeuroparl": 8}
WORDS = "a the man woman dog cat plays runs eats sings red green big small outside no".split()


def pairs(count, seed, low=0.0):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 9, (2, count))
    texts = [[" ".join(generator.choice(WORDS, n)) for n in column] for column in lengths]
    score = generator.uniform(low, 5, count).round(1)
    return pd.DataFrame({"sentence1": texts[0], "sentence2": texts[1], "score": score})


@pytest.fixture
def small_root(tmp_path):
    """sts12 with three sub-sets, stsb and the three splits of sickr, all of them incomplete."""
    root = tmp_path / "data"
    sizes = {"stsb/test": 30, "sickr/train": 9, "sickr/dev": 7, "sickr/test": 8}
    frames = {name: pairs(n, n, low=1.0) for name, n in sizes.items()}
    year = pairs(sum(PARTS.values()), 3)
    year.insert(0, "subset", [name for name, n in PARTS.items() for _ in range(n)])
    for name, frame in {**frames, "sts12/test": year}.items():
        path = root / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path)
    return root


class Hashes:
    """Vectors that depend on the text alone; counts what it is asked for."""

    label = "hashes"

    def __init__(self, salt="", width=8):
        self.identity = {"encoder": "hashes", "salt": salt, "width": width}
        self.facts = []
        self.asked = []

    def encode(self, sentences):
        self.asked.append(list(sentences))
        rows = [hashlib.sha256(f"{self.identity}{text}".encode()).digest() for text in sentences]
        bits = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
        return bits[:, : self.identity["width"]].astype(np.float32) - 100

    @property
    def texts(self):
        return [text for asked in self.asked for text in asked]


class Lengths:
    """Scores pairs together: the closer in length, the closer."""

    label = "lengths"
    identity = {"encoder": "lengths"}  # noqa: RUF012
    facts = ()

    def score(self, pairs):
        return np.array([-abs(len(a) - len(b)) for a, b in pairs], float)


@pytest.fixture
def hashes():
    return Hashes


@pytest.fixture
def lengths():
    return Lengths()
