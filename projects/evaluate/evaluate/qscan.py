"""Energy of whitened strain in time and frequency."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

QUALITIES = (4.0, 6.0, 9.0, 13.5, 20.0, 30.0)
"""Quality factors tried, each half as large again as the one before: a signal in between loses
less than a tenth of its energy."""
NUM_FREQUENCIES = 64


@dataclass(frozen=True)
class QScan:
    """Energies of a constant-Q transform.

    Attributes:
        quality: Quality factor.
        frequency: Centres of the tiles [Hz], equal in the logarithm, of shape (frequency,).
        energy: Energy in units of the noise's mean, of shape (frequency, sample).
    """

    quality: float
    frequency: np.ndarray
    energy: np.ndarray


def scan(strain: np.ndarray, sample_rate: float, low: float, high: float, quality: float) -> QScan:
    """Constant-Q transform of whitened strain.

    The transform of Chatterji et al. (2004, Class. Quantum Grav. 21, S1809): at each frequency f
    the Fourier transform is multiplied by their bisquare window (1 - x^2)^2, x = (f' - f) Q /
    (f sqrt(11)), and transformed back. White noise of variance one gives energies that are
    distributed exponentially with mean one; a signal of the form of a tile adds half its squared
    SNR. The strain is taken as periodic: close to its ends the energies mean nothing.

    Args:
        strain: Whitened strain of one detector in standard deviations of white noise, of shape
            (sample,).
        sample_rate: Samples per second.
        low: Lowest frequency [Hz].
        high: Highest frequency [Hz]; windows end at the Nyquist frequency.
        quality: Q.
    """
    size = len(strain)
    spectrum = fft.fft(np.asarray(strain, dtype=np.float64))[: size // 2]
    at = np.arange(size // 2) * sample_rate / size
    frequency = np.geomspace(low, high, NUM_FREQUENCIES)
    offset = (at - frequency[:, None]) * quality / (frequency[:, None] * np.sqrt(11))
    window = np.square(np.clip(1 - np.square(offset), 0, None))
    # the mean energy of white noise, whose Fourier transform has the variance `size`
    window *= np.sqrt(size / np.square(window).sum(axis=1, keepdims=True))
    filled = np.zeros((NUM_FREQUENCIES, size), dtype=complex)
    filled[:, : size // 2] = window * spectrum
    return QScan(quality, frequency, np.square(np.abs(fft.ifft(filled, axis=1))))


def loudest_scan(
    strain: np.ndarray, sample_rate: float, low: float, high: float, shown: slice
) -> QScan:
    """The transform of the quality factor at which one detector's loudest tile is loudest.

    Args:
        strain: Whitened strain, of shape (ifo, sample).
        sample_rate: Samples per second.
        low: Lowest frequency [Hz].
        high: Highest frequency [Hz].
        shown: Samples that are looked at and kept.

    Returns:
        Energies of shape (ifo, frequency, shown sample).
    """
    best: QScan | None = None
    for quality in QUALITIES:
        scans = [scan(series, sample_rate, low, high, quality) for series in strain]
        energy = np.stack([each.energy[:, shown] for each in scans])
        if best is None or energy.max() > best.energy.max():
            best = QScan(quality, scans[0].frequency, energy)
    assert best is not None
    return best
