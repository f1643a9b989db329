import csv
import os
from pathlib import Path

import lalsimulation
import numpy as np
import pytest
from conftest import ROOT
from datagen.cut_glitches import (
    SHAPE_LENGTH,
    Trigger,
    apart,
    cut_glitches,
    loud_part,
    read_triggers,
)
from datagen.glitches import GlitchyNoise, glitches_in
from datagen.import_strain import import_strain
from datagen.index import index_strain
from datagen.noise import ColouredNoise
from datagen.noise_curves import noise_asd
from datagen.simulate import list_glitches, simulate_strain
from ledger import (
    GlitchSet,
    ProductError,
    StrainIndex,
    StrainSegment,
    read_provenance,
    strain_file_name,
)
from runtime import load_experiment, make_provenance
from runtime.experiment import Glitches
from scipy import signal, stats

RATE = 1024.0
START = 1240579784
CURVE = "aLIGO_ZERO_DET_high_P_asd.txt"
HIGHPASS = 30.0


@pytest.fixture(scope="module")
def asd(tmp_path_factory):
    return noise_asd(CURVE, tmp_path_factory.mktemp("x"), ColouredNoise.frequencies(RATE))


def glitchy(asds, shapes=None, variation_length=1000.0, **settings):
    noise = ColouredNoise(asds, RATE, 3, "H1", variation_length)
    return GlitchyNoise(noise, Glitches(**settings), HIGHPASS, RATE / 2, shapes)


def glitch_set(shapes):
    shapes = np.atleast_2d(shapes).astype(np.float32)
    snr = np.sqrt(np.square(shapes, dtype=np.float64).sum(axis=1))
    count = len(shapes)
    return GlitchSet(
        sample_rate=RATE, ifo=["H1"] * count, time=np.zeros(count), snr=snr, shape=shapes
    )


class MatchedFilter:
    """Independent of the code under test: numpy, the curve as published, trapezoids."""

    def __init__(self, asd, size):
        self.frequency = np.fft.rfftfreq(size, 1 / RATE)
        density = np.interp(self.frequency, ColouredNoise.frequencies(RATE), asd) ** 2
        self.weight = np.where(self.frequency >= HIGHPASS, 1, 0) / np.maximum(density, 1e-60)

    def inner(self, one, two):
        a, b = np.fft.rfft(one) / RATE, np.fft.rfft(two) / RATE
        return 4 * np.trapezoid((a * b.conj()).real * self.weight, self.frequency)

    def snr(self, data, template):
        return self.inner(data, template) / np.sqrt(self.inner(template, template))


def sine_gaussian(glitch, times):
    """By lalsimulation, at the times of samples."""
    plus, _ = lalsimulation.SimBurstSineGaussian(
        glitch.quality, glitch.frequency, 1e-21, 0.999999, -glitch.phase, 1 / 65536
    )
    epoch = float(plus.epoch)
    own = epoch + np.arange(plus.data.length) / 65536
    return np.interp(times - glitch.time, own, plus.data.data, left=0, right=0)


# -- when, how loud, which ------------------------------------------------------------------


