"""An .npy file that grows."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np


class AppendedArray:
    """A flat array written to an ``.npy`` file piece by piece, whose length is known at the end.

    Use as a context manager; the file is a valid ``.npy`` once the block has ended.

    Args:
        path: The file to write.
        dtype: Kind of the elements.
    """

    def __init__(self, path: Path, dtype: type[np.generic]) -> None:
        self._path = path
        self._dtype = np.dtype(dtype)
        self._length = 0
        self._stream: BinaryIO

    def __enter__(self) -> AppendedArray:
        """Open the file."""
        self._stream = self._path.open("wb")
        self._header()
        return self

    def __exit__(self, *problem: object) -> None:
        """Write the true length into the header and close the file."""
        with self._stream:
            # numpy leaves room in the header for the first axis to grow, so its size stays.
            self._stream.seek(0)
            self._header()

    def append(self, values: np.ndarray) -> None:
        """Add elements at the end.

        Args:
            values: The elements, flat.
        """
        self._stream.write(values.astype(self._dtype, copy=False).tobytes())
        self._length += len(values)

    def _header(self) -> None:
        np.lib.format.write_array_header_1_0(
            self._stream,
            {
                "descr": np.lib.format.dtype_to_descr(self._dtype),
                "fortran_order": False,
                "shape": (self._length,),
            },
        )
