import numpy as np
import pytest
from cleaning import BandPass, Resampler, Series
from scipy.signal import freqz

RATES = [(16384, 4096), (2048, 512), (256, 512), (512, 4096), (4096, 4096), (1000, 512)]


def noise(rate, seconds, first=0, seed=1):
    values = np.random.default_rng(seed).standard_normal(rate * seconds)
    return Series(values, rate, first)


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_a_stretch_resampled_in_parts_is_the_stretch_resampled(rate_in, rate_out):
    whole = noise(rate_in, 12, first=7 * rate_in)
    resampler = Resampler(rate_in, rate_out)
    expected = resampler(whole)
    for first, stop in [(7, 13), (9, 15), (12, 19)]:
        part = resampler(whole.seconds(first, stop))
        assert part.size > 0
        np.testing.assert_array_equal(part.values, expected.cut(part.first, part.stop).values)


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
def test_a_tone_keeps_its_phase_and_amplitude(rate_in, rate_out):
    frequency = 0.3 * min(rate_in, rate_out)
    index = np.arange(10 * rate_in) + 5 * rate_in
    tone = Series(np.cos(2 * np.pi * frequency * index / rate_in), rate_in, 5 * rate_in)
    found = Resampler(rate_in, rate_out)(tone)
    time = (found.first + np.arange(found.size)) / rate_out
    np.testing.assert_allclose(found.values, np.cos(2 * np.pi * frequency * time), atol=3e-4)


def test_slow_channels_are_interpolated_between_neighbours():
    index = np.arange(10 * 16)
    slow = Series(np.cos(2 * np.pi * 0.5 * index / 16), 16, 0)
    resampler = Resampler(16, 512)
    assert resampler.reach == 1 / 16
    found = resampler(slow)
    time = (found.first + np.arange(found.size)) / 512
    np.testing.assert_allclose(found.values, np.cos(2 * np.pi * 0.5 * time), atol=0.1)


def test_what_is_above_the_new_half_rate_does_not_come_back():
    index = np.arange(20 * 4096)
    tone = Series(np.cos(2 * np.pi * 300.0 * index / 4096), 4096, 0)
    assert np.abs(Resampler(4096, 512)(tone).values).max() < 3e-4


def test_the_reach_is_what_an_impulse_touches():
    resampler = Resampler(2048, 512)
    impulse = np.zeros(8 * 2048)
    impulse[4 * 2048] = 1.0
    found = resampler(Series(impulse, 2048, 0))
    touched = np.flatnonzero(np.abs(found.values) > 1e-12)
    place = (found.first + touched) / 512 - 4.0
    assert -resampler.reach <= place.min() < -0.9 * resampler.reach
    assert 0.9 * resampler.reach < place.max() <= resampler.reach


def test_no_sample_is_made_up_at_the_ends():
    resampler = Resampler(2048, 512)
    found = resampler(noise(2048, 4, first=2048))
    assert found.first / 512 - 1.0 == pytest.approx(resampler.reach, abs=1 / 512)
    assert 5.0 - (found.stop - 1) / 512 == pytest.approx(resampler.reach, abs=2 / 512)


@pytest.mark.parametrize(
    "bands", [((55.0, 65.0),), ((58.0, 62.0),), ((10.0, 13.0), (101.0, 107.0))]
)
def test_the_band_pass_passes_the_middle_and_stops_what_is_outside(bands):
    band_pass = BandPass(bands, 512)
    frequency, response = freqz(band_pass.taps, worN=16384, fs=512)
    gain = np.abs(response)
    outside = np.ones(len(frequency), dtype=bool)
    for low, high in bands:
        middle = (low + high) / 2
        assert gain[np.abs(frequency - middle).argmin()] == pytest.approx(1.0, abs=0.05)
        outside &= (frequency < low - 1.0) | (frequency > high + 1.0)
    assert gain[outside].max() < 0.02


def test_the_response_is_that_of_the_taps():
    band_pass = BandPass(((55.0, 65.0),), 512)
    frequency, response = freqz(band_pass.taps, worN=1024, fs=512)
    turned = response * np.exp(2j * np.pi * frequency * band_pass.half_size / 512)
    np.testing.assert_allclose(band_pass.response(frequency), turned.real, atol=1e-12)
    np.testing.assert_allclose(turned.imag, 0.0, atol=1e-12)


def test_filtering_in_parts_gives_the_same():
    whole = noise(512, 40, first=3 * 512)
    band_pass = BandPass(((55.0, 65.0),), 512)
    expected = band_pass(whole)
    part = band_pass(whole.seconds(10, 17))
    wanted = expected.cut(part.first, part.stop).values
    np.testing.assert_allclose(part.values, wanted, atol=1e-12)
    assert part.first == 10 * 512 + 230


def test_samples_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"samples \[0, 512\) at 512 Hz asked for"):
        noise(512, 4, first=512).seconds(0, 1)
