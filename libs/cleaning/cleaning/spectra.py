"""Amplitude spectral densities of raw and cleaned strain, and what is left in each band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import welch

TOLERANCE = 0.01
"""Rise of the density just outside the bands that is taken for chance. No filter ends exactly at
the edge of its band, and what it lets through adds to the strain or takes from it as it happens:
over 8 s even a perfect estimate of loud noise changes this ratio by up to 0.003."""

SUDDEN = 1.25
"""Rise of the amplitude in a band, over the newest segment alone, that is not taken for chance."""


def asd(
    strain: np.ndarray, rate: int, fftlength: float = 2.0, average: str = "median"
) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude spectral density by Welch's method, Hann windows, half overlapping.

    Args:
        strain: Of shape (..., time).
        rate: Sample rate [Hz].
        fftlength: Length of each segment [s].
        average: `median` or `mean` over the segments.

    Returns:
        Frequencies [Hz] and densities [strain / sqrt(Hz)], of shape (..., frequency). NaN
        wherever a sample is not finite.
    """
    # squares of strain underflow in float32, so float64 throughout
    values = np.asarray(strain, dtype=np.float64)
    size = round(fftlength * rate)
    frequency, power = welch(
        values, rate, "hann", size, size // 2, detrend="constant", average=average
    )
    return frequency, np.sqrt(power)


@dataclass(frozen=True)
class Ratios:
    """What cleaning left, cleaned over raw: below 1 where it helped.

    Attributes:
        inside: Mean ratio of the densities within each band.
        outside: Mean ratio just outside each band, in a strip on either side.
        newest: Ratio of the amplitudes in each band over the newest segment alone, where it was
            measured: a median over some segments hides one that went wrong.
    """

    inside: tuple[float, ...]
    outside: tuple[float, ...]
    newest: tuple[float, ...] = ()

    def well(self, tolerance: float = TOLERANCE) -> bool:
        """Whether cleaning did no harm: false also for what is not finite.

        Args:
            tolerance: By how much the density just outside the bands may rise.
        """
        # written so that NaN is not well
        inside = all(ratio <= 1.0 for ratio in self.inside)
        outside = all(ratio <= 1.0 + tolerance for ratio in self.outside)
        newest = all(ratio <= SUDDEN for ratio in self.newest)
        return inside and outside and newest


def band_mask(frequency: np.ndarray, low: float, high: float) -> np.ndarray:
    """Frequencies in [low, high)."""
    return (frequency >= low) & (frequency < high)


def band_ratios(
    raw: np.ndarray,
    cleaned: np.ndarray,
    rate: int,
    bands: Sequence[tuple[float, float]],
    fftlength: float = 2.0,
    average: str = "median",
    strip: float = 2.0,
) -> Ratios:
    """Ratio of cleaned to raw density, in each band and just outside it.

    Args:
        raw: Raw strain, of shape (time,).
        cleaned: Cleaned strain, of shape (time,).
        rate: Sample rate of both [Hz].
        bands: Edges of each band [Hz].
        fftlength: Length of Welch's segments [s].
        average: `median` or `mean` over the segments.
        strip: Width of what counts as just outside, on either side [Hz]; other bands are left
            out of it.
    """
    frequency, before = asd(raw, rate, fftlength, average)
    _, after = asd(cleaned, rate, fftlength, average)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = after / before
    cleaned_anywhere = np.zeros(len(frequency), dtype=bool)
    for low, high in bands:
        cleaned_anywhere |= band_mask(frequency, low, high)
    inside, outside = [], []
    for low, high in bands:
        inside.append(float(ratio[band_mask(frequency, low, high)].mean()))
        near = band_mask(frequency, low - strip, high + strip) & ~cleaned_anywhere
        # bands may lie wall to wall, with nothing outside to look at
        outside.append(float(ratio[near].mean()) if near.any() else 1.0)
    return Ratios(tuple(inside), tuple(outside))


def newest_ratios(
    raw: np.ndarray,
    cleaned: np.ndarray,
    rate: int,
    bands: Sequence[tuple[float, float]],
    fftlength: float = 2.0,
) -> tuple[float, ...]:
    """Root of the ratio of cleaned to raw power in each band, over the last segment alone.

    Of one segment no mean of ratios can be taken: where raw strain is weak by chance it is large.

    Args:
        raw: Raw strain, of shape (time,).
        cleaned: Cleaned strain, of shape (time,).
        rate: Sample rate of both [Hz].
        bands: Edges of each band [Hz].
        fftlength: Length of the segment [s].
    """
    size = round(fftlength * rate)
    frequency, before = asd(raw[-size:], rate, fftlength)
    _, after = asd(cleaned[-size:], rate, fftlength)
    found = []
    for low, high in bands:
        inside = band_mask(frequency, low, high)
        with np.errstate(divide="ignore", invalid="ignore"):
            power = np.square(after[inside]).sum() / np.square(before[inside]).sum()
        found.append(float(np.sqrt(power)))
    return tuple(found)
