"""Stationary Gaussian noise that does not depend on how it is cut into files."""

import functools

import numpy as np
from runtime import generator_for
from scipy import fft, signal

# Grid of GPS times on which white noise is drawn and coloured [s].
BLOCK_LENGTH = 64
# Length of the colouring filter; details of a curve finer than 2 / FILTER_LENGTH are smoothed [s].
FILTER_LENGTH = 8


class ColouredNoise:
    """Gaussian noise of one detector, defined for all GPS times.

    White noise is drawn in blocks of 64 s on an absolute GPS grid, each from its own generator,
    and coloured by a finite zero-phase filter, block by block on the same grid (overlap-save). A
    sample depends on its GPS time, the detector and the seed alone.

    Args:
        asd: One-sided ASD [1/sqrt(Hz)] at `frequencies(sample_rate)`.
        sample_rate: Sample rate [Hz].
        seed: Seed of the experiment.
        ifo: Detector.
    """

    def __init__(self, asd: np.ndarray, sample_rate: float, seed: int, ifo: str) -> None:
        self.sample_rate = sample_rate
        self.seed = seed
        self.ifo = ifo
        self.block_size = round(BLOCK_LENGTH * sample_rate)
        self.filter_size = round(FILTER_LENGTH * sample_rate)
        # white noise of unit variance has the one-sided density 2 / sample_rate
        impulse = fft.irfft(asd * np.sqrt(sample_rate / 2), n=self.filter_size)
        self.taps = fft.fftshift(impulse) * signal.windows.hann(self.filter_size, sym=False)
        self._fft_size = fft.next_fast_len(self.block_size + self.filter_size, real=True)
        self._response = fft.rfft(self.taps, n=self._fft_size)
        self._white = functools.lru_cache(maxsize=3)(self._draw)

    @staticmethod
    def frequencies(sample_rate: float) -> np.ndarray:
        """Frequencies at which the ASD is needed [Hz]."""
        return np.arange(round(FILTER_LENGTH * sample_rate) // 2 + 1) / FILTER_LENGTH

    def _draw(self, block: int) -> np.ndarray:
        generator = generator_for(self.seed, "simulate", self.ifo, block)
        return generator.standard_normal(self.block_size)

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
        spectrum = fft.rfft(white, n=self._fft_size) * self._response
        coloured = fft.irfft(spectrum, n=self._fft_size)
        # the first filter_size samples have seen the end of the circle
        return coloured[self.filter_size : self.filter_size + self.block_size]

    def strain(self, gps_start: float, gps_stop: float) -> np.ndarray:
        """Noise of a GPS span.

        Args:
            gps_start: GPS time of the first sample [s].
            gps_stop: GPS time after the last sample [s].

        Returns:
            Strain, float32.

        Raises:
            ValueError: The span does not begin and end on a sample.
        """
        bounds = []
        for gps in (gps_start, gps_stop):
            sample = round(gps * self.sample_rate)
            if sample != gps * self.sample_rate:
                raise ValueError(
                    f"GPS {gps} is not a sample time at {self.sample_rate} Hz: simulated strain "
                    "begins and ends on whole samples"
                )
            bounds.append(sample)
        start, stop = bounds
        out = np.empty(stop - start, dtype=np.float32)
        for block in range(start // self.block_size, -(-stop // self.block_size)):
            first = block * self.block_size
            low, high = max(start, first), min(stop, first + self.block_size)
            out[low - start : high - start] = self.block(block)[low - first : high - first]
        return out
