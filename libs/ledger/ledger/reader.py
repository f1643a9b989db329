"""Random pieces of strain from many files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ledger.files import ProductError
from ledger.product import open_product
from ledger.strain import StrainSegment


class StrainReader:
    """Pieces of strain from a set of files, at random or at given places.

    The files are mapped into memory: a piece costs the pages that it lies on, the system keeps
    what is used often, and any number of processes share it. Strain is stored without chunks and
    uncompressed for this.

    Args:
        paths: Strain files.
        ifos: Detectors, in this order.

    Raises:
        FileNotFoundError: There is no such file.
        ProductError: Not a strain file, a detector is missing, or an older file with chunks.
    """

    def __init__(self, paths: Sequence[str | Path], ifos: tuple[str, ...]) -> None:
        self.ifos = ifos
        self._maps: list[list[np.ndarray]] = []
        for path in paths:
            with open_product(path, StrainSegment.product, StrainSegment.schema) as file:
                missing = [ifo for ifo in ifos if ifo not in file]
                if missing:
                    raise ProductError(
                        f"{path} holds no {', '.join(missing)}: expected {', '.join(ifos)}"
                    )
                offsets = [file[ifo].id.get_offset() for ifo in ifos]
                if None in offsets:
                    raise ProductError(
                        f"{path} stores its strain in chunks, which cannot be mapped into memory: "
                        "make the file again with this version"
                    )
                size, dtype = len(file[ifos[0]]), file[ifos[0]].dtype
            self._maps.append([np.memmap(path, dtype, "r", offset, (size,)) for offset in offsets])
        self.sizes = np.array([len(maps[0]) for maps in self._maps], dtype=np.int64)

    def read(self, file: int, start: int, size: int) -> np.ndarray:
        """A piece of one file, all detectors at the same time.

        Args:
            file: Number of the file.
            start: First sample.
            size: Number of samples.

        Returns:
            Strain, of shape (ifo, size), a copy.
        """
        return np.stack([values[start : start + size] for values in self._maps[file]])

    def draw(self, count: int, size: int, generator: np.random.Generator) -> np.ndarray:
        """Pieces at random places, each detector at the same time.

        Every place where a piece fits into a file is as likely as any other.

        Args:
            count: How many.
            size: Samples of a piece.
            generator: Random numbers.

        Returns:
            Strain, of shape (count, ifo, size).

        Raises:
            ValueError: No file is as long as a piece.
        """
        places = np.maximum(self.sizes - size + 1, 0)
        total = int(places.sum())
        if not total:
            raise ValueError(
                f"no file is as long as {size} samples: the longest has {self.sizes.max()}"
            )
        numbers = generator.integers(total, size=count)
        ends = np.cumsum(places)
        files = np.searchsorted(ends, numbers, side="right")
        starts = numbers - (ends - places)[files]
        drawn = np.empty((count, len(self.ifos), size), dtype=self._maps[0][0].dtype)
        for row, (file, start) in enumerate(zip(files, starts, strict=True)):
            for column, values in enumerate(self._maps[file]):
                drawn[row, column] = values[start : start + size]
        return drawn
