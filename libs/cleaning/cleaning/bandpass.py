"""Keep what lies in the bands, by a finite linear-phase filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.signal import fftconvolve, firwin

from cleaning.series import Series

ATTENUATION = 50.0
"""Side lobes outside the bands [dB]."""


@cache
def _taps(bands: tuple[tuple[float, float], ...], half_size: int, rate: int) -> np.ndarray:
    beta = 0.5842 * (ATTENUATION - 21) ** 0.4 + 0.07886 * (ATTENUATION - 21)
    size = 2 * half_size + 1
    # Kaiser's estimate of the width of the transition
    width = (ATTENUATION - 7.95) / (2.285 * 2 * np.pi) * rate / (size - 1)
    taps = np.zeros(size)
    for low, high in bands:
        # the transition lies inside the band as far as the band is wide enough for it
        inset = min(width / 2, (high - low) / 4)
        edges = [low + inset, min(high - inset, rate / 2 * 0.999)]
        taps += firwin(size, edges, window=("kaiser", beta), pass_zero=False, fs=rate)
    return taps


@dataclass(frozen=True)
class BandPass:
    """A linear-phase band-pass of finite length, without delay, exact on any span.

    What was filtered forward and backward by recursive filters sees all of the past and future
    (an error of 4 % of the noise remains for 58-62 Hz with one second on either side), so that
    online and offline could only agree approximately. This one sees `half_length` on either side,
    and no more.

    Nothing so short is sharp: gain goes from 0 to 1 over 3.3 Hz. A band that is narrower than 6.5
    Hz gets transitions that reach beyond its edges, so that more of it is cleaned: of 58-62 Hz a
    tenth of the amplitude passes at the edges, 0.3 % at 1 Hz beyond them and 0.1 % from 2 Hz on.
    There, as in the band, it is noise that is taken off.

    Attributes:
        bands: Edges of each band [Hz]; the transitions lie within, where it is wide enough.
        rate: Sample rate [Hz].
        half_length: What an output sample sees on either side [s].
    """

    bands: tuple[tuple[float, float], ...]
    rate: int
    half_length: float = 0.45

    @property
    def half_size(self) -> int:
        """Samples that an output sample sees on either side."""
        return round(self.half_length * self.rate)

    @property
    def taps(self) -> np.ndarray:
        """The filter, symmetric about its middle."""
        return _taps(self.bands, self.half_size, self.rate)

    def response(self, frequency: Sequence[float] | np.ndarray) -> np.ndarray:
        """Gain at frequencies [Hz]; real, since the phase is zero."""
        offset = np.arange(-self.half_size, self.half_size + 1) / self.rate
        phase = 2 * np.pi * np.multiply.outer(np.asarray(frequency, dtype=float), offset)
        return np.cos(phase) @ self.taps

    def __call__(self, series: Series) -> Series:
        """Filter; the result is shorter by `half_size` samples on either side.

        Raises:
            ValueError: The series has another rate.
        """
        if series.rate != self.rate:
            raise ValueError(f"a series at {series.rate} Hz, expected {self.rate} Hz")
        if series.size < len(self.taps):
            empty = np.zeros((*series.values.shape[:-1], 0))
            return Series(empty, self.rate, series.first + self.half_size)
        taps = self.taps.reshape((1,) * (series.values.ndim - 1) + (-1,))
        values = fftconvolve(series.values.astype(np.float64), taps, mode="valid", axes=-1)
        return Series(values, self.rate, series.first + self.half_size)
