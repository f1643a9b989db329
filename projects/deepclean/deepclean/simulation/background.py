"""Strain without couplings: stationary coloured noise."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.signal import fftconvolve, firwin2

from deepclean.simulation.randomness import white

LOWEST = 10.0
"""Below this frequency there is nothing [Hz]."""


def advanced_ligo_psd(frequency: np.ndarray) -> np.ndarray:
    """Design sensitivity of Advanced LIGO as a formula [1/Hz].

    Sathyaprakash and Schutz, Living Rev. Relativity 12, 2 (2009), table 1: a fit for
    frequencies above 20 Hz.

    Args:
        frequency: Above 0 [Hz].
    """
    x = np.asarray(frequency, dtype=float) / 215.0
    quantum = 111 * (1 - x**2 + x**4 / 2) / (1 + x**2 / 2)
    return 1e-49 * (x**-4.14 - 5 * x**-2 + quantum)


@cache
def _taps(rate: int) -> np.ndarray:
    """Half a second of filter to either side that colours white noise of unit variance."""
    frequency = np.linspace(0, rate / 2, rate // 2 + 1)
    density = np.zeros(len(frequency))
    seen = (frequency >= LOWEST) & (frequency < rate / 2)
    density[seen] = np.sqrt(advanced_ligo_psd(frequency[seen]))
    # one-sided density of white noise of unit variance is 2 / rate
    largest = density.max()
    return largest * firwin2(rate + 1, frequency, density / largest * np.sqrt(rate / 2), fs=rate)


def background(seed: int, rate: int, start: int, stop: int) -> np.ndarray:
    """Noise of whole seconds, the same in whatever stretch they are made.

    Args:
        seed: That of the simulation.
        rate: Samples per second; even [Hz].
        start: First second [GPS s].
        stop: Second after the last [GPS s].

    Returns:
        Strain of shape ((stop - start) * rate,). The filter resolves 2 Hz.
    """
    noise = white(seed, "background", rate, start - 1, stop + 1)
    coloured = fftconvolve(noise, _taps(rate), mode="valid")
    # valid begins half a second after the noise
    return coloured[rate // 2 : rate // 2 + (stop - start) * rate]
