"""Samples that know their time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Series:
    """Samples of one or more channels, tracked by their index.

    Index n stands at GPS time n / rate: whole numbers, so that no time is ever rounded and
    nothing can slip by a sample.

    Attributes:
        values: Of shape (..., time).
        rate: Samples per second [Hz].
        first: Index of the first sample.
    """

    values: np.ndarray
    rate: int
    first: int

    @property
    def size(self) -> int:
        """Number of samples."""
        return int(self.values.shape[-1])

    @property
    def stop(self) -> int:
        """Index after the last sample."""
        return self.first + self.size

    def cut(self, first: int, stop: int) -> Series:
        """The samples of a span of indices.

        Raises:
            ValueError: They are not all there.
        """
        if first < self.first or stop > self.stop:
            raise ValueError(
                f"samples [{first}, {stop}) at {self.rate} Hz asked for, found "
                f"[{self.first}, {self.stop}), GPS {self.first / self.rate} to "
                f"{self.stop / self.rate}: give data around what is to be cleaned"
            )
        begin = first - self.first
        return Series(self.values[..., begin : begin + stop - first], self.rate, first)

    def seconds(self, start: int, stop: int) -> Series:
        """The samples of whole seconds [GPS s]."""
        return self.cut(start * self.rate, stop * self.rate)
