"""Energy in time and frequency, against what noise and signals must give."""

import numpy as np
import pytest
from evaluate.qscan import QUALITIES, loudest_scan, scan
from scipy.stats import kstest

RATE, SIZE = 1024.0, 4096


def sine_gaussian(frequency, quality, at, snr):
    """A signal of squared norm snr^2 in white noise of variance one."""
    time = np.arange(SIZE) / RATE - at
    width = quality / (2 * np.pi * frequency * np.sqrt(2))
    signal = np.exp(-np.square(time / (2 * width))) * np.cos(2 * np.pi * frequency * time + 0.7)
    return snr * signal / np.sqrt(np.square(signal).sum())


def test_white_noise_is_exponential_with_mean_one():
    rng = np.random.default_rng(1)
    energies = [
        scan(rng.normal(size=SIZE), RATE, 40, 400, 8.0).energy[::6, ::512].ravel()
        for _ in range(40)
    ]
    energies = np.concatenate(energies)
    assert energies.mean() == pytest.approx(1, abs=0.05)
    assert kstest(energies, "expon").pvalue > 1e-3


def test_energy_is_that_of_the_sum_over_samples():
    """One tile by its definition, without Fourier transforms of numpy or scipy."""
    rng = np.random.default_rng(2)
    strain = rng.normal(size=256)
    found = scan(strain, 256.0, 30, 100, 6.0)
    row, column = 20, 77
    centre = found.frequency[row]
    time = np.arange(256) / 256.0
    total, norm = 0.0, 0.0
    for f in np.arange(0.0, 128.0):
        x = (f - centre) * 6.0 / (centre * np.sqrt(11))
        window = (1 - x**2) ** 2 if abs(x) < 1 else 0.0
        norm += window**2 / 256
        wave = np.sum(strain * np.exp(-2j * np.pi * f * time))
        total += window * wave * np.exp(2j * np.pi * f * time[column]) / 256
    assert found.energy[row, column] == pytest.approx(abs(total) ** 2 / norm)


@pytest.mark.parametrize(("frequency", "quality"), [(60.0, 6.0), (150.0, 9.0), (110.0, 20.0)])
def test_a_signal_gives_half_its_squared_snr_where_it_is(frequency, quality):
    signal = sine_gaussian(frequency, quality, 2.3, 12.0)
    found = loudest_scan(signal[None], RATE, 30, 400, slice(0, SIZE))
    _, row, column = np.unravel_index(found.energy.argmax(), found.energy.shape)
    assert found.energy.max() == pytest.approx(72, rel=0.1)
    assert found.energy.max() < 72
    assert found.frequency[row] == pytest.approx(frequency, rel=0.06)
    assert column / RATE == pytest.approx(2.3, abs=0.01)
    # neighbours in the list of quality factors are as good
    nearest = min(QUALITIES, key=lambda other: abs(np.log(other / quality)))
    assert abs(QUALITIES.index(found.quality) - QUALITIES.index(nearest)) <= 1


def test_energies_keep_to_the_shown_samples():
    signal = sine_gaussian(100.0, 9.0, 2.0, 10.0)
    found = loudest_scan(np.stack([signal, 0 * signal]), RATE, 30, 400, slice(1536, 2560))
    assert found.energy.shape == (2, len(found.frequency), 1024)
    assert found.energy[0].max() > 40
    assert found.energy[1].max() == 0
