import itertools
import os
from pathlib import Path

import h5py
import lal
import lalsimulation
import numpy as np
import pytest
from conftest import ROOT
from datagen.noise import ColouredNoise
from datagen.noise_curves import noise_asd
from gwpy.timeseries import TimeSeries
from scipy import signal, stats

RATE = 512.0
START = 1240579784  # lies 40 s into a block
# smooth: lines narrower than the filter resolves would be compared with their smoothed form
CURVE = "aLIGO_ZERO_DET_high_P_asd.txt"


@pytest.fixture(scope="module")
def real_curves():
    data = Path(os.environ.get("AFRAME_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (data / "noise_curves" / "O3a-psds").is_dir():
        pytest.skip(f"no measured PSDs at {data} (set AFRAME_TEST_DATA)")
    return data / "noise_curves"


@pytest.fixture(scope="module")
def asd(tmp_path_factory):
    return noise_asd(CURVE, tmp_path_factory.mktemp("x"), ColouredNoise.frequencies(RATE))


def noise(asd, ifo="H1", seed=7):
    return ColouredNoise(asd, RATE, seed, ifo)


@pytest.fixture(scope="module")
def changing(asd):
    """Three curves of different level and slope."""
    frequency = ColouredNoise.frequencies(RATE)
    tilted = asd * 2 * (np.maximum(frequency, 10) / 100) ** 0.7
    return np.array([asd, tilted, 3 * asd])


def varying(asds, variation_length, seed=7):
    return ColouredNoise(asds, RATE, seed, "H1", variation_length)


def test_pieces_are_the_whole_bit_for_bit(asd):
    whole = noise(asd).strain(START, START + 200)
    for cut in (0.5, 24, 77.25, 152, 199 + 511 / 512):
        first = noise(asd).strain(START, START + cut)
        second = noise(asd).strain(START + cut, START + 200)
        assert (np.concatenate((first, second)) == whole).all()


def test_psd_is_that_of_the_curve(asd):
    strain = noise(asd).strain(START, START + 2048).astype(np.float64)
    length = 4
    psd = TimeSeries(strain, sample_rate=RATE).psd(
        fftlength=length, overlap=length / 2, method="median", window="hann"
    )
    frequency = psd.frequencies.value
    band = (frequency > 25) & (frequency < 250)
    expected = np.interp(frequency[band], noise(asd).frequencies(RATE), asd**2)
    ratio = psd.value[band] / expected
    # 1023 half-overlapping segments: a median has a relative error of about 1.2 / sqrt(1023 / 1.1)
    sigma = 1.2 / np.sqrt(2048 / length * 2 / 1.1)
    assert abs(np.mean(ratio) - 1) < 5 * sigma / np.sqrt(band.sum() / 2)
    assert np.std(ratio) < 1.3 * sigma
    assert np.abs(ratio - 1).max() < 6 * sigma


def test_filter_has_the_curve_as_response(asd):
    coloured = noise(asd)
    frequency, response = signal.freqz(coloured.taps[0], worN=8192, fs=RATE)
    band = (frequency > 20) & (frequency < 250)
    expected = np.interp(frequency[band], coloured.frequencies(RATE), asd) * np.sqrt(RATE / 2)
    np.testing.assert_allclose(np.abs(response[band]), expected, rtol=0.02)


def test_nothing_happens_at_the_seams(asd):
    block = noise(asd).block_size
    first = START // 64 * 64
    strain = noise(asd).strain(first, first + 64 * 40).astype(np.float64)
    sos = signal.butter(8, [30, 200], "bandpass", fs=RATE, output="sos")
    white = signal.sosfiltfilt(sos, strain)
    reach = int(RATE / 4)
    seams = np.array([white[k * block - reach : k * block + reach] for k in range(1, 40)])
    middle = np.array(
        [white[int((k + 0.5) * block) + np.arange(-reach, reach)] for k in range(39)]
    )
    ratio = np.mean(seams**2) / np.mean(middle**2)
    assert abs(ratio - 1) < 0.15
    # a jump would stand out among the steps from sample to sample
    steps = np.abs(np.diff(strain))
    at_seams = steps[block - 1 :: block]
    assert stats.ks_2samp(at_seams, steps[1000::997]).pvalue > 1e-4


def test_detectors_seeds_and_neighbours_are_independent(asd):
    one = noise(asd, "H1").strain(START, START + 512)
    sos = signal.butter(8, [30, 200], "bandpass", fs=RATE, output="sos")
    pure = [
        signal.sosfiltfilt(sos, x.astype(np.float64))
        for x in (
            one,
            noise(asd, "L1").strain(START, START + 512),
            noise(asd, "H1", seed=8).strain(START, START + 512),
            noise(asd, "H1").strain(START + 512, START + 1024),
        )
    ]
    for other in pure[1:]:
        lags = signal.correlate(pure[0], other, method="fft")
        largest = np.abs(lags).max() / np.sqrt(np.sum(pure[0] ** 2) * np.sum(other**2))
        # coloured in a band: about 2 * 170 Hz * 512 s independent values, so 6 sigma is 0.014
        assert largest < 0.02


def test_varying_pieces_are_the_whole_bit_for_bit(changing):
    whole = varying(changing, 100.0).strain(START, START + 600)
    for cuts in ([77.25, 401.5], [0.5, 24, 152 + 1 / 512, 599.75]):
        edges = [0, *cuts, 600]
        # backwards, each by an object of its own
        pieces = [
            varying(changing, 100.0).strain(START + a, START + b)
            for a, b in reversed(list(itertools.pairwise(edges)))
        ]
        assert (np.concatenate(pieces[::-1]) == whole).all()


@pytest.mark.parametrize("part", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("node", [0, 1, 2])
def test_local_psd_is_between_the_curves(changing, node, part):
    length, many = 16, 24
    first = 1240578000  # a multiple of 3000, so that the curves are in order from here
    middle = first + 1000 * (node + part)
    psds = []
    for seed in range(many):
        strain = varying(changing, 1000.0, seed).strain(middle - length / 2, middle + length / 2)
        frequency, psd = signal.welch(strain.astype(np.float64) * 1e20, RATE, nperseg=1024)
        psds.append(psd * 1e-40)
    band = (frequency > 25) & (frequency < 250)
    near = np.cos(np.pi / 2 * part) ** 2
    one, two = changing[node], changing[(node + 1) % 3]
    amplitude = near * one + (1 - near) * two
    expected = np.interp(frequency[band], ColouredNoise.frequencies(RATE), amplitude**2)
    ratio = np.mean(psds, axis=0)[band] / expected
    # 2 s segments that overlap by half and correlate by 1/36: variance 1.06 over their number
    sigma = np.sqrt(1.06 / (many * (length - 1)))
    assert abs(np.mean(ratio) - 1) < 5 * sigma / np.sqrt(band.sum() / 2)
    assert abs(np.std(ratio) / sigma - 1) < 0.2


def test_same_curve_again_changes_nothing(asd):
    # the seams of the curves at each 70 s would show
    twice = varying(np.array([asd, asd]), 70.0).strain(START, START + 400)
    np.testing.assert_allclose(twice, noise(asd).strain(START, START + 400), atol=1e-29)


def test_nothing_happens_where_a_curve_begins(changing):
    # a step of the amplitude makes a spike above the frequencies at which the noise is loud
    frequency = ColouredNoise.frequencies(RATE)
    walled = changing * (1 + (25 / np.maximum(frequency, 10)) ** 10)
    sos = signal.butter(8, 100, "highpass", fs=RATE, output="sos")
    at_nodes, elsewhere = [], []
    for node in range(1240578000, 1240590000, 1000):
        strain = varying(walled, 1000.0).strain(node - 8, node + 8).astype(np.float64)
        high = signal.sosfiltfilt(sos, strain * 1e20)
        loudest = np.abs(high).reshape(-1, 16).max(axis=1) / high.std()
        middle = len(loudest) // 2
        at_nodes.append(loudest[middle - 1 : middle + 1].max())
        elsewhere += [loudest[32 : middle - 32].max(), loudest[middle + 32 : -32].max()]
    assert max(at_nodes) < max(elsewhere)
    assert np.mean(at_nodes) < np.mean(elsewhere)


def test_varying_too_fast(asd):
    with pytest.raises(ValueError, match=r"variation_length 10.0 s is too short"):
        varying(np.array([asd, asd]), 10.0)


def test_span_must_be_whole_samples(asd):
    with pytest.raises(ValueError, match="not a sample time"):
        noise(asd).strain(START + 0.0001, START + 2)


def test_lalsimulation_curves(tmp_path):
    frequency = np.arange(0, 512.1, 0.125)
    tabulated = noise_asd("SimNoisePSDaLIGOO3LowT1800545", tmp_path, frequency)
    series = lal.CreateREAL8FrequencySeries(
        "", lal.LIGOTimeGPS(0), 0, 0.5, lal.DimensionlessUnit, 2000
    )
    lalsimulation.SimNoisePSDaLIGOO3LowT1800545(series, 10.0)
    np.testing.assert_allclose(
        tabulated[80::4], np.sqrt(series.data.data[20 : len(tabulated[::4])]), rtol=1e-6
    )
    assert (tabulated[:80] == 0).all()
    analytic = noise_asd("SimNoisePSDaLIGOZeroDetHighPower", tmp_path, frequency)
    expected = lalsimulation.SimNoisePSDaLIGOZeroDetHighPower(100.0) ** 0.5
    assert analytic[800] == pytest.approx(expected)


def test_bilby_curves_of_either_kind_agree(tmp_path):
    frequency = np.arange(0, 512.1, 0.125)
    as_asd = noise_asd("aLIGO_ZERO_DET_high_P_asd.txt", tmp_path, frequency)
    as_psd = noise_asd("aLIGO_ZERO_DET_high_P_psd.txt", tmp_path, frequency)
    np.testing.assert_allclose(as_asd[160:], as_psd[160:], rtol=0.02)


def test_own_file_is_an_asd_beside_the_experiment(tmp_path):
    (tmp_path / "mine.txt").write_text("# f asd\n10 1e-22\n100 1e-23\n600 1e-23\n")
    values = noise_asd("mine.txt", tmp_path, np.arange(0, 512.1, 0.5))
    assert values[400] == pytest.approx(1e-23)
    # straight in the logarithms
    assert values[2 * 40] == pytest.approx(1e-22 * 4**-1.0)


def psd_file(path, values, **attributes):
    with h5py.File(path, "w") as file:
        file["data"] = values
        file["data"].attrs.update(attributes)


def test_hdf5_file_is_a_psd_beside_the_experiment(tmp_path):
    grid = np.arange(0, 257.0)
    psd_file(tmp_path / "mine.hdf5", 1e-46 * (1 + grid) ** 2, delta_f=1.0)
    values = noise_asd("mine.hdf5", tmp_path, np.arange(0, 256.1, 0.5))
    np.testing.assert_allclose(values[20::2], 1e-23 * (1 + grid[10:]), rtol=1e-12)
    assert (values[:20] == 0).all()


def test_measured_psd_is_what_the_noise_has(real_curves):
    name = "O3a-psds/H1/psd-03.hdf5"
    rate = 2048.0
    values = noise_asd(name, real_curves, ColouredNoise.frequencies(rate))
    with h5py.File(real_curves / name) as file:
        measured = file["data"][()]
    np.testing.assert_allclose(values[160::8], np.sqrt(measured[20:]), rtol=1e-9)
    strain = ColouredNoise(values, rate, 1, "H1").strain(START, START + 256)
    _, psd = signal.welch(
        strain.astype(np.float64) * 1e20, rate, nperseg=4096, window=("kaiser", 14)
    )
    # away from lines, where curve, filter and estimate smooth differently
    steps = np.abs(np.diff(np.log(measured), append=0))
    calm = [f for f in range(30, 1000) if steps[f - 3 : f + 3].max() < 0.5]
    ratio = psd[2 * np.array(calm)] * 1e-40 / measured[calm]
    assert len(calm) > 600
    assert np.median(ratio) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("values", "attributes", "message"),
    [
        (np.ones(257), {"delta_f": 0.5}, "ends at 128.0 Hz, expected a curve up to half"),
        (np.ones(257), {}, "holds data, expected one dataset `data`"),
        (np.ones((2, 257)), {"delta_f": 1.0}, "holds data, expected one dataset `data`"),
    ],
)
def test_bad_hdf5_curves(tmp_path, values, attributes, message):
    psd_file(tmp_path / "mine.hdf5", values, **attributes)
    with pytest.raises(ValueError, match=message):
        noise_asd("mine.hdf5", tmp_path, np.arange(0, 256.1, 0.5))


def test_broken_hdf5_curve(tmp_path):
    (tmp_path / "mine.hdf5").write_text("10 1e-23\n")
    with pytest.raises(ValueError, match="not a readable HDF5 file"):
        noise_asd("mine.hdf5", tmp_path, np.arange(0, 256.1, 0.5))


def test_measured_curve_ends_below_half_the_sample_rate(real_curves):
    with pytest.raises(ValueError, match=r"ends at 1024.0 Hz, .*, 2048.0 Hz: lower sample_rate"):
        noise_asd("O3a-psds/L1/psd-00.hdf5", real_curves, ColouredNoise.frequencies(4096.0))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nothing.txt", None, "no noise curve 'nothing.txt'"),
        ("SimNoisePSDNothing", None, "lalsimulation has no noise function"),
        ("aplus.txt", None, "does not say in its name"),
        ("a.txt", "10 1e-22\n100 1e-23\n", "ends at 100.0 Hz"),
        ("a.txt", "50 1e-22\n600 1e-23\n", "begins at 50.0 Hz"),
        ("a.txt", "10 1e-22\n9 1e-23\n600 1e-23\n", "must be positive and rise"),
        ("a.txt", "10\n600\n", "1 column"),
        ("a.txt", "one two\n", "not a table of numbers"),
    ],
)
def test_bad_curves(tmp_path, name, text, message):
    if text:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        noise_asd(name, tmp_path, np.arange(0, 512.1, 0.5))
