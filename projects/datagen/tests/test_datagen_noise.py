import lal
import lalsimulation
import numpy as np
import pytest
from datagen.noise import ColouredNoise
from datagen.noise_curves import noise_asd
from gwpy.timeseries import TimeSeries
from scipy import signal, stats

RATE = 512.0
START = 1240579784  # lies 40 s into a block
# smooth: lines narrower than the filter resolves would be compared with their smoothed form
CURVE = "aLIGO_ZERO_DET_high_P_asd.txt"


@pytest.fixture(scope="module")
def asd(tmp_path_factory):
    return noise_asd(CURVE, tmp_path_factory.mktemp("x"), ColouredNoise.frequencies(RATE))


def noise(asd, ifo="H1", seed=7):
    return ColouredNoise(asd, RATE, seed, ifo)


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
    frequency, response = signal.freqz(coloured.taps, worN=8192, fs=RATE)
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
