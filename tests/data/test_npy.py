"""A growing .npy file is, at the end, the file numpy would have written."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbert_repro.data.npy import AppendedArray


@given(pieces=st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=50), max_size=8))
def test_pieces_are_read_back_as_one_array(pieces: list[list[int]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "grown.npy"
        with AppendedArray(path, np.int32) as array:
            for piece in pieces:
                array.append(np.array(piece, dtype=np.int32))
        read = np.load(path)
    assert read.dtype == np.int32
    assert read.tolist() == [value for piece in pieces for value in piece]


def test_it_can_be_mapped(tmp_path: Path) -> None:
    with AppendedArray(tmp_path / "a.npy", np.int64) as array:
        array.append(np.arange(100_000))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    assert mapped[99_999] == 99_999


def test_a_full_disk_is_not_hidden(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError, match="No space left"), AppendedArray(full, np.int32) as array:
        array.append(np.arange(100_000))
