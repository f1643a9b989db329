"""Change of rate by a finite linear-phase filter, exact on any span."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.signal import firwin, upfirdn

from cleaning.series import Series

# Cut-off of the filter, as a part of the lower half rate, and side lobes [dB]: above 0.9 of it is
# the transition, and what aliases back lies below 1e-4.
CUTOFF = 0.9
ATTENUATION = 80.0
# Length of the filter to either side, in samples of the lower rate; and its longest, whatever the
# rate [s], since what a filter sees delays what it gives.
HALF_LENGTH = 32
LONGEST = 1 / 16
SHORTEST = 4


@cache
def _taps(up: int, down: int, half: int) -> np.ndarray:
    factor = max(up, down)
    if factor == 1:
        return np.ones(1)
    if half < SHORTEST:
        # too short for a steep filter: a straight line from sample to sample
        triangle = 1 - np.abs(np.arange(-factor, factor + 1)) / factor
        return up * triangle / triangle.sum()
    beta = 0.1102 * (ATTENUATION - 8.7)
    size = 2 * half * factor + 1
    return up * firwin(size, CUTOFF / factor, window=("kaiser", beta))


@dataclass(frozen=True)
class Resampler:
    """From one rate to another by a polyphase Kaiser-windowed filter without delay.

    Each output sample is a sum over a fixed number of input samples around it, so that it does
    not depend on where the data begin: a stretch resampled in parts is the stretch resampled. No
    sample is made up at the ends: the output is shorter by `reach` on either side, which is 1/16 s
    at most. So slow channels, below 512 Hz, get a less steep filter; one of 16 Hz is
    interpolated between neighbours.

    Kaiser windows: Kaiser and Schafer, IEEE Trans. ASSP 28, 105 (1980).

    Attributes:
        rate_in: Samples per second [Hz].
        rate_out: Samples per second wanted [Hz].
    """

    rate_in: int
    rate_out: int

    @property
    def up(self) -> int:
        """Factor of the rate between the two."""
        return self.rate_out // math.gcd(self.rate_in, self.rate_out)

    @property
    def down(self) -> int:
        """Divisor of the rate between the two."""
        return self.rate_in // math.gcd(self.rate_in, self.rate_out)

    @property
    def half_size(self) -> int:
        """Taps to either side, at the rate between the two."""
        return len(self.taps) // 2

    @property
    def taps(self) -> np.ndarray:
        """The filter, at the rate between the two; symmetric about its middle."""
        lower = min(self.rate_in, self.rate_out)
        return _taps(self.up, self.down, max(1, min(HALF_LENGTH, int(LONGEST * lower))))

    @property
    def reach(self) -> float:
        """Time that an output sample sees on either side [s]."""
        return self.half_size / (self.rate_in * self.up)

    def __call__(self, series: Series) -> Series:
        """Resample.

        Args:
            series: At `rate_in`.

        Returns:
            All samples at `rate_out` that the data suffice for, float64.

        Raises:
            ValueError: The series has another rate.
        """
        if series.rate != self.rate_in:
            raise ValueError(f"a series at {series.rate} Hz, expected {self.rate_in} Hz")
        up, down, half = self.up, self.down, self.half_size
        if up == down:
            return Series(series.values.astype(np.float64, copy=False), series.rate, series.first)
        first = -((-(series.first * up + half)) // down)
        last = ((series.stop - 1) * up - half) // down
        if last < first:
            empty = np.zeros((*series.values.shape[:-1], 0))
            return Series(empty, self.rate_out, first)
        # the place of the first output in the full convolution, brought to a multiple of `down`
        place = first * down - series.first * up + half
        delay = -place % down
        taps = np.concatenate((np.zeros(delay), self.taps))
        values = upfirdn(taps, series.values.astype(np.float64), up, down, axis=-1)
        begin = (place + delay) // down
        return Series(values[..., begin : begin + last - first + 1], self.rate_out, first)
