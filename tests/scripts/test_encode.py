"""python scripts/encode.py: a line a row, any encoder, one-line refusals."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sbert_repro.encoders.transformer import TransformerEncoder

TEXTS = ["a man plays guitar", "", "no 🙂", "a man plays guitar", "the dog sleeps in the park"]


@pytest.fixture
def encode(tmp_path, monkeypatch, capsys):
    """Runs the command on TEXTS; gives its status and what it printed."""
    source = tmp_path / "s.txt"
    source.write_text("\n".join(TEXTS), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(*options):
        texts = [] if any(word.startswith("input=") for word in options) else [f"input={source}"]
        monkeypatch.setattr(sys, "argv", ["encode.py", *texts, *options])
        script = str(Path(__file__).parents[2] / "scripts" / "encode.py")
        try:
            runpy.run_path(script, run_name="__main__")
            status = 0
        except SystemExit as end:
            status = int(end.code)
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return run


def test_vectors_are_those_of_encode_and_are_computed_once(encode, tiny_bert, tmp_path):
    options = ["encoder=transformer", f"encoder.path={tiny_bert}", "block=2", "output=e.npy"]
    status, out, err = encode(*options)
    assert (status, err) == (0, "") and "e.npy: 5 vectors of 32 numbers\n" in out
    found = np.load(tmp_path / "e.npy", mmap_mode="r")
    np.testing.assert_allclose(found, TransformerEncoder(str(tiny_bert)).encode(TEXTS), atol=1e-5)
    status, out, _ = encode(*options)
    assert status == 0 and out.strip().endswith("5 of them by an earlier run")
    status, _, err = encode(*options, "pooling=max")
    assert status == 2 and err.count("\n") == 1 and "made with another encoder" in err
    assert encode(*options, "pooling=max", "overwrite=true")[0] == 0
    assert not np.allclose(np.load(tmp_path / "e.npy"), found)


def test_parquet_holds_sentences_and_vectors(encode, tiny_bert, tmp_path):
    encode("encoder=transformer", f"encoder.path={tiny_bert}", "block=2", "output=e.parquet")
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.column("sentence").to_pylist() == TEXTS
    vectors = np.array(table.column("vector").to_pylist(), np.float32)
    np.testing.assert_allclose(vectors, TransformerEncoder(str(tiny_bert)).encode(TEXTS), atol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".cache", "e.parquet", "s.txt"]


def test_any_encoder(encode, tmp_path):
    (tmp_path / "v.txt").write_text("man 1 2\ndog 3 4\n")
    status, _, _ = encode("encoder=word_average", "encoder.path=v.txt", "output=e.npy")
    assert status == 0
    np.testing.assert_array_equal(np.load(tmp_path / "e.npy")[[0, 1, 4]], [[1, 2], [0, 0], [3, 4]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["output=e.txt"], "expected a file whose name ends in .npy or .parquet"),
        (["output=e.npy", "engine=fast"], "engine=fast: there is no such engine"),
        (["output=e.npy", "block=0"], "block=0: expected at least 1"),
        (["output=e.npy", "input=none.txt"], "none.txt: cannot be read"),
        (["output=/proc/e.npy"], "/proc/.e.npy.lock: cannot be written"),
    ],
)
def test_mistakes_are_refused_in_one_line(encode, tiny_bert, options, message):
    status, _, err = encode("encoder=transformer", f"encoder.path={tiny_bert}", *options)
    assert status == 2 and err.count("\n") == 1 and message in err
