"""Arrays on disk that are longer than memory: written piece by piece, mapped to be read."""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from types import TracebackType

import numpy as np


class ArrayWriter:
    """Write a float32 array in numpy's own format (.npy), piece by piece.

    Args:
        path: The file.
        shape: Of the whole array.
        axis: Axis along which the pieces follow each other.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], axis: int) -> None:
        self.size = shape[axis]
        self.done = 0
        self._rows = math.prod(shape[:axis])
        self._inner = math.prod(shape[axis + 1 :])
        self._axis = axis
        self._file = path.open("wb")
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._begin = self._file.tell()

    def append(self, piece: np.ndarray) -> None:
        """Write the next values along the axis; along the others the piece is whole."""
        values = np.ascontiguousarray(piece, dtype="<f4").reshape(self._rows, -1)
        for row, part in enumerate(values):
            self._file.seek(self._begin + 4 * self._inner * (row * self.size + self.done))
            self._file.write(part.data)
        self.done += piece.shape[self._axis]

    def __enter__(self) -> ArrayWriter:
        """The file is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file.

        Raises:
            ValueError: It was filled to another length than was said.
        """
        self._file.close()
        if error is None and self.done != self.size:
            raise ValueError(
                f"{self._file.name} was given {self.done} values along axis {self._axis}, "
                f"expected {self.size}"
            )


def map_array(path: Path) -> np.ndarray:
    """Map an array that `ArrayWriter` wrote; a slice costs the pages it lies on."""
    values: np.ndarray = np.load(path, mmap_mode="r")
    return values


def release(values: np.ndarray) -> None:
    """Let go of the pages of a mapped array, which count as this process's memory.

    They stay in the system's cache, as long as there is room, and are mapped again when they are
    next asked for. Arrays that are not mapped are left alone.
    """
    if isinstance(values.base, mmap.mmap):
        values.base.madvise(mmap.MADV_DONTNEED)
