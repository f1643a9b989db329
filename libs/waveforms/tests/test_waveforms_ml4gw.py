import lalsimulation
import numpy as np
import priors
import pytest
import torch
from waveforms import signal_model
from waveforms.ml4gw_model import last_frequency

RATE, FMIN, FREF = 1024.0, 20.0, 50.0
BLACK_HOLES = (
    *("gw150914", "equal without spin", "face-on", "edge-on", "heavy", "light"),
    *("100 + 5", "100 + 5 at redshift 2", "spins of 0.98", "unequal, spins of 0.98"),
)


@pytest.fixture
def model_of(settings_of):
    def model(approximant, rate=RATE, **changes):
        return signal_model(settings_of(approximant, **changes), rate, "cpu")

    return model


def population(count):
    made = priors.population("end_o3_ratesandpops", 1.0)
    return made.sample(count, np.random.default_rng(2))


def spectrum(signal, zero, size, rate=RATE):
    """Fourier transform with its zero of time at a sample."""
    padded = np.zeros(size)
    padded[: len(signal)] = signal
    frequency = np.fft.rfftfreq(size, 1 / rate)
    return frequency, np.fft.rfft(padded) / rate * np.exp(2j * np.pi * frequency * zero / rate)


@pytest.mark.parametrize("approximant", ["IMRPhenomD", "IMRPhenomPv2"])
@pytest.mark.parametrize("name", BLACK_HOLES)
def test_agrees_with_lalsimulation(model_of, corner, lal_arguments, compare, approximant, name):
    sources = corner(name)
    model = model_of(approximant)
    plus, cross, good = model.polarizations(sources)
    assert plus.shape == (1, 32 * RATE)
    assert good.all()
    arguments = lal_arguments(sources, precessing=approximant == "IMRPhenomPv2")
    number = lalsimulation.GetApproximantFromString(approximant)
    theirs = lalsimulation.SimInspiralTD(*arguments, 1 / RATE, FMIN, FREF, None, number)
    for mine, yours in zip((plus, cross), theirs, strict=True):
        if name == "edge-on" and approximant == "IMRPhenomD" and mine is cross:
            assert mine.abs().max() < 1e-15 * plus.abs().max()
            continue
        frequency, ours = spectrum(mine[0].numpy(), model.coalescence_sample, 2**16)
        zero = -float(yours.epoch) * RATE
        _, other = spectrum(yours.data.data, zero, 2**16)
        # not maximised over the phase, nor over the polarization: they are compared too
        match, lag, ratio = compare(ours, other, frequency, (FMIN, 500))
        assert match > 0.9995
        assert abs(lag) < 1e-4
        assert ratio == pytest.approx(1, abs=3e-3)


@pytest.mark.parametrize("name", ["neutron stars", "unequal neutron stars"])
def test_neutron_stars_agree_with_lalsimulation(model_of, corner, lal_arguments, compare, name):
    sources = corner(name)
    rate = 2048.0
    model = model_of("TaylorF2", rate, duration=200.0)
    signals = model.polarizations(sources)
    size = 2**19
    # a highest frequency of 0 is that of the innermost stable circular orbit
    theirs = lalsimulation.SimInspiralChooseFDWaveform(
        *lal_arguments(sources, precessing=False),
        *(rate / size, FMIN, 0.0, FREF, None, lalsimulation.TaylorF2),
    )
    for mine, yours in zip(signals[:2], theirs, strict=True):
        frequency, ours = spectrum(mine[0].numpy(), model.coalescence_sample, size, rate)
        other = np.zeros_like(ours)
        other[: yours.data.length] = yours.data.data[: len(other)]
        match, lag, ratio = compare(ours, other, frequency, (FMIN + 1, 1000))
        assert match > 0.9995
        assert lag == 0
        assert ratio == pytest.approx(1, abs=1e-3)


def test_taylorf2_ends_at_the_last_orbit(model_of, corner):
    model = model_of("TaylorF2")
    sources = corner("gw150914")
    total = float(sources["mass_1_detector"][0] + sources["mass_2_detector"][0])
    last = lalsimulation.SimInspiralGetFrequency(
        *(sources[f"mass_{i}_detector"][0] * 1.98841e30 for i in (1, 2)),
        *(0.0,) * 6,
        lalsimulation.fSchwarzISCO,
    )
    assert float(last_frequency(torch.tensor(total))) == pytest.approx(last, rel=1e-4)
    plus, _ = model.spectra(sources, torch.tensor([30.0, last - 0.1, last + 0.1]))
    assert (plus[0].abs() > 0).tolist() == [True, True, False]
    signal, _, good = model.polarizations(sources)
    power = torch.fft.rfft(signal[0]).abs().square()
    beyond = round((last + 10) * 32)
    assert good.all()
    assert power[beyond:].sum() < 0.01 * power.sum()


def test_long_signals_come_few_at_a_time(model_of, corner, monkeypatch):
    model = model_of("TaylorF2", 2048.0, duration=90.0)
    made = model.approximant.forward
    samples = []

    def watched(frequency, *args, **kwargs):
        cross, plus = made(frequency, *args, **kwargs)
        samples.append(plus.numel())
        return cross, plus

    monkeypatch.setattr(model.approximant, "forward", watched)
    batches = list(model.batches(corner(*["neutron stars"] * 3, "gw150914")))
    assert sorted(np.concatenate([b.index for b in batches])) == [0, 1, 2, 3]
    assert all(b.plus.shape == b.cross.shape == (len(b.index), 90 * 2048) for b in batches)
    assert all(b.plus.dtype == b.cross.dtype == torch.float64 for b in batches)
    # 256 s of one signal, the least there can be
    assert max(samples) < 2**19 // 2


