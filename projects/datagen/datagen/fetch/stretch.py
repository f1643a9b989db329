"""What every provider of strain gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

# How much strain is asked for beyond either end of a piece, for the anti-alias filter [s].
MARGIN = 1.0


@dataclass(frozen=True)
class Stretch:
    """Strain of one detector without a break.

    Attributes:
        values: Samples, float64; NaN where there is none.
        gps_start: GPS time of the first sample [s].
        sample_rate: Sample rate [Hz].
        origin: File and dataset, or channel, for messages.
        mask: For each second from `gps_start` on, whether the maker's bit mask says that there
            is science data; None if there is no bit mask.
    """

    values: np.ndarray
    gps_start: float
    sample_rate: float
    origin: str
    mask: np.ndarray | None = None

    @property
    def gps_stop(self) -> float:
        """GPS time after the last sample [s]."""
        return self.gps_start + len(self.values) / self.sample_rate


class Provider(Protocol):
    """Gives the strain of a GPS span, and knows what it was read from."""

    def stretches(self, ifo: str) -> Iterator[Stretch]:
        """Strain of a detector in time order: the span, and beyond it what is at hand.

        Stretches may overlap. Gaps are found by the caller.
        """

    def parents(self) -> Mapping[str, str]:
        """Digest of each file that was read, by its name."""
