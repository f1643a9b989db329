"""Lower sample rates without aliasing and without moving a sample in time."""

import functools
from collections.abc import Iterator

import numpy as np
from runtime.experiment import RESAMPLED_BAND
from scipy import signal

# The filter passes up to this part of the new Nyquist frequency and stops from that frequency on.
PASSBAND = RESAMPLED_BAND
# Ripple of passband and stopband [dB]
ATTENUATION = 100.0


@functools.cache
def antialias_taps(factor: int) -> np.ndarray:
    """Symmetric low-pass filter with a Kaiser window, of odd length.

    Args:
        factor: Ratio of the old to the new sample rate.
    """
    width = (1 - PASSBAND) / factor
    num_taps, beta = signal.kaiserord(ATTENUATION, width)
    return signal.firwin(
        num_taps | 1, (1 + PASSBAND) / 2 / factor, window=("kaiser", beta), scale=True
    )


def whole_factor(found_rate: float, rate: float, where: str) -> int:
    """Ratio of a sample rate to that wanted.

    Args:
        found_rate: Sample rate of the data [Hz].
        rate: Sample rate wanted [Hz].
        where: Where the data are from, for the message.

    Raises:
        ValueError: It is no whole number.
    """
    factor = found_rate / rate
    if factor < 1 or factor != int(factor):
        raise ValueError(
            f"{where} has {found_rate:g} Hz, expected {rate:g} Hz or a multiple: strain is not "
            "upsampled; lower sample_rate in the experiment"
        )
    return int(factor)


def reach(factor: int) -> int:
    """New samples at either end that see beyond the data, through the filter."""
    return 0 if factor == 1 else -(-(len(antialias_taps(factor)) // 2) // factor)


def decimate(values: np.ndarray, factor: int) -> np.ndarray:
    """Lower the sample rate by a whole factor.

    Args:
        values: Samples, a multiple of `factor` many.
        factor: Ratio of the old to the new sample rate.

    Returns:
        Sample k is at the time of sample `k * factor` of the input. The first and the last
        `reach(factor)` new samples, which the filter cannot make, are left out.
    """
    if factor == 1:
        return values
    filtered = signal.resample_poly(values, 1, factor, window=antialias_taps(factor))
    return filtered[reach(factor) : len(filtered) - reach(factor)]


class Decimator:
    """Lower the sample rate of data that come in pieces, as if they came whole.

    What comes out, put together, is what `decimate` makes of all that went in, put together.

    Args:
        factor: Ratio of the old to the new sample rate.
    """

    # Samples filtered at once: enough that the overlap costs nothing, little memory.
    BLOCK_SIZE = 2**20

    def __init__(self, factor: int) -> None:
        self.factor = factor
        self._rest = np.zeros(0)

    def feed(self, values: np.ndarray) -> Iterator[np.ndarray]:
        """Take the next samples, any number, and give new samples as far as they can be made."""
        if self.factor == 1:
            yield values
            return
        overlap = 2 * reach(self.factor) * self.factor
        for start in range(0, len(values), self.BLOCK_SIZE):
            block = np.concatenate((self._rest, values[start : start + self.BLOCK_SIZE]))
            size = len(block) // self.factor * self.factor
            if size <= overlap:
                self._rest = block
                continue
            yield decimate(block[:size], self.factor)
            self._rest = block[size - overlap :]
