"""Simulated samples per second of one core, against two other ways to make noise of a curve.

The ways are bilby's, which colours one stretch of white noise in the frequency domain, and that of
`lalsimulation.SimNoise`, which PyCBC uses: overlapping pieces, one after the other.

Run with the environment of `projects/datagen`; see README.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import bilby
import lal
import lalsimulation
import numpy as np
from bilby.gw.detector import PowerSpectralDensity
from datagen.glitches import GlitchyNoise
from datagen.noise import ColouredNoise
from datagen.noise_curves import noise_asd
from runtime.experiment import Glitches
from scipy import signal

RATE = 2048.0
CURVES = ("SimNoisePSDaLIGOO3LowT1800545", "SimNoisePSDaLIGOEarlyHighSensitivityP1200087")
VARIATION_LENGTH = 3600.0
GLITCH_RATE = 0.01
GPS = 1240576184.0
# Length of SimNoise's pieces, each blended with the next over a half [s]
PIECE_LENGTH = 16
# Stretches between which seams are looked for, and their length [s]
NUM_STRETCHES = 97
STRETCH_LENGTH = 64.0
# Band in which they are looked for [Hz]
BAND = (20.0, 512.0)

Maker = Callable[[float, float], np.ndarray]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=float, default=4096.0, help="[s]")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    frequency = ColouredNoise.frequencies(RATE)
    asds = np.array([noise_asd(name, Path(), frequency) for name in CURVES])
    stationary = ColouredNoise(asds[0], RATE, 1, "H1")
    varying = ColouredNoise(asds, RATE, 1, "H1", VARIATION_LENGTH)
    glitchy = GlitchyNoise(varying, Glitches(rate=GLITCH_RATE), 32.0, RATE / 2)
    ways: dict[str, Maker] = {
        "datagen, stationary": stationary.strain,
        "datagen, varying": varying.strain,
        "datagen, varying, glitches": glitchy.strain,
        "bilby, stationary": by_bilby(frequency, asds[0]),
        "lalsimulation, stationary": by_lalsimulation(frequency, asds[0]),
    }
    speeds = {
        name: arguments.length * RATE / timed(make, arguments.length, arguments.repeats)
        for name, make in ways.items()
    }
    print(f"{'':27s}{'samples/s':>10s}{'real time':>11s}{'/ bilby':>9s}{'seam':>7s}")
    for name, make in ways.items():
        speed, ratio = speeds[name], speeds[name] / speeds["bilby, stationary"]
        step = seam(make, frequency, asds[0])
        print(f"{name:27s}{speed:10.3g}{speed / RATE:10.0f}x{ratio:9.2f}{step:7.1f}")
    print(
        f"seam: rms SNR of a step where one stretch joins the next, of {NUM_STRETCHES - 1}; 1 is "
        "none. bilby's\nnoise is periodic over its stretch, and two do not join; SimNoise's joins "
        "if made in one\ngo, from the first stretch on. Of neither can a stretch be made alone "
        "and fit its\nneighbours; neither varies in time or has glitches."
    )


def timed(make: Maker, length: float, repeats: int) -> float:
    """Median time of one core for a stretch, after one that is not counted [s]."""
    found = []
    for _ in range(repeats + 1):
        begun = time.process_time()
        make(GPS, GPS + length)
        found.append(time.process_time() - begun)
    return statistics.median(found[1:])


def seam(make: Maker, frequency: np.ndarray, asd: np.ndarray) -> float:
    """Root mean square SNR of a step where stretches that were made one by one join.

    Args:
        make: Makes a stretch.
        frequency: Frequencies from 0 to half the sample rate [Hz].
        asd: Its ASD there [1/sqrt(Hz)].

    Returns:
        1 where they join as if made in one.
    """
    starts = GPS + STRETCH_LENGTH * np.arange(NUM_STRETCHES)
    noise = np.concatenate([make(start, start + STRETCH_LENGTH) for start in starts])
    inside = (frequency >= BAND[0]) & (frequency <= BAND[1])
    matched = np.zeros(len(frequency), dtype=complex)
    # the conjugate of a step's spectrum over the PSD, to any scale
    matched[inside] = 1j / (frequency[inside] * (asd[inside] / asd[inside].min()) ** 2)
    # a step lies between two samples
    matched *= np.exp(-1j * np.pi * frequency / RATE)
    taps = np.fft.fftshift(np.fft.irfft(matched))
    found = signal.oaconvolve(noise.astype(np.float64), taps, mode="full")[len(taps) // 2 :]
    joins = (np.arange(1, NUM_STRETCHES) * STRETCH_LENGTH * RATE).astype(int)
    usual = np.median(np.abs(found)) / 0.6745
    return float(np.sqrt(np.mean(np.square(found[joins]))) / usual)


def by_bilby(frequency: np.ndarray, asd: np.ndarray) -> Maker:
    """Noise of one stretch, coloured as a whole in the frequency domain."""
    bilby.core.utils.random.seed(1)
    density = PowerSpectralDensity(frequency_array=frequency, psd_array=asd**2)

    def make(gps_start: float, gps_stop: float) -> np.ndarray:
        spectrum, _ = density.get_noise_realisation(RATE, gps_stop - gps_start)
        return bilby.core.utils.infft(spectrum, RATE).astype(np.float32)

    return make


def by_lalsimulation(frequency: np.ndarray, asd: np.ndarray) -> Maker:
    """Noise by `SimNoise`: each call goes on where the one before has ended, whatever the GPS."""
    size = round(PIECE_LENGTH * RATE)
    psd = lal.CreateREAL8FrequencySeries(
        "psd", lal.LIGOTimeGPS(0), 0.0, 1 / PIECE_LENGTH, lal.SecondUnit, size // 2 + 1
    )
    psd.data.data = np.interp(np.arange(size // 2 + 1) / PIECE_LENGTH, frequency, asd**2)
    random = lal.gsl_rng("ranlux", 1)
    series = lal.CreateREAL8TimeSeries(
        "noise", lal.LIGOTimeGPS(GPS), 0.0, 1 / RATE, lal.StrainUnit, size
    )
    lalsimulation.SimNoise(series, 0, psd, random)
    stride = size // 2

    def make(gps_start: float, gps_stop: float) -> np.ndarray:
        out = np.empty(round((gps_stop - gps_start) * RATE), dtype=np.float32)
        for piece in out.reshape(-1, stride):
            piece[:] = series.data.data[:stride]
            lalsimulation.SimNoise(series, stride, psd, random)
        return out

    return make


if __name__ == "__main__":
    main()
