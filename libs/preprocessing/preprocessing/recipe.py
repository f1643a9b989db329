"""The whitening settings of an experiment, in samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WhiteningRecipe:
    """Lengths and frequencies of the whitening.

    Attributes:
        sample_rate: Sample rate [Hz].
        psd_length: Strain from which one PSD is taken, just before the data it whitens [s].
        fftlength: Length of a Welch segment, half overlapping [s].
        fduration: Length of the whitening filter [s].
        update_length: Time for which one PSD is used [s].
        highpass: Lowest frequency kept [Hz].
        lowpass: Highest frequency kept; half the sample rate if None [Hz].

    Raises:
        ValueError: A length is no whole number of samples, or lengths do not fit each other.
    """

    sample_rate: float
    psd_length: float
    fftlength: float
    fduration: float
    update_length: float
    highpass: float
    lowpass: float | None = None

    def __post_init__(self) -> None:
        for name in ("psd_length", "fftlength", "fduration", "update_length"):
            size = getattr(self, name) * self.sample_rate
            if size != int(size) or int(size) % 2:
                raise ValueError(
                    f"whitening.{name} {getattr(self, name)} s is {size} samples at "
                    f"{self.sample_rate} Hz, expected an even whole number"
                )
        # An odd number of segments has a middle one: the median needs no interpolation.
        if self.psd_size % self.fft_size:
            raise ValueError(
                f"whitening.psd_length {self.psd_length} s must be a multiple of fftlength "
                f"{self.fftlength} s"
            )
        # Blocks share the periodograms of the segments only if they fall on the same grid.
        if self.update_size % self.hop_size:
            raise ValueError(
                f"whitening.update_length {self.update_length} s must be a multiple of half of "
                f"fftlength, {self.fftlength / 2} s"
            )
        if self.filter_size > self.fft_size:
            raise ValueError(
                f"whitening.fduration {self.fduration} s exceeds fftlength {self.fftlength} s"
            )

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> WhiteningRecipe:
        """Take the recipe from the settings of an experiment (`Experiment.settings()`)."""
        return cls(
            sample_rate=settings["sample_rate"],
            highpass=settings["highpass"],
            lowpass=settings["lowpass"],
            **settings["whitening"],
        )

    def _size(self, length: float) -> int:
        return round(length * self.sample_rate)

    @property
    def psd_size(self) -> int:
        """Samples that one PSD is taken from."""
        return self._size(self.psd_length)

    @property
    def fft_size(self) -> int:
        """Samples of a Welch segment."""
        return self._size(self.fftlength)

    @property
    def hop_size(self) -> int:
        """Samples between two Welch segments."""
        return self.fft_size // 2

    @property
    def num_segments(self) -> int:
        """Welch segments in one PSD; odd."""
        return (self.psd_size - self.fft_size) // self.hop_size + 1

    @property
    def filter_size(self) -> int:
        """Taps of the whitening filter; half of them are lost at either end."""
        return self._size(self.fduration)

    @property
    def update_size(self) -> int:
        """Samples whitened with one PSD."""
        return self._size(self.update_length)

    @property
    def lead_size(self) -> int:
        """Samples of strain before the first whitened sample."""
        return self.psd_size + self.filter_size // 2

    @property
    def lead(self) -> float:
        """Time from the start of the strain to the first whitened sample [s]."""
        return self.lead_size / self.sample_rate

    def whitened_size(self, strain_size: int) -> int:
        """Whitened samples that a stretch of strain gives; 0 if it is too short."""
        return max(0, strain_size - self.psd_size - self.filter_size)

    def num_blocks(self, strain_size: int) -> int:
        """Blocks in a stretch of strain, the last of which may be shorter than the others."""
        return math.ceil(self.whitened_size(strain_size) / self.update_size)

    def block(self, seconds: float) -> int:
        """Index of the block that a time belongs to; negative before the first.

        Args:
            seconds: Time after the first sample of the strain [s].
        """
        return math.floor((seconds - self.lead) / self.update_length)
