"""Lower sample rates without aliasing and without moving a sample in time."""

import functools

import numpy as np
from scipy import signal

# The filter passes up to this part of the new Nyquist frequency and stops from that frequency on.
PASSBAND = 0.82
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