def test_times_are_a_poisson_process():
    found = glitches_in(Glitches(rate=0.2), 1, "H1", START, START + 50000)
    times = np.array([g.time for g in found])
    assert (np.diff(times) > 0).all()
    assert len(times) == pytest.approx(10000, abs=4 * 100)
    assert stats.kstest(np.diff(times), "expon", args=(0, 5)).pvalue > 1e-3
    # no place in the grid is preferred
    assert stats.kstest(times % 64 / 64, "uniform").pvalue > 1e-3
    per_block = np.bincount(((times - times[0]) // 64).astype(int))
    assert per_block.var() / per_block.mean() == pytest.approx(1, abs=0.2)


def test_properties_follow_their_densities():
    settings = Glitches(rate=1, snr=(6, 30), frequency=(50, 200), quality=(4, 40))
    found = glitches_in(settings, 1, "H1", START, START + 10000)

    def probability(snr):
        return (6**-2 - np.asarray(snr) ** -2.0) / (6**-2 - 30**-2)

    assert stats.kstest([g.snr for g in found], probability).pvalue > 1e-3
    for name, low, high in (("frequency", 50, 200), ("quality", 4, 40)):
        part = np.log([getattr(g, name) / low for g in found]) / np.log(high / low)
        assert stats.kstest(part, "uniform").pvalue > 1e-3
    assert stats.kstest([g.phase / (2 * np.pi) for g in found], "uniform").pvalue > 1e-3


def test_glitches_depend_on_time_detector_and_seed_alone():
    settings = Glitches(rate=0.1)
    whole = glitches_in(settings, 1, "H1", START, START + 1000)
    cut = START + 333.3
    parts = glitches_in(settings, 1, "H1", cut, START + 1000)
    assert glitches_in(settings, 1, "H1", START, cut) + parts == whole
    times = {g.time for g in whole}
    assert not times & {g.time for g in glitches_in(settings, 1, "L1", START, START + 1000)}
    assert not times & {g.time for g in glitches_in(settings, 2, "H1", START, START + 1000)}
    shapes = glitches_in(settings, 1, "H1", START, START + 1000, num_shapes=3)
    assert [(g.time, g.snr) for g in shapes] == [(g.time, g.snr) for g in whole]
    assert {g.shape for g in shapes} == {0, 1, 2}


# -- sine-Gaussians -------------------------------------------------------------------------


def test_sine_gaussians_are_found_with_their_snr(asd):
    noise = glitchy(asd, rate=0.04, snr=(20, 20), frequency=(60, 250))
    span = (START, START + 4000)
    strain = noise.strain(*span).astype(np.float64)
    found = noise.glitches(*span)
    times = np.array([g.time for g in found])
    clear = (np.diff(times, prepend=0) > 4) & (np.diff(times, append=np.inf) > 4)
    clear &= (times > span[0] + 4) & (times < span[1] - 4)
    chosen = [g for g, ok in zip(found, clear, strict=True) if ok]
    assert len(chosen) > 90
    size = int(8 * RATE)
    matched = MatchedFilter(asd, size)
    window = signal.windows.tukey(size, 0.25)
    recovered = []
    for glitch in chosen:
        first = round((glitch.time - span[0]) * RATE) - size // 2
        times = span[0] + (first + np.arange(size)) / RATE
        template = sine_gaussian(glitch, times)
        recovered.append(matched.snr(strain[first : first + size] * window, template))
    # unit variance: the mean is good to 0.1, which is half a percent
    assert np.mean(recovered) == pytest.approx(20, abs=4 / np.sqrt(len(chosen)))
    assert np.std(recovered) == pytest.approx(1, abs=4 / np.sqrt(2 * len(chosen)))


def test_snr_is_by_the_noise_at_the_time_of_the_glitch(asd):
    noise = glitchy(np.array([asd, 3 * asd]), rate=0.02, snr=(10, 10))
    matched = MatchedFilter(asd, noise.size)
    for glitch in noise.glitches(START, START + 3000):
        _, values = noise.waveform(glitch)
        padded = np.concatenate((values, np.zeros(noise.size - len(values))))
        part = (glitch.time / 1000) % 2
        level = 1 + 2 * np.sin(np.pi / 2 * part) ** 2
        assert np.sqrt(matched.inner(padded, padded)) == pytest.approx(10 * level, rel=0.01)


def test_waveform_is_that_of_lalsimulation(asd):
    noise = glitchy(asd, rate=0.02)
    for glitch in noise.glitches(START, START + 1000):
        first, values = noise.waveform(glitch)
        times = (first + np.arange(len(values))) / RATE
        theirs = sine_gaussian(glitch, times)
        overlap = values @ theirs / np.sqrt((values @ values) * (theirs @ theirs))
        assert overlap > 0.9999


def test_a_glitch_over_an_edge_is_in_both_files(asd):
    noise = glitchy(asd, rate=0.05, snr=(40, 50), frequency=(40, 60))
    # a glitch near an edge of the 64 s grid
    glitch = min(noise.glitches(START, START + 20000), key=lambda g: abs((g.time + 32) % 64 - 32))
    assert abs((glitch.time + 32) % 64 - 32) < 0.1
    middle = round(glitch.time * RATE) / RATE
    edge = round(glitch.time / 64) * 64
    assert noise.waveform(glitch)[0] / RATE < edge < glitch.time + noise.reach
    for cut in (middle, edge):
        whole = noise.strain(middle - 10, middle + 10)
        pieces = [noise.strain(middle - 10, cut), noise.strain(cut, middle + 10)]
        assert (np.concatenate(pieces) == whole).all()
    plain = whole.astype(np.float64) - noise.noise.strain(middle - 10, middle + 10)
    near = slice(int(9.5 * RATE), int(10.5 * RATE))
    first, values = noise.waveform(glitch)
    expected = np.zeros(len(whole))
    offset = first - round((middle - 10) * RATE)
    expected[offset : offset + len(values)] = values
    np.testing.assert_allclose(plain[near], expected[near], atol=2e-27 + 1e-3 * values.max())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frequency": (20, 100)}, "not within the analysed band"),
        ({"frequency": (40, 600)}, "not within the analysed band"),
        ({"quality": (3, 500)}, "lower glitches.quality"),
    ],
)
def test_impossible_glitches(asd, settings, message):
    with pytest.raises(ValueError, match=message):
        glitchy(asd, rate=0.1, **settings)


