import json

import lal
import numpy as np
import priors
import pytest
from conftest import SMOKE
from datagen.cli import main
from datagen.injector import Injector
from datagen.slots import Slots, clear_of_known, find_slots, slot_times
from gwpy.timeseries import TimeSeries
from ledger import InjectionSet, StrainIndex
from priors.draws import NumberedDraws
from runtime import generator_for
from scipy import stats
from waveforms import Failure, injection_responses, signal_model


def run(*argv):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in argv])
    assert stopped.value.code == 0


def slots_of(experiment, index_path, number=0):
    index = StrainIndex.read(index_path)
    file = index.files(index_path, "search", 0)[number]
    return find_slots(experiment, index, file, "search", 0, number)


def injector_of(experiment, slots, redshift_max, model=None):
    population = priors.population("end_o3_ratesandpops", redshift_max)
    draws = NumberedDraws(population, lambda chunk: np.random.default_rng([4, chunk]))
    model = model or signal_model(experiment.waveforms, experiment.sample_rate)
    return Injector(experiment, slots, draws, model)


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
    assert (made.rejected_snr <= 4).all()
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
    slots = slots_of(smoke, smoke_strain)
    many = Slots(
        time=np.repeat(slots.time, 24),
        shift=np.repeat(slots.shift, 24, axis=0),
        block=np.repeat(slots.block, 24),
        psd=slots.psd,
    )
    injector = injector_of(smoke, many, 0.5)
    assert sorted(injector.fill()) == list(range(len(many.time)))
    numbers = np.concatenate(injector.rejected.draw)
    assert injector.num_drawn == len(many.time) + len(numbers)
    assert len(np.unique(np.concatenate((numbers, injector.draw)))) == injector.num_drawn
    rejected, accepted = injector.draws.take(numbers), injector.draws.take(injector.draw)
    everything = {k: np.concatenate((v, rejected[k])) for k, v in accepted.items()}
    fresh = injector.draws.population.sample(50_000, np.random.default_rng(5))
    for name in ("mass_1_source", "mass_2_source", "redshift", "theta_jn", "dec", "a_1"):
        assert stats.ks_2samp(everything[name], fresh[name]).pvalue > 1e-4
    assert stats.ks_2samp(accepted["redshift"], fresh["redshift"]).pvalue < 1e-6


class Flawed:
    """A model that fails for one source in three, by the last digits of its right ascension."""

    def __init__(self, model):
        self.model, self.failures = model, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def batches(self, sources):
        bad = np.modf(sources["ra"] * 1e4)[0] < 1 / 3
        rows = np.flatnonzero(~bad)
        self.failures = [Failure(int(i), {}, "a flaw") for i in np.flatnonzero(bad)]
        for batch in self.model.batches({k: v[rows] for k, v in sources.items()}):
            yield type(batch)(rows[batch.index], batch.plus, batch.cross)


@pytest.mark.parametrize("threshold", [4.0, 0.0])
def test_failed_draws_are_drawn_again_and_counted(smoke, smoke_strain, threshold):
    settings = smoke.injections.model_copy(update={"snr_threshold": threshold})
    smoke = smoke.model_copy(update={"injections": settings})
    slots = slots_of(smoke, smoke_strain)
    model = Flawed(signal_model(smoke.waveforms, smoke.sample_rate))
    injector = injector_of(smoke, slots, 0.3, model)
    assert sorted(injector.fill()) == list(range(len(slots.time)))
    assert injector.failures
    assert set(injector.failures.values()) == {"a flaw"}
    others = np.concatenate((injector.draw, *injector.rejected.draw))
    assert not np.isin(list(injector.failures), others).any()
    ra = injector.draws.take(injector.draw)["ra"]
    assert (np.modf(ra * 1e4)[0] >= 1 / 3).all()


@pytest.mark.parametrize("approximant", ["IMRPhenomD", "IMRPhenomPv2"])
def test_the_screen_loses_no_loud_signal(smoke, smoke_strain, approximant):
    experiment = smoke.model_copy(
        update={"waveforms": smoke.waveforms.model_copy(update={"approximant": approximant})}
    )
    slots = slots_of(experiment, smoke_strain)
    injector = injector_of(experiment, slots, 0.3)
    sources = injector.draws.take(np.arange(150))
    slot = np.arange(150) % len(slots.time)
    ifo_snr, _ = injector._measure(sources, slot)
    snr = np.sqrt((ifo_snr**2).sum(axis=1))
    ratio = injector.quick_snr(sources, slot) / snr
    # below 0.9 a signal above the threshold would be rejected unseen
    assert ratio.min() > 0.95
    assert np.median(ratio) < 1.05
    bound = injector.bound(sources, slots.time[slot], slots.block[slot])
    assert (bound >= snr).all()


def test_any_number_of_branches_gives_the_same_bytes(smoke_strain, tmp_path):
    common = ("--experiment", SMOKE, "--strain", smoke_strain, "--fold", 0)
    run("injections", *common, "--output", tmp_path / "whole.hdf5")
    parts = [tmp_path / f"{branch}.hdf5" for branch in range(2)]
    for branch, part in enumerate(parts):
        run("injections", *common, "--branch", branch, "--branches", 2, "--output", part)
    run(
        "merge-injections", "--experiment", SMOKE, "--output", tmp_path / "merged.hdf5",
        "--parts", json.dumps([str(part) for part in parts]),
    )  # fmt: skip
    whole = tmp_path / "whole.hdf5"
    assert whole.read_bytes() == (tmp_path / "merged.hdf5").read_bytes()
    assert (np.diff(InjectionSet.read(whole).time) > 0).all()
    sizes = [len(InjectionSet.read(part).time) for part in parts]
    assert min(sizes) > 0
    assert sum(sizes) == len(InjectionSet.read(whole).time)


