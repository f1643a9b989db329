"""What rings: damped oscillators between a source and the strain."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.signal import fftconvolve

from deepclean.simulation.settings import Resonance

SMALLEST = 1e-6
"""Part of the amplitude at which an impulse response ends."""


def memory(resonance: Resonance) -> int:
    """Length of the impulse response, in whole seconds [s]."""
    damping = math.pi * resonance.frequency / resonance.quality
    return math.ceil(-math.log(SMALLEST) / damping)


@cache
def impulse_response(resonance: Resonance, rate: int) -> np.ndarray:
    """Samples of the impulse response at a rate [Hz], each times the time between them.

    The gain differs from the oscillator's by what aliases, of the order of (f0 / rate)^2.
    """
    time = np.arange(memory(resonance) * rate) / rate
    angular = 2 * math.pi * resonance.frequency
    damping = angular / (2 * resonance.quality)
    damped = math.sqrt(angular**2 - damping**2)
    shape = np.exp(-damping * time) * np.sin(damped * time) / damped
    return angular**2 / resonance.quality * shape / rate


def ring(
    source: Callable[[int, int, int], np.ndarray],
    resonance: Resonance,
    rate: int,
    first: int,
    stop: int,
) -> np.ndarray:
    """A source after a resonance, the same in whatever stretch it is made.

    Args:
        source: Makes samples at a rate [Hz] from a first index to a last one.
        resonance: What it goes through.
        rate: Samples per second [Hz].
        first: Index of the first sample.
        stop: Index after the last one.
    """
    taps = impulse_response(resonance, rate)
    return fftconvolve(source(rate, first - len(taps) + 1, stop), taps, mode="valid")
