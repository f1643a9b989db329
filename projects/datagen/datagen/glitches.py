"""Glitches in simulated noise: when they happen, what they look like, how loud they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ledger import GlitchSet
from runtime import generator_for
from runtime.experiment import Glitches
from scipy import fft

from datagen.noise import BLOCK_LENGTH, FILTER_LENGTH, ColouredNoise, cut_from_blocks

# A sine-Gaussian is cut off at this many of its decay times, where it is below 1e-10.
DECAY_TIMES = 5.0
# Time over which a glitch is coloured, its filter included [s].
LONGEST = 2 * FILTER_LENGTH


@dataclass(frozen=True)
class Glitch:
    """One glitch, as drawn.

    Attributes:
        ifo: Detector.
        time: GPS time of its middle [s].
        snr: Optimal SNR in the analysed band, by the simulated noise at its time.
    """

    kind: ClassVar[str]
    ifo: str
    time: float
    snr: float


@dataclass(frozen=True)
class SineGaussian(Glitch):
    """A sine-Gaussian.

    The strain is that of cos(2 pi f t + phase) exp(-(t / tau)^2), t counted from its middle, with
    tau = quality / (sqrt(2) pi f).

    Attributes:
        phase: Phase at its middle [rad].
        frequency: Central frequency f [Hz].
        quality: Quality factor.
    """

    kind: ClassVar[str] = "sine-gaussian"
    phase: float
    frequency: float
    quality: float


@dataclass(frozen=True)
class CutShape(Glitch):
    """A shape that was cut from data.

    Attributes:
        shape: Its row in the `GlitchSet`.
    """

    kind: ClassVar[str] = "shape"
    shape: int


def _power_law(part: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values between two bounds with density proportional to the power -3, by their quantiles."""
    return (low**-2 - part * (low**-2 - high**-2)) ** -0.5


