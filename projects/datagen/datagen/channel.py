"""The strain of one detector in a file of another maker."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Channel:
    """The strain of one detector in one file.

    Attributes:
        path: The file.
        ifo: The detector.
        gps_start: GPS time of the first sample [s].
        size: Number of samples.
        sample_rate: Sample rate [Hz].
        load: Gives the samples.
        event: Name and GPS time of the known event that the file was made for.
        load_mask: Gives for each second of the file whether there is science data, by the bit
            mask of GWOSC's files; None for files without one.
        may_overlap: Whether such files may hold a time twice; then it is taken once.
    """

    path: Path
    ifo: str
    gps_start: float
    size: int
    sample_rate: float
    load: Callable[[], np.ndarray]
    event: tuple[str, float] | None = None
    load_mask: Callable[[], np.ndarray] | None = None
    may_overlap: bool = False

    @property
    def gps_stop(self) -> float:
        """GPS time after the last sample [s]."""
        return self.gps_start + self.size / self.sample_rate

    def read(self) -> np.ndarray:
        """Samples of strain, float64; NaN where there is none.

        Raises:
            ValueError: The samples cannot be read.
        """
        try:
            return np.asarray(self.load(), dtype=np.float64)
        except (OSError, RuntimeError, KeyError) as error:
            raise ValueError(
                f"{self.path}: the strain of {self.ifo} cannot be read (truncated?): {error}"
            ) from error

    def after(self, first: int) -> Channel:
        """The channel from a sample on, without its mask."""
        return dataclasses.replace(
            self,
            gps_start=self.gps_start + first / self.sample_rate,
            size=self.size - first,
            load=lambda: self.load()[first:],
            load_mask=None,
        )


def exact_rate(rate: float) -> float:
    """Sample rate without the rounding of its inverse."""
    return float(round(rate)) if abs(rate - round(rate)) < 1e-6 * rate else rate
