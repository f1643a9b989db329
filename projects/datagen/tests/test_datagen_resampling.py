import itertools

import numpy as np
import pytest
from datagen.masks import true_spans
from datagen.resampling import Decimator, antialias_taps, decimate, reach, whole_factor
from scipy import signal

RATES = [(16384, 2048), (4096, 2048), (4096, 1024)]


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_band_is_kept_and_the_rest_is_gone(factor):
    nyquist = 512.0
    frequency, response = signal.freqz(antialias_taps(factor), worN=2**17, fs=2 * nyquist * factor)
    kept = frequency <= 0.82 * nyquist
    assert np.abs(np.abs(response[kept]) - 1).max() < 1e-4
    assert np.abs(response[frequency >= nyquist]).max() < 1e-3


@pytest.mark.parametrize(("fast_rate", "rate"), RATES)
def test_sines_in_the_band_are_kept_in_size_and_time(fast_rate, rate):
    """At 300 frequencies, against the sine itself at the new sample times."""
    factor = fast_rate // rate
    lost = reach(factor)
    fast, slow = np.arange(fast_rate) / fast_rate, np.arange(rate)[lost : rate - lost] / rate
    worst = 0.0
    for frequency in np.linspace(1, 0.82 * rate / 2, 300):
        for phase in (0.0, np.pi / 2):
            low = decimate(np.cos(2 * np.pi * frequency * fast + phase), factor)
            expected = np.cos(2 * np.pi * frequency * slow + phase)
            worst = max(worst, np.abs(low - expected).max())
    assert worst < 1e-4


@pytest.mark.parametrize(("fast_rate", "rate"), RATES)
def test_sines_above_the_new_nyquist_frequency_do_not_leak(fast_rate, rate):
    fast = np.arange(fast_rate) / fast_rate
    for frequency in np.linspace(rate / 2, fast_rate / 2, 300):
        low = decimate(np.cos(2 * np.pi * frequency * fast), fast_rate // rate)
        assert np.abs(low).max() < 1e-3


@pytest.mark.parametrize("factor", [1, 2, 4, 16])
def test_samples_stay_at_their_times(factor):
    """A pulse between samples stays where it is, which a shift by one sample would not."""
    rate = 512.0
    fast = np.arange(int(8 * rate * factor)) / (rate * factor)
    slow = np.arange(int(8 * rate)) / rate
    kept = slow[reach(factor) : len(slow) - reach(factor)]

    def pulse(time):
        return np.exp(-(((time - 4.0007) / 0.01) ** 2)) * np.cos(600 * (time - 4))

    low = decimate(pulse(fast), factor)
    assert len(low) == len(kept)
    assert np.abs(low - pulse(kept)).max() < 1e-4


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_pieces_give_what_the_whole_gives(factor, monkeypatch):
    values = np.random.default_rng(1).standard_normal(8 * 5000)
    whole = decimate(values, factor)
    monkeypatch.setattr(Decimator, "BLOCK_SIZE", 7777)
    decimator = Decimator(factor)
    cuts = [0, 1, 2, 1000, 1003, 30001, 30002, len(values)]
    pieces = [
        new for low, high in itertools.pairwise(cuts) for new in decimator.feed(values[low:high])
    ]
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=0, atol=1e-14)


def test_only_whole_factors():
    assert whole_factor(4096.0, 4096.0, "x") == 1
    assert whole_factor(16384.0, 2048.0, "x") == 8
    for found, wanted in ((4096.0, 16384.0), (4096.0, 3000.0)):
        with pytest.raises(ValueError, match=f"file has {found:g} Hz, expected {wanted:g} Hz"):
            whole_factor(found, wanted, "file")


def test_spans_of_a_mask():
    generator = np.random.default_rng(3)
    for size in range(12):
        mask = generator.random(size) < 0.6
        told = np.zeros(size, dtype=bool)
        spans = true_spans(mask)
        for low, high in spans:
            assert low < high
            told[low:high] = True
        np.testing.assert_array_equal(told, mask)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(spans))