def test_band_without_noise(asd):
    with pytest.raises(ValueError, match="has no density somewhere between 5 and"):
        GlitchyNoise(ColouredNoise(asd, RATE, 3, "H1"), Glitches(rate=0.1), 5, RATE / 2)


# -- shapes ---------------------------------------------------------------------------------


def chirplet(size=2048):
    time = (np.arange(size) - size / 2) / RATE
    return 15 * np.exp(-np.square(time / 0.05)) * np.sin(2 * np.pi * (120 + 300 * time) * time)


def test_shapes_come_back_by_whitening(asd):
    shape = chirplet()
    noise = glitchy(np.array([asd, 2 * asd]), glitch_set(shape), rate=0.02, snr=(12, 12))
    curve = np.interp(noise.frequency, ColouredNoise.frequencies(RATE), asd)
    for glitch in noise.glitches(START, START + 1000):
        first, values = noise.waveform(glitch)
        padded = np.zeros(noise.size)
        padded[: len(values)] = values
        level = 1 + np.sin(np.pi / 2 * (glitch.time / 1000)) ** 2
        inverse = np.where(curve > 0, 1 / (level * np.maximum(curve, 1e-30)), 0)
        whitened = np.fft.irfft(np.fft.rfft(padded) * inverse / np.sqrt(RATE / 2))
        assert np.sqrt(whitened @ whitened) == pytest.approx(12, rel=0.01)
        # the shape, moved to its time by another interpolation
        times = (first + np.arange(noise.size)) / RATE - glitch.time
        fine = signal.resample(shape, 64 * len(shape))
        own = (np.arange(len(fine)) / 64 - len(shape) / 2) / RATE
        expected = np.interp(times, own, fine, left=0, right=0)
        overlap = whitened @ expected / np.sqrt((whitened @ whitened) * (expected @ expected))
        assert overlap > 0.999


def test_noise_does_not_stand_out():
    generator = np.random.default_rng(1)
    stretches = generator.standard_normal((400, 2048))
    assert sum(loud_part(x, RATE).any() for x in stretches) <= 12


@pytest.mark.parametrize("snr", [10, 20, 100])
def test_what_stands_out_is_the_glitch(snr):
    shape = chirplet()
    shape *= snr / np.sqrt(shape @ shape)
    noise = np.random.default_rng(snr).standard_normal((20, len(shape)))
    for stretch in noise:
        found = loud_part(stretch + shape, RATE)
        assert np.sqrt(found @ found) == pytest.approx(snr, abs=4)
        overlap = found @ shape / np.sqrt((found @ found) * (shape @ shape))
        assert overlap > 1 - 30 / snr**2


