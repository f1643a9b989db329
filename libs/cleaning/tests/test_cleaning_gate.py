import numpy as np
import pytest
from cleaning import asd, band_ratios, fade, gap_envelope, gate_envelope
from scipy.signal import butter, sosfilt

RATE = 512
BANDS = [(55.0, 65.0)]


def strain(seconds=8, line=1.0):
    random = np.random.default_rng(5)
    time = np.arange(seconds * RATE) / RATE
    return 1e-21 * (random.standard_normal(len(time)) + line * np.cos(2 * np.pi * 60 * time))


def test_densities_are_those_of_white_noise():
    values = 3e-22 * np.random.default_rng(1).standard_normal(200 * RATE)
    frequency, density = asd(values, RATE)
    assert density[frequency > 1].mean() == pytest.approx(3e-22 / np.sqrt(RATE / 2), rel=0.02)


def test_taking_the_line_off_is_well_and_adding_it_is_not():
    time = np.arange(8 * RATE) / RATE
    line = 1e-21 * np.cos(2 * np.pi * 60 * time)
    raw = strain()
    assert band_ratios(raw, raw - line, RATE, BANDS).well()
    assert not band_ratios(raw, raw + line, RATE, BANDS).well()
    # nothing done is no harm
    assert band_ratios(raw, raw, RATE, BANDS).well()


def test_every_band_counts():
    bands = [(20.0, 30.0), (55.0, 65.0)]
    time = np.arange(8 * RATE) / RATE
    raw = strain(line=3.0)
    cleaned = raw - 3e-21 * np.cos(2 * np.pi * 60 * time) + 1e-21 * np.cos(2 * np.pi * 25 * time)
    ratios = band_ratios(raw, cleaned, RATE, bands)
    assert ratios.inside[0] > 1 > ratios.inside[1]
    assert not ratios.well()


def test_harm_just_outside_the_band_is_seen():
    time = np.arange(8 * RATE) / RATE
    raw = strain()
    added = 3e-22 * np.cos(2 * np.pi * 66 * time)
    line = 1e-21 * np.cos(2 * np.pi * 60 * time)
    ratios = band_ratios(raw, raw - line + added, RATE, BANDS)
    assert ratios.inside[0] < 1
    assert not ratios.well()


@pytest.mark.parametrize(("level", "well"), [(0.02, True), (0.3, False)])
def test_a_little_just_outside_is_chance_and_more_is_not(level, well):
    # noise of a part of the strain's density, all over the strip and nowhere else
    random = np.random.default_rng(11)
    strip = butter(4, [52, 68], "bandpass", fs=RATE, output="sos")
    added = sosfilt(strip, random.standard_normal(64 * RATE))
    time = np.arange(64 * RATE) / RATE
    raw = strain(64, line=3.0)
    cleaned = raw - 3e-21 * np.cos(2 * np.pi * 60 * time) + level * 1e-21 * added
    parts = [slice(i * RATE, (i + 8) * RATE) for i in range(0, 64, 8)]
    found = [band_ratios(raw[p], cleaned[p], RATE, BANDS) for p in parts]
    assert all(ratios.inside[0] < 1 for ratios in found)
    verdicts = [ratios.well() for ratios in found]
    assert all(verdicts) if well else sum(verdicts) <= 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_well(bad):
    raw = strain()
    cleaned = raw.copy()
    cleaned[100] = bad
    assert not band_ratios(raw, cleaned, RATE, BANDS).well()
    assert not band_ratios(cleaned, raw, RATE, BANDS).well()
    assert not band_ratios(np.zeros_like(raw), np.zeros_like(raw), RATE, BANDS).well()


def test_the_gate_is_closed_in_a_bad_second_and_smooth_to_its_sides():
    good = [True, True, True, False, True, False, True, True, True]
    weights = np.concatenate(
        [gate_envelope(*good[i - 1 : i + 2], RATE) for i in range(1, len(good) - 1)]
    )
    for i in range(1, len(good) - 1):
        second = weights[(i - 1) * RATE : i * RATE]
        if not good[i]:
            assert (second == 0).all()
    assert (weights[:RATE] == 1).all()
    assert np.abs(np.diff(weights)).max() < 2 * np.pi / RATE
    assert weights[-1] == 1


def test_no_noise_is_taken_within_reach_of_a_dropped_second():
    weights = gap_envelope({104}, 100, 110, RATE, past=2.3, future=0.7, taper=0.25)
    time = 100 + np.arange(10 * RATE) / RATE
    assert (weights[(time >= 104 - 0.7) & (time <= 105 + 2.3)] == 0).all()
    assert (weights[(time < 104 - 0.96) | (time > 105 + 2.56)] == 1).all()
    assert np.abs(np.diff(weights)).max() < np.pi / (0.25 * RATE)


@pytest.mark.parametrize("span", [(100, 110), (103, 104), (105, 106), (104, 105)])
def test_the_envelope_of_a_part_is_that_part_of_the_envelope(span):
    whole = gap_envelope({95, 104, 112}, 90, 120, RATE, past=1.7, future=0.7, taper=0.25)
    start, stop = span
    part = gap_envelope({104}, start, stop, RATE, past=1.7, future=0.7, taper=0.25)
    np.testing.assert_array_equal(part, whole[(start - 90) * RATE : (stop - 90) * RATE])


def test_a_new_model_takes_over_smoothly():
    weight = fade(RATE)
    assert weight[0] == 0
    assert weight[-1] > 0.999
    assert (np.diff(weight) >= 0).all()


def test_the_gate_looks_at_the_band_and_not_at_all_power():
    raw = strain()
    # far away from the band, strong noise is no business of the gate
    far = sosfilt(butter(4, 150, "highpass", fs=RATE, output="sos"), strain())
    assert band_ratios(raw, raw + far, RATE, BANDS).inside[0] < 1.01
