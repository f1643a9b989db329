"""Densities and coherences, averaged over all parts of a span."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from cleaning import Resampler, Series
from scipy.signal import csd, welch

FFTLENGTH = 2.0
"""Length of Welch's segments, Hann windows, half overlapping [s]."""


@dataclass
class MeanDensity:
    """Mean power spectral density of several series over parts of a span.

    Attributes:
        rate: Sample rate [Hz].
        number: Segments so far.
    """

    rate: int
    number: int = 0
    _sum: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def frequency(self) -> np.ndarray:
        """Frequencies of the bins [Hz]."""
        return np.fft.rfftfreq(round(FFTLENGTH * self.rate), 1 / self.rate)

    def add(self, **series: np.ndarray) -> None:
        """Add a part: samples by name, always the same names, of shape (time,)."""
        segments = 0
        for name, values in series.items():
            segments = _segments(values.shape[-1], self.rate)
            power = welch(values, self.rate, **_options(self.rate))[1]
            self._sum[name] = self._sum.get(name, 0) + segments * power
        self.number += segments

    def asd(self, name: str) -> np.ndarray:
        """Amplitude spectral density of a series [strain / sqrt(Hz)]."""
        return np.sqrt(self._sum[name] / self.number)

    def __contains__(self, name: str) -> bool:
        return name in self._sum


@dataclass
class MeanCoherence:
    """Coherence of strain with each of some channels, over parts of a span.

    |S_xy|^2 / (S_xx S_yy), by Welch's method: for two that have nothing in common about one over
    the number of segments.

    Attributes:
        rate: Rate to which all are brought [Hz].
        channels: Full names.
        number: Segments so far.
    """

    rate: int
    channels: tuple[str, ...]
    number: int = 0
    _cross: dict[str, np.ndarray] = field(default_factory=dict)
    _own: dict[str, np.ndarray] = field(default_factory=dict)
    _witness: np.ndarray | float = 0.0

    @property
    def frequency(self) -> np.ndarray:
        """Frequencies of the bins [Hz]."""
        return np.fft.rfftfreq(round(FFTLENGTH * self.rate), 1 / self.rate)

    def add(
        self,
        start: int,
        strain: dict[str, np.ndarray],
        strain_rate: int,
        witnesses: dict[str, np.ndarray],
    ) -> None:
        """Add a part.

        Args:
            start: First second [GPS s].
            strain: Samples by name, always the same names.
            strain_rate: Their rate [Hz].
            witnesses: Samples by full name, of whole seconds.
        """
        seconds = next(iter(strain.values())).shape[-1] // strain_rate
        # the filters that change the rate cut off the ends
        inner = (start + 1, start + seconds - 1)
        seen = np.stack(
            [
                _brought(witnesses[name], len(witnesses[name]) // seconds, self.rate, start, inner)
                for name in self.channels
            ]
        )
        segments = _segments(seen.shape[-1], self.rate)
        if segments < 1:
            return
        options = _options(self.rate)
        self._witness = self._witness + segments * welch(seen, self.rate, **options)[1]
        for name, values in strain.items():
            lowered = _brought(values, strain_rate, self.rate, start, inner)
            cross = csd(seen, lowered[None], self.rate, **options)[1]
            own = welch(lowered, self.rate, **options)[1]
            self._cross[name] = self._cross.get(name, 0) + segments * cross
            self._own[name] = self._own.get(name, 0) + segments * own
        self.number += segments

    def coherence(self, name: str) -> np.ndarray:
        """Of a strain with all channels, of shape (channel, frequency); NaN without any data."""
        if not self.number:
            return np.full((len(self.channels), len(self.frequency)), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.abs(self._cross[name]) ** 2 / (self._witness * self._own[name])


def _options(rate: int) -> dict[str, object]:
    size = round(FFTLENGTH * rate)
    return {"window": "hann", "nperseg": size, "noverlap": size // 2, "detrend": "constant"}


def _segments(size: int, rate: int) -> int:
    return int(size / rate / (FFTLENGTH / 2)) - 1


def _brought(
    values: np.ndarray, rate: int, wanted: int, start: int, inner: tuple[int, int]
) -> np.ndarray:
    series = Series(values, rate, start * rate)
    return Resampler(rate, wanted)(series).seconds(*inner).values
