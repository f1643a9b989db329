"""Signals of compact binaries, before and after: cleaning must leave them as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import lal
import lalsimulation
import numpy as np
from runtime import generator_for
from scipy.signal.windows import tukey

from deepclean.report.parts import LENGTH, Part

DURATION = 16
"""Stretch of data that a signal is looked for in [s]."""
MERGER = 12.0
"""Time of the merger in it [s]."""
LOWEST = 20.0
"""Where signals begin and the filter begins [Hz]."""
MASSES = ((30.0, 25.0), (15.0, 10.0), (10.0, 10.0), (20.0, 10.0))
"""Masses in the detector's frame [solar masses]; the lightest sweep through the bands slowest."""
SNR = 20.0
"""Optimal SNR of every signal in raw strain."""


@dataclass(frozen=True)
class Recovered:
    """A signal, injected into strain before and after cleaning.

    The matched filter is that of the injected signal at its own time, so that the real part of
    (d|h) / sqrt(h|h) is the optimal SNR and the imaginary part is nothing, each with a normal
    error of one.

    Attributes:
        time: That of the merger [GPS s].
        masses: In the detector's frame [solar masses].
        optimal: Optimal SNR before and after: sqrt(h|h) with the density of each.
        before: (d|h) / sqrt(h|h) of raw strain.
        after: The same of cleaned strain.
    """

    time: float
    masses: tuple[float, float]
    optimal: tuple[float, float]
    before: complex
    after: complex

    @property
    def pull_before(self) -> float:
        """Error of the SNR in raw strain, in units of its statistical error."""
        return self.before.real - self.optimal[0]

    @property
    def pull_after(self) -> float:
        """Error of the SNR in cleaned strain, in units of its statistical error."""
        return self.after.real - self.optimal[1]

    @property
    def phase_pull(self) -> float:
        """Error of the phase in cleaned strain, in units of its statistical error, 1/SNR."""
        return float(np.angle(self.after)) * self.optimal[1]

    def content(self) -> dict[str, object]:
        """Plain values."""
        return {
            "time": self.time,
            "masses_detector": list(self.masses),
            "optimal_snr_before": self.optimal[0],
            "optimal_snr_after": self.optimal[1],
            "snr_before": abs(self.before),
            "snr_after": abs(self.after),
            "phase_before": float(np.angle(self.before)),
            "phase_after": float(np.angle(self.after)),
        }


@cache
def waveform(masses: tuple[float, float], phase: float, rate: int) -> np.ndarray:
    """Plus polarization by IMRPhenomD at 100 Mpc, merging at `MERGER`, for `rfft` of `DURATION`.

    Husa et al., Phys. Rev. D 93, 044006 (2016); Khan et al., Phys. Rev. D 93, 044007 (2016).

    Args:
        masses: In the detector's frame [solar masses].
        phase: At coalescence.
        rate: Sample rate of the data [Hz].

    Returns:
        Of shape (frequency,) [strain / Hz].
    """
    plus, _ = lalsimulation.SimInspiralChooseFDWaveform(
        *(mass * lal.MSUN_SI for mass in masses),
        *([0.0] * 6),
        100e6 * lal.PC_SI,
        *(0.0, phase, 0.0, 0.0, 0.0),
        *(1 / DURATION, LOWEST, rate / 2, LOWEST),
        None,
        lalsimulation.IMRPhenomD,
    )
    size = DURATION * rate // 2 + 1
    found = np.zeros(size, dtype=complex)
    values = plus.data.data[:size]
    found[: len(values)] = values
    frequency = np.arange(size) / DURATION
    return found * np.exp(-2j * np.pi * frequency * MERGER)


def inner_product(a: np.ndarray, b: np.ndarray, power: np.ndarray) -> complex:
    """4 int a b* / S df from `LOWEST` on, over the bins of `DURATION`."""
    begin = round(LOWEST * DURATION)
    # the last bins lie beyond the filter that lowered the rate
    stop = int(0.8 * len(power))
    terms = a[begin:stop] * b[begin:stop].conj() / power[begin:stop]
    return complex(4 * terms.sum() / DURATION)


def recover(
    parts: Iterator[Part],
    frequency: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    rate: int,
    seed: int,
) -> list[Recovered]:
    """Inject a signal into each half of each part, and look for it.

    The noise estimate comes from witnesses alone, so that cleaning strain with a signal gives
    cleaned strain with that signal, as far as the gate stays as it is.

    Args:
        parts: The data.
        frequency: Bins of the densities [Hz].
        before: Amplitude spectral density of raw strain, of shape (frequency,).
        after: The same of cleaned strain.
        rate: Sample rate [Hz].
        seed: The phases follow from it.
    """
    bins = np.arange(DURATION * rate // 2 + 1) / DURATION
    powers = [np.interp(bins, frequency, density) ** 2 for density in (before, after)]
    window = tukey(DURATION * rate, 0.1)
    found = []
    for part in parts:
        for k in range(min(LENGTH, len(part.raw) // rate) // DURATION):
            random = generator_for(seed, "deepclean", "signals", part.start, k)
            masses = MASSES[int(random.integers(len(MASSES)))]
            signal = waveform(masses, float(random.uniform(0, 2 * np.pi)), rate)
            scale = SNR / np.sqrt(inner_product(signal, signal, powers[0]).real)
            # the signal as it is in the data: seen through the same window
            injected = np.fft.irfft(scale * signal) * rate
            template = np.fft.rfft(injected * window) / rate
            stretch = slice(k * DURATION * rate, (k + 1) * DURATION * rate)
            outcome, optimal = [], []
            for values, power in zip((part.raw, part.out_dq), powers, strict=True):
                data = np.fft.rfft((values[stretch] + injected) * window) / rate
                norm = np.sqrt(inner_product(template, template, power).real)
                outcome.append(inner_product(data, template, power) / norm)
                optimal.append(float(norm))
            found.append(
                Recovered(
                    part.start + k * DURATION + MERGER,
                    masses,
                    (optimal[0], optimal[1]),
                    outcome[0],
                    outcome[1],
                )
            )
    return found