def test_parameters_alone_give_the_same_signals(edited, smoke_strain, made, tmp_path):
    """Responses and the parameters of the rejected come back bit for bit, in any order."""
    folder = edited(injections__storage="parameters")
    run(
        "injections", "--experiment", folder, "--strain", smoke_strain, "--fold", 0,
        "--output", tmp_path / "p.hdf5",
    )  # fmt: skip
    bare = InjectionSet.read(tmp_path / "p.hdf5")
    assert len(bare.response) == 0
    assert not bare.rejected
    for name, values in made.parameters.items():
        np.testing.assert_array_equal(bare.parameters[name], values)
    from runtime import load_experiment

    experiment = load_experiment(folder)
    responses = injection_responses(bare, experiment.waveforms)
    assert len(responses) == len(made.time)
    for row in np.random.default_rng(1).permutation(len(made.time)):
        np.testing.assert_array_equal(responses[row], made.response[row])
    population = priors.population(experiment.waveforms.prior, experiment.waveforms.redshift_max)
    for file in np.unique(bare.rejected_file):
        draws = NumberedDraws(
            population,
            lambda chunk, file=int(file): generator_for(experiment.seed, bare.stream, file, chunk),
        )
        here = bare.rejected_file == file
        for name, values in draws.take(bare.rejected_draw[here]).items():
            np.testing.assert_array_equal(values, made.rejected[name][here])


def test_a_merge_of_other_settings_is_refused(fails, edited, smoke_strain, tmp_path):
    other = edited(injections__spacing=40.0)
    place = ("--strain", smoke_strain, "--fold", 0, "--branches", 2)
    run("injections", "--experiment", SMOKE, *place, "--branch", 0, "--output", tmp_path / "a")
    run("injections", "--experiment", other, *place, "--branch", 1, "--output", tmp_path / "b")
    parts = json.dumps([str(tmp_path / "a"), str(tmp_path / "b")])
    message = fails(
        "merge-injections", "--experiment", SMOKE, "--output", tmp_path / "c", "--parts", parts
    )
    assert "injections.spacing = 40" in message
    assert not (tmp_path / "c").exists()


def test_slots_keep_to_the_usable_time(smoke):
    generator = np.random.default_rng(1)
    times, shifts = slot_times(1000.0, 1300.0, smoke, 4, (0.0, 0.0), generator)
    assert shifts.shape == (len(times), 2)
    assert not shifts.any()
    assert times.min() >= 1000 + 10.5
    assert times.max() < 1300 - 2.5
    assert (np.diff(times) > 5).all()
    # each pass keeps its distance
    assert (np.diff(times.reshape(-1)[::4]) > 23 - 1e-9).all()
    assert not len(slot_times(1000.0, 1011.0, smoke, 4, (0.0, 0.0), generator)[0])


def test_passes_are_slid_against_each_other(smoke):
    settings = smoke.injections.model_copy(update={"jitter": 0.0})
    still = smoke.model_copy(update={"injections": settings})
    generator = np.random.default_rng(1)
    times, shifts = slot_times(1000.0, 1300.0, still, 4, (0.0, 7.25), generator)
    assert not shifts[:, 0].any()
    np.testing.assert_array_equal(np.unique(shifts[:, 1]), [0, 7.25, 14.5, 21.75])
    # no jitter: every place of a grid of a quarter of the spacing, where the slid data reach
    assert np.isin(np.diff(times), [6, 12, 18, 24]).all()
    assert (times + shifts[:, 1]).max() < 1300 - 2.5
    assert times.min() == 1000 + 10.5


def test_slid_injections_have_the_snr_of_slid_noise(smoke, smoke_strain):
    """The PSD of each detector is that of its own time."""
    settings = smoke.injections.model_copy(update={"shifts": (0.0, 40.0)})
    slid = smoke.model_copy(update={"injections": settings})
    slots, plain = slots_of(slid, smoke_strain), slots_of(smoke, smoke_strain)
    late = np.flatnonzero(slots.shift[:, 1] == 40)
    assert len(late)
    for i in late:
        here = slots.psd[slots.block[i]]
        same = np.argmin(np.abs(plain.time - slots.time[i]))
        assert abs(plain.time[same] - slots.time[i]) < 1e-9
        assert (here[0] == plain.psd[plain.block[same]][0]).all()
        assert (here[1] != plain.psd[plain.block[same]][1]).any()


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
    from datagen import injector

    monkeypatch.setattr(injector, "MOST_DRAWS_IN_VAIN", 5000)
    experiment = smoke.model_copy(
        update={"injections": smoke.injections.model_copy(update={"snr_threshold": 1e6})}
    )
    with pytest.raises(ValueError, match=r"none of \d+ draws"):
        list(injector_of(experiment, slots_of(experiment, smoke_strain), 0.3).fill())


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