def test_coalescence_is_the_peak_for_imrphenomd(model_of):
    sources = population(40)
    model = model_of("IMRPhenomD", duration=4.0)
    plus, cross, _ = model.polarizations(sources)
    cosine = torch.from_numpy(np.cos(sources["theta_jn"]))[:, None]
    amplitude = (plus / ((1 + cosine**2) / 2)).square() + (cross / cosine).square()
    assert (amplitude.argmax(dim=-1) == 3 * RATE).all()
    assert model.coalescence == 3.0


@pytest.mark.parametrize("approximant", ["IMRPhenomD", "IMRPhenomPv2"])
def test_a_long_signal_is_cut_not_wrapped(model_of, corner, approximant):
    sources = corner("light")
    whole, _, _ = model_of(approximant).polarizations(sources)
    short = model_of(approximant, duration=4.0)
    cut, _, _ = short.polarizations(sources)
    taper = round(5 / FMIN * RATE)
    torch.testing.assert_close(cut[0, taper:], whole[0, -short.size + taper :], rtol=0, atol=0)
    assert cut[0, 0] == 0
    assert (cut[0, :taper].abs() <= whole[0, -short.size :][:taper].abs()).all()
    # before its start there is nothing, after ringdown nothing that came round
    assert whole[0, : 4 * int(RATE)].abs().max() < 1e-3 * whole.abs().max()
    assert whole[0, -int(RATE / 4) :].abs().max() < 1e-3 * whole.abs().max()


@pytest.mark.parametrize("approximant", ["IMRPhenomD", "IMRPhenomPv2", "TaylorF2"])
def test_the_pad_moves_a_signal_and_nothing_else(model_of, corner, approximant):
    # longer than the whole signal with all its room, so that nothing may come round
    sources = corner("heavy", "gw150914")
    near, _, _ = model_of(approximant).polarizations(sources)
    far, _, good = model_of(approximant, right_pad=11.0).polarizations(sources)
    assert good.all()
    torch.testing.assert_close(far[:, : -10 * int(RATE)], near[:, 10 * int(RATE) :])
    assert (far[:, -10 * int(RATE) :] == 0).all()


@pytest.mark.parametrize("approximant", ["IMRPhenomD", "IMRPhenomPv2"])
def test_a_signal_does_not_depend_on_its_company(model_of, approximant):
    sources = population(30)
    model = model_of(approximant, duration=4.0)
    together, _, _ = model.polarizations(sources)
    for i in range(0, 30, 7):
        alone, _, _ = model.polarizations({name: v[i : i + 1] for name, v in sources.items()})
        scale = alone.abs().max()
        torch.testing.assert_close(alone[0] / scale, together[i] / scale, rtol=0, atol=1e-9)


@pytest.mark.parametrize("approximant", ["IMRPhenomD", "IMRPhenomPv2"])
def test_spectra_are_those_of_the_time_domain(model_of, corner, approximant):
    sources = corner("gw150914")
    model = model_of(approximant)
    assert model.has_spectra
    plus, _, _ = model.polarizations(sources)
    spectrum = torch.fft.rfft(plus[0]).abs() / RATE
    frequency = torch.arange(30 * 32, 300 * 32, dtype=torch.float64) / 32
    expected = model.spectra(sources, frequency)[0][0].abs()
    # conditioning ripples the spectrum a little
    ratio = (spectrum[30 * 32 : 300 * 32] / expected).numpy()
    assert np.abs(ratio - 1).max() < 0.03


@pytest.mark.parametrize("fault", [1e3, 0.0, float("nan"), float("inf")])
def test_a_signal_that_cannot_be_is_left_out_and_told(model_of, monkeypatch, fault):
    model = model_of("IMRPhenomD", duration=4.0)
    sources = population(20)
    good = model.approximant.forward
    wrong = float(sources["luminosity_distance"][7])

    def faulty(*args, distance, **kwargs):
        factor = torch.where(distance == wrong, fault, 1.0)[:, None]
        return tuple(factor * h for h in good(*args, distance=distance, **kwargs))

    monkeypatch.setattr(model.approximant, "forward", faulty)
    batches = list(model.batches(sources))
    assert sorted(np.concatenate([b.index for b in batches])) == [*range(7), *range(8, 20)]
    assert all(torch.isfinite(b.plus).all() for b in batches)
    (failure,) = model.failures
    assert failure.index == 7
    assert failure.parameters["luminosity_distance"] == wrong
    assert failure.parameters["ra"] == sources["ra"][7]
    assert "peaks at" in failure.reason
    plus, _, kept = model.polarizations(sources)
    assert np.flatnonzero(~kept).tolist() == [7]
    assert (plus[7] == 0).all()
    list(model.batches({name: v[:5] for name, v in sources.items()}))
    assert model.failures == []


def test_nothing_physical_is_taken_for_a_failure(model_of):
    # the corners of the population: the bound on the strain must leave room
    sources = population(60)
    sources["a_1"][:], sources["a_2"][:] = 0.998, 0.998
    sources["tilt_1"][:30], sources["tilt_2"][:30] = 0.0, 0.0
    sources["theta_jn"][::2] = 0.0
    sources["mass_2_detector"] = sources["mass_1_detector"].copy()
    for approximant in ("IMRPhenomD", "IMRPhenomPv2"):
        model = model_of(approximant, duration=4.0)
        assert model.polarizations(sources)[2].all()
        assert model.failures == []


def test_a_missing_parameter_is_a_sentence(model_of):
    sources = population(2)
    del sources["phi_jl"]
    with pytest.raises(ValueError, match=r"IMRPhenomPv2 needs .* phi_jl missing in"):
        model_of("IMRPhenomPv2", duration=4.0).batches(sources)
    assert model_of("IMRPhenomD", duration=4.0).polarizations(sources)[2].all()
