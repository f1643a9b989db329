import numpy as np
import pytest
from datagen.resampling import antialias_taps, decimate, reach
from scipy import signal


@pytest.mark.parametrize("factor", [2, 4, 16])
def test_band_is_kept_and_the_rest_is_gone(factor):
    nyquist = 512.0
    frequency, response = signal.freqz(antialias_taps(factor), worN=2**17, fs=2 * nyquist * factor)
    kept = frequency <= 0.8 * nyquist
    assert np.abs(np.abs(response[kept]) - 1).max() < 1e-4
    assert np.abs(response[frequency >= nyquist]).max() < 1e-3


@pytest.mark.parametrize("factor", [1, 2, 4, 16])
def test_samples_stay_at_their_times(factor):
    rate = 512.0
    fast = np.arange(int(8 * rate * factor)) / (rate * factor)
    slow = np.arange(int(8 * rate)) / rate
    kept = slow[reach(factor) : len(slow) - reach(factor)]
    for frequency in (0.0, 20.0, 0.8 * rate / 2):
        tone = np.cos(2 * np.pi * frequency * fast + 0.3)
        low = decimate(tone, factor)
        assert len(low) == len(kept)
        assert np.abs(low - np.cos(2 * np.pi * frequency * kept + 0.3)).max() < 1e-4
    if factor > 1:
        alias = decimate(np.cos(2 * np.pi * 1.05 * rate / 2 * fast), factor)
        assert np.abs(alias).max() < 1e-3
