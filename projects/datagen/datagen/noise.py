"""Gaussian noise that does not depend on how it is cut into files."""

import functools
from collections.abc import Callable

import numpy as np
from runtime import generator_for
from scipy import fft, signal

# Grid of GPS times on which white noise is drawn and coloured [s].
BLOCK_LENGTH = 64
# Length of the colouring filter; details of a curve finer than 2 / FILTER_LENGTH are smoothed [s].
FILTER_LENGTH = 8
# Noise that changes faster than this has no PSD of its own at a time [s].
SHORTEST_VARIATION = 64


def cut_from_blocks(
    block_of: Callable[[int], np.ndarray],
    sample_rate: float,
    gps_start: float,
    gps_stop: float,
) -> np.ndarray:
    """Put a GPS span together from the blocks of the GPS grid.

    Args:
        block_of: Gives the samples of a block by its number.
        sample_rate: Sample rate [Hz].
        gps_start: GPS time of the first sample [s].
        gps_stop: GPS time after the last sample [s].

    Returns:
        Strain, float32.

    Raises:
        ValueError: The span does not begin and end on a sample.
    """
    bounds = []
    for gps in (gps_start, gps_stop):
        sample = round(gps * sample_rate)
        if sample != gps * sample_rate:
            raise ValueError(
                f"GPS {gps} is not a sample time at {sample_rate} Hz: simulated strain begins "
                "and ends on whole samples"
            )
        bounds.append(sample)
    start, stop = bounds
    size = round(BLOCK_LENGTH * sample_rate)
    out = np.empty(stop - start, dtype=np.float32)
    for block in range(start // size, -(-stop // size)):
        first = block * size
        low, high = max(start, first), min(stop, first + size)
        out[low - start : high - start] = block_of(block)[low - first : high - first]
    return out


class ColouredNoise:
    """Gaussian noise of one detector, defined for all GPS times.

    White noise is drawn in blocks of 64 s on an absolute GPS grid, each from its own generator,
    and coloured by a finite zero-phase filter, block by block on the same grid (overlap-save). A
    sample depends on its GPS time, the detector and the seed alone.

    Of several curves, number k (counted around) holds at GPS k * `variation_length`. In between,
    the one white noise is coloured by either curve, and the two are added with weights that sum
    to one and go from one to the other as a raised cosine. The filters have no phase, so
    amplitudes add: the ASD at each time is the same weighted mean of the two curves. The weights
    and their slopes are continuous, so there is no seam where a curve begins or ends. This takes
    the weights as constant over the length of the filter.

    Args:
        asds: One-sided ASD [1/sqrt(Hz)] at `frequencies(sample_rate)`, of shape (frequency,), or
            of several curves, of shape (curve, frequency).
        sample_rate: Sample rate [Hz].
        seed: Seed of the experiment.
        ifo: Detector.
        variation_length: Time in which one of several curves turns into the next [s].

    Raises:
        ValueError: Several curves follow each other too fast.
    """

    def __init__(
        self,
        asds: np.ndarray,
        sample_rate: float,
        seed: int,
        ifo: str,
        variation_length: float = 3600.0,
    ) -> None:
        curves = np.atleast_2d(asds)
        if len(curves) > 1 and variation_length < SHORTEST_VARIATION:
            raise ValueError(
                f"variation_length {variation_length} s is too short, expected at least "
                f"{SHORTEST_VARIATION} s: noise must vary slowly to have a PSD at each time"
            )
        self.sample_rate = sample_rate
        self.seed = seed
        self.ifo = ifo
        self.variation_length = variation_length
        self.block_size = round(BLOCK_LENGTH * sample_rate)
        self.filter_size = round(FILTER_LENGTH * sample_rate)
        window = signal.windows.hann(self.filter_size, sym=False)
        # white noise of unit variance has the one-sided density 2 / sample_rate
        self.taps = [
            fft.fftshift(fft.irfft(asd * np.sqrt(sample_rate / 2), n=self.filter_size)) * window
            for asd in curves
        ]
        self._fft_size = fft.next_fast_len(self.block_size + self.filter_size, real=True)
        # of many curves few hold at a time
        self._transfer = functools.lru_cache(maxsize=3)(self._transform)
        self._white = functools.lru_cache(maxsize=3)(self._draw)
        self._amplitude = functools.lru_cache(maxsize=3)(self._amplitude_of)

    @staticmethod
    def frequencies(sample_rate: float) -> np.ndarray:
        """Frequencies at which the ASD is needed [Hz]."""
        return np.arange(round(FILTER_LENGTH * sample_rate) // 2 + 1) / FILTER_LENGTH

    def _transform(self, curve: int) -> np.ndarray:
        return fft.rfft(self.taps[curve], n=self._fft_size)

    def _draw(self, block: int) -> np.ndarray:
        generator = generator_for(self.seed, "simulate", self.ifo, block)
        return generator.standard_normal(self.block_size)

    def _amplitude_of(self, curve: int, size: int) -> np.ndarray:
        half = self.filter_size // 2
        centred = np.zeros(size)
        centred[:half] = self.taps[curve][half:]
        centred[-half:] = self.taps[curve][:half]
        return fft.rfft(centred).real

    def weights(self, gps: np.ndarray) -> dict[int, np.ndarray]:
        """Weight of each curve that has a part in the noise at some of the times.

        Args:
            gps: Increasing GPS times [s].

        Returns:
            Weights of the shape of `gps`, by the number of the curve; their sum is one.
        """
        if len(self.taps) == 1:
            return {0: np.ones(len(gps))}
        place = gps / self.variation_length
        weights: dict[int, np.ndarray] = {}
        for node in range(int(np.floor(place[0])), int(np.floor(place[-1])) + 2):
            distance = np.clip(place - node, -1, 1)
            weight = 0.5 + 0.5 * np.cos(np.pi * distance)
            curve = node % len(self.taps)
            weights[curve] = weights[curve] + weight if curve in weights else weight
        return weights

    def response(self, gps: float, size: int) -> np.ndarray:
        """Frequency response of the colouring filter at a time, which is real.

        Args:
            gps: GPS time [s].
            size: Samples of the time series whose frequencies are wanted; at least `filter_size`.

        Returns:
            Response at the frequencies of `rfft` of that size. Divided by the root of half the
            sample rate it is the ASD [1/sqrt(Hz)] that the noise has, with the curve's details
            smoothed as the filter does.
        """
        parts = self.weights(np.array([gps])).items()
        return sum(weight[0] * self._amplitude(curve, size) for curve, weight in parts)

    def block(self, block: int) -> np.ndarray:
        """Noise of one block of the GPS grid, of `block_size` samples, float64."""
        half = self.filter_size // 2
        white = np.concatenate(
            (
                self._white(block - 1)[-half:],
                self._white(block),
                self._white(block + 1)[:half],
            )
        )
        spectrum = fft.rfft(white, n=self._fft_size)
        # the first filter_size samples have seen the end of the circle
        seen = slice(self.filter_size, self.filter_size + self.block_size)
        gps = (block * self.block_size + np.arange(self.block_size)) / self.sample_rate
        out = np.zeros(self.block_size)
        for curve, weight in sorted(self.weights(gps).items()):
            coloured = fft.irfft(spectrum * self._transfer(curve), n=self._fft_size)
            out += weight * coloured[seen]
        return out

    def strain(self, gps_start: float, gps_stop: float) -> np.ndarray:
        """Noise of a GPS span; see `cut_from_blocks`."""
        return cut_from_blocks(self.block, self.sample_rate, gps_start, gps_stop)
