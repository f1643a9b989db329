"""Sources of noise, at any rate."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from cleaning import Resampler, Series
from runtime import generator_for
from scipy.signal import fftconvolve, firwin

from deepclean.simulation.randomness import white
from deepclean.simulation.settings import Mains, Motion

TONES = 24
"""Slow sinusoids that a wander is made of."""
SLOWEST, FASTEST = 60.0, 1200.0
"""Periods of a wander [s]."""
RATES = (256, 1024, 4096)
"""Rates at which motion is made [Hz]; the lowest that holds its band."""


class Wander:
    """A slow random function of time with unit root mean square, and its integral.

    Args:
        seed: That of the simulation.
        name: Whose wander it is.
    """

    def __init__(self, seed: int, name: str) -> None:
        random = generator_for(seed, "deepclean", name)
        period = np.exp(random.uniform(np.log(SLOWEST), np.log(FASTEST), TONES))
        self.angular = 2 * np.pi / period
        self.phase = random.uniform(0, 2 * np.pi, TONES)
        self.size = math.sqrt(2 / TONES)

    def __call__(self, time: np.ndarray) -> np.ndarray:
        """Value at GPS times [s]."""
        return self.size * np.cos(np.multiply.outer(time, self.angular) + self.phase).sum(axis=-1)

    def integral(self, time: np.ndarray) -> np.ndarray:
        """Integral over time up to GPS times [s]."""
        angle = np.multiply.outer(time, self.angular) + self.phase
        return self.size * (np.sin(angle) / self.angular).sum(axis=-1)


class MainsSource:
    """The power line.

    Args:
        settings: What it is like.
        seed: That of the simulation.
        name: Its name.
    """

    def __init__(self, settings: Mains, seed: int, name: str) -> None:
        self.settings = settings
        self.frequency_wander = Wander(seed, f"{name} frequency")
        self.size_wander = Wander(seed, f"{name} size")

    def __call__(self, rate: int, first: int, stop: int) -> np.ndarray:
        """Samples with indices from `first` to `stop` at a rate [Hz], of amplitude about 1."""
        # what is slow is interpolated between whole seconds
        seconds = np.arange(first // rate, -(-stop // rate) + 1, dtype=float)
        index = np.arange(first, stop)
        place = index / rate
        settings = self.settings
        wander = self.frequency_wander.integral(seconds) * settings.frequency_wander
        size = 1 + settings.size_wander * self.size_wander(seconds)
        # whole cycles are taken off while they are whole numbers
        cycles = np.mod(settings.frequency * (index % rate) / rate, 1.0) + np.mod(
            settings.frequency * (index // rate), 1.0
        )
        phase = cycles + _interpolated(place, seconds, wander)
        return np.interp(place, seconds, size) * np.cos(2 * np.pi * phase)


def _interpolated(place: np.ndarray, seconds: np.ndarray, values: np.ndarray) -> np.ndarray:
    # a step of slope between two seconds is 1e-4 cycles: the wander takes a minute and more
    return np.interp(place, seconds, values)


@cache
def _band_taps(band: tuple[float, float], rate: int) -> np.ndarray:
    low, high = band
    size = rate + 1
    edges: list[float] | float = high if low <= 0 else [low, high]
    taps = firwin(size, edges, pass_zero=low <= 0, fs=rate)
    return taps / np.sqrt((taps**2).sum())


class MotionSource:
    """Random motion in a band.

    Args:
        settings: What it is like.
        seed: That of the simulation.
        name: Its name.

    Raises:
        ValueError: The band is above what is made.
    """

    def __init__(self, settings: Motion, seed: int, name: str) -> None:
        self.seed, self.name = seed, name
        rates = [rate for rate in RATES if settings.band[1] <= 0.35 * rate]
        if not rates:
            raise ValueError(
                f"source {name} reaches to {settings.band[1]} Hz: at most {0.35 * RATES[-1]} Hz"
            )
        self.rate = rates[0]
        self.taps = _band_taps(settings.band, self.rate)

    def __call__(self, rate: int, first: int, stop: int) -> np.ndarray:
        """Samples with indices from `first` to `stop` at a rate [Hz], of unit variance."""
        # a second for the band's filter and one for the resampler, on either side
        begin, end = first // rate - 2, -(-stop // rate) + 2
        noise = white(self.seed, self.name, self.rate, begin, end)
        half = len(self.taps) // 2
        made = Series(
            fftconvolve(noise, self.taps, mode="valid"), self.rate, begin * self.rate + half
        )
        return Resampler(self.rate, rate)(made).cut(first, stop).values


def make_source(settings: Mains | Motion, seed: int, name: str) -> MainsSource | MotionSource:
    """The source of some settings."""
    if isinstance(settings, Mains):
        return MainsSource(settings, seed, name)
    return MotionSource(settings, seed, name)