def _logarithmic(part: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values between two bounds, uniform in the logarithm, by their quantiles."""
    return low * (high / low) ** part


def _glitches_of_block(
    settings: Glitches, seed: int, ifo: str, block: int, num_shapes: int
) -> list[SineGaussian | CutShape]:
    generator = generator_for(seed, "glitches", ifo, block)
    count = generator.poisson(settings.rate * BLOCK_LENGTH)
    # a column for each property, so that another kind of glitch leaves times and SNRs as they are
    place, loudness, pitch, ringing, turn, pick = generator.random((count, 6)).T
    times = (block + place) * BLOCK_LENGTH
    snrs = _power_law(loudness, *settings.snr)
    frequencies = _logarithmic(pitch, *settings.frequency)
    qualities = _logarithmic(ringing, *settings.quality)
    order = np.argsort(times, kind="stable")
    if num_shapes:
        shapes = (pick * num_shapes).astype(int)
        drawn = zip(
            times[order].tolist(), snrs[order].tolist(), shapes[order].tolist(), strict=True
        )
        return [CutShape(ifo, time, snr, shape) for time, snr, shape in drawn]
    values = (times, snrs, 2 * np.pi * turn, frequencies, qualities)
    return [SineGaussian(ifo, *row) for row in np.column_stack(values)[order].tolist()]


def glitches_in(
    settings: Glitches,
    seed: int,
    ifo: str,
    gps_start: float,
    gps_stop: float,
    num_shapes: int = 0,
) -> list[SineGaussian | CutShape]:
    """Glitches of a detector whose middle lies in a GPS span.

    They are a Poisson process on an absolute GPS grid: what is found does not depend on the span
    that is asked for.

    Args:
        settings: Rate and properties.
        seed: Seed of the experiment.
        ifo: Detector.
        gps_start: Start of the span [s].
        gps_stop: End of the span [s].
        num_shapes: Number of shapes to draw from, each as likely, whatever detector it was cut
            from; sine-Gaussians if 0.

    Returns:
        The glitches in time order.
    """
    blocks = range(math.floor(gps_start / BLOCK_LENGTH), math.ceil(gps_stop / BLOCK_LENGTH))
    return [
        glitch
        for block in blocks
        for glitch in _glitches_of_block(settings, seed, ifo, block, num_shapes)
        if gps_start <= glitch.time < gps_stop
    ]


def _decay_time(frequency: float, quality: float) -> float:
    """Time in which the envelope of a sine-Gaussian falls to 1/e [s]."""
    return quality / (math.sqrt(2) * math.pi * frequency)


class GlitchyNoise:
    """Coloured noise with glitches added.

    Args:
        noise: The noise.
        settings: Rate and properties of the glitches.
        highpass: Lowest frequency that counts for the SNR [Hz].
        lowpass: Highest frequency that counts for the SNR [Hz].
        shapes: Shapes to draw from; sine-Gaussians if None.

    Raises:
        ValueError: Glitches last too long or lie outside the band, or the noise has no density
            somewhere in the band.
    """

    def __init__(
        self,
        noise: ColouredNoise,
        settings: Glitches,
        highpass: float,
        lowpass: float,
        shapes: GlitchSet | None = None,
    ) -> None:
        self.noise, self.settings = noise, settings
        rate = noise.sample_rate
        self.size = round(LONGEST * rate)
        self.frequency = fft.rfftfreq(self.size, 1 / rate)
        self.band = (self.frequency >= highpass) & (self.frequency <= lowpass)
        if any(
            (noise.response(k * noise.variation_length, self.size)[self.band] <= 0).any()
            for k in range(len(noise.taps))
        ):
            raise ValueError(
                f"the simulated noise of {noise.ifo} has no density somewhere between {highpass} "
                f"and {lowpass} Hz, so glitches there have no SNR: raise highpass above 10 Hz"
            )
        none = np.zeros((0, 0))
        self.shapes = none if shapes is None else np.asarray(shapes.shape, dtype=np.float64)
        if shapes is None:
            low, high = settings.frequency
            if low < highpass or high > lowpass:
                raise ValueError(
                    f"glitches.frequency [{low}, {high}] is not within the analysed band "
                    f"[{highpass}, {lowpass}] Hz, in which the SNR of glitches is counted"
                )
            self.reach = DECAY_TIMES * _decay_time(low, settings.quality[1])
            if self.reach > LONGEST / 2:
                raise ValueError(
                    f"sine-Gaussians of {low} Hz and quality {settings.quality[1]} last "
                    f"{2 * self.reach:.1f} s, expected at most {LONGEST} s: lower "
                    "glitches.quality or raise glitches.frequency"
                )
        else:
            length = self.shapes.shape[1] / rate
            self.reach = (length + FILTER_LENGTH) / 2
            if length > LONGEST - FILTER_LENGTH:
                raise ValueError(
                    f"glitch shapes are {length} s long, expected at most "
                    f"{LONGEST - FILTER_LENGTH} s"
                )

    def glitches(self, gps_start: float, gps_stop: float) -> list[SineGaussian | CutShape]:
        """Glitches whose middle lies in a GPS span; see `glitches_in`."""
        return glitches_in(
            self.settings,
            self.noise.seed,
            self.noise.ifo,
            gps_start,
            gps_stop,
            len(self.shapes),
        )

    def _scale(self, spectrum: np.ndarray, response: np.ndarray, snr: float) -> float:
        """Factor that brings a glitch to an SNR.

        The squared SNR is 4 times the integral over the band of |h(f)|^2 / S(f) (Allen et al.,
        Phys. Rev. D 85, 122006 (2012), equation 3.6).

        Args:
            spectrum: Discrete Fourier transform of the samples of strain, of `size` samples.
            response: Response of the colouring filter, whose square is S(f) times half the sample
                rate.
            snr: SNR to reach.

        Raises:
            ValueError: The glitch has nothing in the band.
        """
        # with h = spectrum / rate and a step of rate / size, the rates cancel
        power = np.sum(np.square(np.abs(spectrum[self.band]) / response[self.band]))
        found = math.sqrt(2 * power / self.size)
        if found == 0:
            raise ValueError(
                "a glitch shape has nothing in the band that is analysed: cut shapes with the "
                "highpass and lowpass of this experiment"
            )
        return snr / found

    def waveform(self, glitch: SineGaussian | CutShape) -> tuple[int, np.ndarray]:
        """Strain of a glitch.

        A sine-Gaussian is sampled; what it has above half the sample rate folds back. A cut shape
        is moved to its time between samples, and coloured by the filter that colours the noise.

        Args:
            glitch: The glitch.

        Returns:
            Number of the first sample, counted from GPS 0, and the strain, float64.
        """
        rate = self.noise.sample_rate
        response = self.noise.response(glitch.time, self.size)
        middle = round(glitch.time * rate)
        if isinstance(glitch, SineGaussian):
            decay = _decay_time(glitch.frequency, glitch.quality)
            half = math.ceil(DECAY_TIMES * decay * rate)
            time = np.arange(middle - half, middle + half) / rate - glitch.time
            values = np.cos(2 * np.pi * glitch.frequency * time + glitch.phase)
            values *= np.exp(-np.square(time / decay))
            spectrum = fft.rfft(values, n=self.size)
        else:
            half = math.ceil(self.reach * rate)
            shape = self.shapes[glitch.shape]
            padded = np.zeros(self.size)
            first = (self.size - len(shape)) // 2
            padded[first : first + len(shape)] = shape
            later = glitch.time - middle / rate
            delay = np.exp(-2j * np.pi * later * self.frequency)
            spectrum = fft.rfft(padded) * delay * response
            values = fft.irfft(spectrum, n=self.size)
            values = values[self.size // 2 - half : self.size // 2 + half]
        return middle - half, values * self._scale(spectrum, response, glitch.snr)

    def block(self, block: int) -> np.ndarray:
        """Noise and glitches of one block of the GPS grid, float64.

        Glitches of neighbouring blocks that reach into this one are in it.
        """
        out = self.noise.block(block)
        # rounding to samples may add one at either end
        reach = self.reach + 2 / self.noise.sample_rate
        start = block * BLOCK_LENGTH
        for glitch in self.glitches(start - reach, start + BLOCK_LENGTH + reach):
            first, values = self.waveform(glitch)
            first -= block * self.noise.block_size
            low, high = max(first, 0), min(first + len(values), len(out))
            if low < high:
                out[low:high] += values[low - first : high - first]
        return out

    def strain(self, gps_start: float, gps_stop: float) -> np.ndarray:
        """Noise and glitches of a GPS span; see `cut_from_blocks`."""
        return cut_from_blocks(self.block, self.noise.sample_rate, gps_start, gps_stop)