def test_triggers_close_to_a_louder_one_are_repeated():
    triggers = [
        Trigger("H1", 100.0, 5),
        Trigger("H1", 100.4, 50),
        Trigger("H1", 101.2, 6),
        Trigger("H1", 101.5, 6),
        Trigger("L1", 100.4, 4),
    ]
    kept = [(t.ifo, t.time) for t in apart(triggers)]
    assert kept == [("H1", 100.4), ("L1", 100.4), ("H1", 101.5)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ifo,gps\nH1,1\n", "has no column time: found ifo, gps"),
        ("ifo,time\n", "lists no trigger"),
        ("ifo,time\nH1,1\nH1,soon\n", "line 3: time 'soon'"),
        ("ifo,time,snr\nH1,1,nan\n", "line 2: time '1' and snr 'nan'"),
        ("ifo,time\nH1\n", "line 2: time None"),
    ],
)
def test_bad_trigger_lists(tmp_path, text, message):
    (tmp_path / "triggers.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_triggers(tmp_path / "triggers.csv")
    with pytest.raises(FileNotFoundError, match="no trigger list"):
        read_triggers(tmp_path / "gone.csv")


@pytest.fixture
def simulated(edited, tmp_path):
    """An experiment with loud glitches, and its strain."""

    def make(**changes):
        settings = {"rate": 1 / 50, "snr": [25, 25], "frequency": [60, 150], "quality": [8, 15]}
        folder = edited(
            sample_rate=1024, strain__file_length=512, strain__glitches=settings, **changes
        )
        strain = tmp_path / f"strain-{folder.name}"
        for branch, (role, a, b) in enumerate(load_experiment(folder).strain.simulated_files()):
            simulate_strain(folder, branch, strain / strain_file_name(role, a, b - a))
        index_strain(folder, strain)
        return folder, strain / "index.hdf5"

    return make


def test_simulated_glitches_are_listed_and_cut(simulated, tmp_path, caplog):
    # a PSD of 8 s scatters so much that SNRs by it are a tenth too large
    experiment, strain = simulated(whitening__psd_length=64)
    list_glitches(experiment, tmp_path / "truth.csv")
    truth = list(csv.DictReader((tmp_path / "truth.csv").open()))
    settings = load_experiment(experiment)
    spans = [(a, b) for _, a, b in settings.strain.simulated_files()]
    expected = [
        g
        for ifo in settings.ifos
        for a, b in spans
        for g in glitches_in(settings.strain.glitches, settings.seed, ifo, a, b)
    ]
    assert [float(row["time"]) for row in truth] == [g.time for g in expected]
    assert {(row["kind"], row["shape"]) for row in truth} == {("sine-gaussian", "")}
    # the list is a trigger list; two rows more are of no use
    with (tmp_path / "truth.csv").open("a") as file:
        file.write("H1,1,9\nK1,1240579900,9\n")
    with caplog.at_level("INFO", logger="datagen"):
        cut_glitches(experiment, strain, tmp_path / "truth.csv", tmp_path / "shapes.hdf5")
    shapes = GlitchSet.read(tmp_path / "shapes.hdf5")
    assert "1 outside the strain" in caplog.text
    assert "1 of another detector" in caplog.text
    # whitening needs 64.5 s before a shape of 2 s, and half a second after
    times = np.array([float(row["time"]) for row in truth])
    inside = [any(a + 65.5 <= t <= b - 1.5 for a, b in spans) for t in times]
    assert len(expected) - len(times[inside]) > 0
    assert len(shapes.time) >= 0.8 * np.count_nonzero(inside)
    assert shapes.shape.shape[1] == SHAPE_LENGTH * 1024
    alone = [i for i, t in enumerate(shapes.time) if np.sum(np.abs(times - t) < 3) == 1]
    assert len(alone) > 10
    assert np.mean(shapes.snr[alone]) == pytest.approx(25, abs=1.0)
    assert "strain" in read_provenance(tmp_path / "shapes.hdf5").parents


def test_no_usable_trigger(simulated, tmp_path):
    experiment, strain = simulated()
    first = StrainIndex.read(strain).gps_start.min()
    triggers = tmp_path / "triggers.csv"
    triggers.write_text(f"ifo,time\nH1,{first + 5}\nL1,{first - 5}\n")
    with pytest.raises(ValueError, match="none of the 2 triggers") as error:
        cut_glitches(experiment, strain, triggers, tmp_path / "shapes.hdf5")
    assert "1 too near an edge" in str(error.value)
    assert "1 outside the strain" in str(error.value)
    assert not (tmp_path / "shapes.hdf5").exists()


def test_shapes_of_another_rate_and_no_shapes(edited, tmp_path, smoke):
    folder = edited(strain__glitches={"rate": 0.02, "shapes": "shapes.hdf5"})
    with pytest.raises(FileNotFoundError, match="expected a glitches product"):
        simulate_strain(folder, 0, tmp_path / "x.hdf5")
    other = load_experiment(edited(sample_rate=1024))
    glitch_set(chirplet()).write(folder / "shapes.hdf5", make_provenance("x", other))
    with pytest.raises(ProductError, match="sample_rate = 1024"):
        simulate_strain(folder, 0, tmp_path / "x.hdf5")


def test_list_of_an_experiment_without_glitches(edited, tmp_path):
    with pytest.raises(ValueError, match=r"simulates no glitches: add strain\.glitches"):
        list_glitches(edited(), tmp_path / "x.csv")


# -- a real one -----------------------------------------------------------------------------


def test_real_glitch_is_cut_injected_and_found(edited, tmp_path):
    data = Path(os.environ.get("AFRAME_TEST_DATA", ROOT.parent / "shared" / "data"))
    events = data / "strain" / "events"
    names = ("GW190413_134308", "GW190503_185404", "GW190514_065416", "GW190929_012149")
    if not (events / "GW190514_065416.hdf5").is_file():
        pytest.skip(f"no real data at {data} (set AFRAME_TEST_DATA)")
    (tmp_path / "source").mkdir()
    for name in names:
        (tmp_path / "source" / f"{name}.hdf5").symlink_to(events / f"{name}.hdf5")
    import_strain(ROOT / "configs" / "open-events", tmp_path / "source", tmp_path / "strain")
    triggers = tmp_path / "triggers.csv"
    # the second is a quiet time
    triggers.write_text("ifo,time,snr\nH1,1241852049.11,272\nH1,1241852090,5\n")
    snr = 30.0
    curves = {"H1": CURVE, "L1": CURVE}
    glitches = {"rate": 0.02, "snr": [snr, snr], "shapes": "shapes.hdf5"}
    span = [START, START + 4000]
    folder = edited(
        sample_rate=RATE,
        strain__noise_curves=curves,
        strain__training=span,
        strain__validation=[START + 5000, START + 5300],
        strain__search=[START + 6000, START + 6300],
        strain__file_length=4096,
        strain__glitches=glitches,
    )
    cut_glitches(
        ROOT / "configs" / "open-events",
        tmp_path / "strain" / "index.hdf5",
        triggers,
        folder / "shapes.hdf5",
    )
    shapes = GlitchSet.read(folder / "shapes.hdf5")
    assert shapes.ifo == ["H1"]
    assert shapes.snr[0] > 250
    simulate_strain(folder, 0, tmp_path / "simulated.hdf5")
    assert "glitches" in read_provenance(tmp_path / "simulated.hdf5").parents
    segment = StrainSegment.read(tmp_path / "simulated.hdf5")
    list_glitches(folder, tmp_path / "truth.csv")
    truth = list(csv.DictReader((tmp_path / "truth.csv").open()))
    settings = load_experiment(folder)
    curve = noise_asd(CURVE, folder, ColouredNoise.frequencies(RATE))
    size = int(16 * RATE)
    frequency = np.fft.rfftfreq(size, 1 / RATE)
    density = np.interp(frequency, ColouredNoise.frequencies(RATE), curve)
    window = signal.windows.tukey(size, 0.25)
    band = (frequency >= settings.highpass) & (frequency < RATE / 2)
    # whitened by the published curve; the shape as it was cut is the template
    shape = shapes.shape[0].astype(np.float64)
    template = np.where(band, np.fft.rfft(shape, n=size), 0)
    template /= np.sqrt(2 * np.sum(np.abs(template) ** 2) / size)
    recovered = []
    for ifo in settings.ifos:
        times = np.array([float(row["time"]) for row in truth if row["ifo"] == ifo])
        times = times[(times > span[0] + 9) & (times < span[1] - 9)]
        gaps = np.minimum(np.diff(times, prepend=0), np.diff(times, append=np.inf))
        for time in times[gaps > 10]:
            first = round((time - span[0]) * RATE) - size // 2
            piece = segment.strain[ifo][first : first + size].astype(np.float64) * window
            whitened = np.fft.rfft(piece) / np.maximum(density, 1e-30) / np.sqrt(RATE / 2)
            # the template begins half its length before the time of the glitch
            begin = (time - span[0]) * RATE - first - len(shape) // 2
            later = np.exp(-2j * np.pi * frequency * (begin - round(begin)) / RATE)
            matched = np.where(band, whitened, 0) * (template * later).conj()
            series = np.fft.irfft(matched, n=size)
            assert np.argmax(np.abs(series)) == round(begin)
            recovered.append(series[round(begin)])
    assert len(recovered) > 40
    assert np.mean(recovered) == pytest.approx(snr, abs=4 / np.sqrt(len(recovered)))
    assert np.std(recovered) == pytest.approx(1, abs=4 / np.sqrt(2 * len(recovered)))
