import lal
import numpy as np
import priors
import pytest
from conftest import SMOKE
from datagen.cli import main
from datagen.injections import Injector, Slots, clear_of_known, plan_slots, slot_times
from gwpy.timeseries import TimeSeries
from ledger import InjectionSet, StrainIndex
from scipy import stats


@pytest.fixture(scope="module")
def made(smoke_strain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("injections")
    for name in ("a", "b"):
        with pytest.raises(SystemExit) as stopped:
            main(
                f"injections --experiment {SMOKE} --strain {smoke_strain} --fold 0 "
                f"--output {folder / name}.hdf5".split()
            )
        assert stopped.value.code == 0
    assert (folder / "a.hdf5").read_bytes() == (folder / "b.hdf5").read_bytes()
    return InjectionSet.read(folder / "a.hdf5")


def test_times_can_be_scored_and_lie_on_samples(made, smoke, smoke_strain):
    files = StrainIndex.read(smoke_strain).files(smoke_strain, "search")
    lead, tail = 8 + 0.5 + 1.5 + 0.5, 0.5 + 1.5 + 0.5
    homes = [[f for f in files if f.gps_start + lead <= t < f.gps_stop - tail] for t in made.time]
    assert all(len(home) == 1 for home in homes)
    offsets = [(t - home[0].gps_start) * 512 for t, home in zip(made.time, homes, strict=True)]
    np.testing.assert_array_equal(offsets, np.round(offsets))
    # two passes over 400 s at 24 s, less the margins of two files
    assert 24 <= len(made.time) <= 34
    assert (np.diff(np.sort(made.time)) > 10).all()


def test_accepted_are_loud_and_rejected_are_not(made):
    assert (made.snr >= 4).all()
    assert (made.rejected_snr < 4).all()
    np.testing.assert_allclose(made.snr**2, (made.ifo_snr**2).sum(axis=1))
    assert set(made.rejected) == set(made.parameters)
    assert made.volume == pytest.approx(priors.population("end_o3_ratesandpops", 0.3).volume)


def test_snr_is_that_of_the_response_by_the_local_psd(made, smoke, smoke_strain):
    """Once more with gwpy's Welch and plain numpy."""
    files = StrainIndex.read(smoke_strain).files(smoke_strain, "search")
    for i in range(0, len(made.time), 5):
        time = made.time[i]
        file = next(f for f in files if f.gps_start <= time < f.gps_stop)
        block = np.floor((time - file.gps_start - 8.5) / 4)
        start = file.gps_start + 4 * block
        for j, ifo in enumerate(made.ifos):
            series = TimeSeries.read(
                file.path, ifo, format="hdf5", start=start, end=start + 8
            ).astype(np.float64)
            psd = (series * 1e21).psd(2, overlap=1, method="median", window="hann")
            response = made.response[i, j].astype(np.float64) * 1e21
            spectrum = np.fft.rfft(response) / 512
            frequency = np.fft.rfftfreq(len(response), 1 / 512)
            noise = np.interp(frequency, psd.frequencies.value, psd.value)
            band = frequency >= 32
            expected = np.sqrt(4 * np.sum(np.abs(spectrum[band]) ** 2 / noise[band]) / 4)
            # gwpy removes a trend from each segment, which leaks nothing above 32 Hz
            assert made.ifo_snr[i, j] == pytest.approx(expected, rel=0.03)


def test_responses_arrive_when_they_should(made):
    """The loudest sample of each detector, less its light travel time, is coalescence."""
    prefix = {d.frDetector.prefix: d for d in lal.CachedDetectors}
    spread = []
    for i, time in enumerate(made.time):
        for j, ifo in enumerate(made.ifos):
            delay = lal.TimeDelayFromEarthCenter(
                prefix[ifo].location,
                made.parameters["ra"][i],
                made.parameters["dec"][i],
                lal.LIGOTimeGPS(float(time)),
            )
            peak = np.abs(made.response[i, j]).argmax() / 512 - made.coalescence
            cycle = 1 / 60  # the peak of the strain is within a cycle of that of the amplitude
            mass = made.parameters["mass_1_detector"][i] + made.parameters["mass_2_detector"][i]
            assert abs(peak - delay) < cycle * max(1, mass / 60)
            spread.append(peak - delay)
    assert abs(np.median(spread)) < 4e-3


def test_accepted_and_rejected_are_the_population(smoke, smoke_strain):
    """With the rejected put back, draws follow the prior, though acceptance favours some."""
    index = StrainIndex.read(smoke_strain)
    slots = plan_slots(smoke, index, smoke_strain, "search", 0)
    many = Slots(time=np.repeat(slots.time, 12), block=np.repeat(slots.block, 12), psd=slots.psd)
    population = priors.population("end_o3_ratesandpops", 0.5)
    injector = Injector(smoke, many, population, np.random.default_rng(4))
    assert sorted(injector.fill()) == list(range(len(many.time)))
    rejected, _ = injector.rejected.joined(sorted(injector.accepted))
    assert injector.num_drawn == len(many.time) + len(rejected["ra"])
    everything = {k: np.concatenate((v, rejected[k])) for k, v in injector.accepted.items()}
    fresh = population.sample(50_000, np.random.default_rng(5))
    for name in ("mass_1_source", "mass_2_source", "redshift", "theta_jn", "dec", "a_1"):
        assert stats.ks_2samp(everything[name], fresh[name]).pvalue > 1e-4
    assert stats.ks_2samp(injector.accepted["redshift"], fresh["redshift"]).pvalue < 1e-6


@pytest.mark.parametrize("approximant", ["IMRPhenomD", "IMRPhenomPv2"])
def test_the_quick_snr_loses_no_loud_signal(smoke, smoke_strain, approximant):
    index = StrainIndex.read(smoke_strain)
    experiment = smoke.model_copy(
        update={"waveforms": smoke.waveforms.model_copy(update={"approximant": approximant})}
    )
    slots = plan_slots(experiment, index, smoke_strain, "search", 0)
    population = priors.population("end_o3_ratesandpops", 0.3)
    injector = Injector(experiment, slots, population, np.random.default_rng(4))
    sources = population.sample(150, np.random.default_rng(8))
    slot = np.arange(150) % len(slots.time)
    quick = injector.quick_snr(sources, slot)
    _, ifo_snr = injector._respond(sources, slot)
    ratio = quick / np.sqrt((ifo_snr**2).sum(axis=1))
    # below 0.9 a signal above the threshold would be rejected unseen
    assert ratio.min() > 0.95
    assert np.median(ratio) < 1.05


def test_slots_keep_to_the_usable_time(smoke):
    generator = np.random.default_rng(1)
    times = slot_times(1000.0, 1300.0, smoke, 4, generator)
    assert times.min() >= 1000 + 10.5
    assert times.max() < 1300 - 2.5
    assert (np.diff(times) > 5).all()
    # each pass keeps its distance
    assert (np.diff(times.reshape(-1)[::4]) > 23 - 1e-9).all()
    assert not len(slot_times(1000.0, 1011.0, smoke, 4, generator))


def test_known_events_are_kept_clear():
    times = np.array([10.0, 17.9, 18.1, 20.0, 23.9, 24.1])
    clear = clear_of_known(times, np.array([[20.0, 22.0]]), reach=2.0)
    np.testing.assert_array_equal(clear, [True, True, False, False, False, True])


def test_other_settings_are_refused(fails, tmp_path, smoke_strain, edited):
    message = fails(
        "injections", "--experiment", edited(sample_rate=1024), "--strain", smoke_strain,
        "--fold", 0, "--output", tmp_path / "x.hdf5",
    )  # fmt: skip
    assert "sample_rate = 512" in message
    assert "1024" in message


def test_bad_fold_and_missing_index(fails, tmp_path, smoke_strain):
    common = ("--experiment", SMOKE, "--output", tmp_path / "x.hdf5")
    assert "no fold 3" in fails("injections", *common, "--strain", smoke_strain, "--fold", 3)
    nothing = tmp_path / "none.hdf5"
    message = fails("validation-waveforms", *common, "--strain", nothing, "--fold", 0)
    assert "no file" in message


def test_a_hopeless_threshold_ends(monkeypatch, smoke, smoke_strain):
    from datagen import injections

    monkeypatch.setattr(injections, "MOST_DRAWS_IN_VAIN", 5000)
    experiment = smoke.model_copy(
        update={"injections": smoke.injections.model_copy(update={"snr_threshold": 1e6})}
    )
    slots = plan_slots(experiment, StrainIndex.read(smoke_strain), smoke_strain, "search", 0)
    population = priors.population("end_o3_ratesandpops", 0.3)
    injector = Injector(experiment, slots, population, np.random.default_rng(4))
    with pytest.raises(ValueError, match=r"none of \d+ draws"):
        list(injector.fill())


def test_validation_has_its_own_sources(smoke_strain, made, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(
            f"validation-waveforms --experiment {SMOKE} --strain {smoke_strain} --fold 0 "
            f"--output {tmp_path}/v.hdf5".split()
        )
    assert stopped.value.code == 0
    validation = InjectionSet.read(tmp_path / "v.hdf5")
    spans = StrainIndex.read(smoke_strain).files(smoke_strain, "validation")
    assert spans[0].gps_start < validation.time.min()
    assert validation.time.max() < spans[-1].gps_stop
    assert not np.isin(validation.parameters["ra"], made.parameters["ra"]).any()
