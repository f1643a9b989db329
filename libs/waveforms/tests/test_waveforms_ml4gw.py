import bilby
import lal
import lalsimulation
import numpy as np
import priors
import pytest
import torch
from datagen.cli import main
from ledger import WaveformSet
from waveforms.ml4gw_model import SignalModel

RATE = 1024.0
FMIN, FREF = 20.0, 50.0
CPU = torch.device("cpu")

# named corners: masses in the detector frame [Msun], spins, inclination, all else generic
CORNERS = {
    "gw150914": {"m1": 39.6, "m2": 31.9, "a_1": 0.3, "a_2": 0.4, "theta_jn": 2.6},
    "heavy": {"m1": 150.0, "m2": 140.0, "a_1": 0.6, "a_2": 0.2, "theta_jn": 1.2},
    "light": {"m1": 7.0, "m2": 6.0, "a_1": 0.1, "a_2": 0.0, "theta_jn": 2.0},
    "asymmetric": {"m1": 100.0, "m2": 10.0, "a_1": 0.7, "a_2": 0.5, "theta_jn": 0.9},
    "spinning": {"m1": 60.0, "m2": 50.0, "a_1": 0.95, "a_2": 0.95, "theta_jn": 0.1},
}


def sources_of(corner: str) -> dict[str, np.ndarray]:
    values = dict(CORNERS[corner])
    values |= {"mass_1_detector": values.pop("m1"), "mass_2_detector": values.pop("m2")}
    values |= {"tilt_1": 0.9, "tilt_2": 2.1, "phi_12": 1.7, "phi_jl": 0.3}
    values |= {"phase": 0.7, "luminosity_distance": 500.0}
    return {name: np.array([value]) for name, value in values.items()}


def model_of(smoke, approximant, **changes) -> SignalModel:
    settings = {"approximant": approximant, "duration": 32.0, "right_pad": 1.0, **changes}
    return SignalModel(smoke.waveforms.model_copy(update=settings), RATE, CPU)


def lal_polarizations(sources, approximant):
    """lalsimulation's own time-domain signal, and the index of its coalescence."""
    s = {name: float(value[0]) for name, value in sources.items()}
    si = [s[f"mass_{i}_detector"] * lal.MSUN_SI for i in (1, 2)]
    if approximant == "IMRPhenomPv2":
        iota, *spins = bilby.gw.conversion.bilby_to_lalsimulation_spins(
            *(s[k] for k in ("theta_jn", "phi_jl", "tilt_1", "tilt_2", "phi_12", "a_1", "a_2")),
            *si,
            FREF,
            s["phase"],
        )
    else:
        iota = s["theta_jn"]
        spins = [0, 0, s["a_1"] * np.cos(s["tilt_1"]), 0, 0, s["a_2"] * np.cos(s["tilt_2"])]
    plus, cross = lalsimulation.SimInspiralTD(
        *si,
        *(float(x) for x in spins),
        s["luminosity_distance"] * 1e6 * lal.PC_SI,
        float(iota),
        s["phase"],
        0.0,
        0.0,
        0.0,
        1 / RATE,
        FMIN,
        FREF,
        None,
        getattr(lalsimulation, approximant),
    )
    return plus.data.data, cross.data.data, -float(plus.epoch) * RATE


def compare(ours, our_zero, theirs, their_zero):
    """Match maximised over time, the time it takes [s], ratio of norms; in O3 noise, 32-500 Hz."""
    size = 2**17
    spectra = []
    for values, zero in ((ours, our_zero), (theirs, their_zero)):
        padded = np.zeros(size)
        padded[: len(values)] = values
        frequency = np.fft.rfftfreq(size, 1 / RATE)
        spectra.append(np.fft.rfft(padded) * np.exp(2j * np.pi * frequency * zero / RATE))
    psd = lal.CreateREAL8FrequencySeries(
        "", lal.LIGOTimeGPS(0), 0, frequency[1], lal.DimensionlessUnit, len(frequency) + 1
    )
    lalsimulation.SimNoisePSDaLIGOO3LowT1800545(psd, 10.0)
    band = (frequency > 32) & (frequency < 500)
    noise = np.where(band, psd.data.data[:-1], np.inf)
    norms = [np.sqrt(np.sum(np.abs(x) ** 2 / noise)) for x in spectra]
    lags = np.linspace(-4e-3, 4e-3, 513)
    product = (spectra[0] * spectra[1].conj() / noise)[band]
    overlap = np.array([(product * np.exp(2j * np.pi * frequency[band] * t)).sum() for t in lags])
    # no maximisation over the phase: it is part of what is compared
    best = overlap.real.argmax()
    return overlap.real[best] / norms[0] / norms[1], lags[best], norms[0] / norms[1]


@pytest.mark.parametrize("approximant", ["IMRPhenomD", "IMRPhenomPv2"])
@pytest.mark.parametrize("corner", CORNERS)
def test_agrees_with_lalsimulation(smoke, approximant, corner):
    sources = sources_of(corner)
    model = model_of(smoke, approximant)
    plus, cross = model.polarizations(sources)
    assert plus.shape == (1, 32 * RATE)
    theirs = lal_polarizations(sources, approximant)
    for mine, yours in ((plus, theirs[0]), (cross, theirs[1])):
        match, lag, ratio = compare(mine[0].numpy(), model.coalescence_sample, yours, theirs[2])
        assert match > 0.999
        assert abs(lag) < 2e-3
        assert abs(ratio - 1) < 0.01


def test_coalescence_is_the_peak_for_imrphenomd(smoke):
    sources = priors.population("end_o3_ratesandpops", 1.0).sample(40, np.random.default_rng(2))
    model = model_of(smoke, "IMRPhenomD", duration=4.0)
    plus, cross = model.polarizations(sources)
    cosine = torch.from_numpy(np.cos(sources["theta_jn"]))[:, None]
    amplitude = (plus / ((1 + cosine**2) / 2)).square() + (cross / cosine).square()
    assert (amplitude.argmax(dim=-1) == 3 * RATE).all()
    assert model.coalescence == 3.0


@pytest.mark.parametrize("approximant", ["IMRPhenomD", "IMRPhenomPv2"])
def test_a_long_signal_is_cut_not_wrapped(smoke, approximant):
    sources = sources_of("light")
    whole, _ = model_of(smoke, approximant).polarizations(sources)
    short = model_of(smoke, approximant, duration=4.0)
    cut, _ = short.polarizations(sources)
    taper = round(5 / smoke.waveforms.minimum_frequency * RATE)
    torch.testing.assert_close(cut[0, taper:], whole[0, -short.size + taper :], rtol=0, atol=0)
    assert cut[0, 0] == 0
    assert (cut[0, :taper].abs() <= whole[0, -short.size :][:taper].abs()).all()
    # before its start there is nothing, after ringdown nothing that came round
    assert whole[0, : 4 * int(RATE)].abs().max() < 1e-3 * whole.abs().max()
    assert whole[0, -int(RATE / 4) :].abs().max() < 1e-3 * whole.abs().max()


def test_a_signal_does_not_depend_on_its_company(smoke):
    sources = priors.population("end_o3_ratesandpops", 1.0).sample(30, np.random.default_rng(2))
    model = model_of(smoke, "IMRPhenomD", duration=4.0)
    together, _ = model.polarizations(sources)
    for i in range(0, 30, 7):
        alone, _ = model.polarizations({name: v[i : i + 1] for name, v in sources.items()})
        scale = alone.abs().max()
        torch.testing.assert_close(alone[0] / scale, together[i] / scale, rtol=0, atol=1e-9)


def test_spectra_are_those_of_the_time_domain(smoke):
    sources = sources_of("gw150914")
    for approximant in ("IMRPhenomD", "IMRPhenomPv2"):
        model = model_of(smoke, approximant)
        plus, _ = model.polarizations(sources)
        spectrum = torch.fft.rfft(plus[0]).abs() / RATE
        frequency = torch.arange(30 * 32, 300 * 32, dtype=torch.float64) / 32
        expected = model.spectra(sources, frequency)[0][0].abs()
        # conditioning ripples the spectrum a little
        ratio = (spectrum[30 * 32 : 300 * 32] / expected).numpy()
        assert np.abs(ratio - 1).max() < 0.03


def test_a_signal_that_cannot_be_stops_the_work(smoke, monkeypatch):
    model = model_of(smoke, "IMRPhenomD", duration=4.0)
    good = model.approximant.forward
    for fault in (1e3, float("nan")):
        monkeypatch.setattr(
            model.approximant,
            "forward",
            lambda *a, fault=fault, **k: tuple(fault * h for h in good(*a, **k)),
        )
        with pytest.raises(ValueError, match="peak strain"):
            model.polarizations(sources_of("gw150914"))


def test_training_waveforms(tmp_path, edited):
    experiment = edited(waveforms__num_training=40)
    for name in ("a", "b"):
        with pytest.raises(SystemExit) as stopped:
            main(
                f"training-waveforms --experiment {experiment} "
                f"--output {tmp_path / name}.hdf5".split()
            )
        assert stopped.value.code == 0
    assert (tmp_path / "a.hdf5").read_bytes() == (tmp_path / "b.hdf5").read_bytes()
    made = WaveformSet.read(tmp_path / "a.hdf5")
    assert made.plus.shape == made.cross.shape == (40, 4 * 512)
    assert made.plus.dtype == np.float32
    assert made.coalescence == 3.0
    assert (np.abs(made.plus).max(axis=1) > 1e-24).all()
    assert len(made.parameters["ra"]) == 40


def test_unknown_population_lists_what_exists(fails, tmp_path, edited):
    message = fails(
        "training-waveforms", "--experiment", edited(waveforms__prior="bns"),
        "--output", tmp_path / "x.hdf5",
    )  # fmt: skip
    assert "no population 'bns'" in message
    assert "end_o3_ratesandpops" in message
    assert not (tmp_path / "x.hdf5").exists()


def test_unwritable_output_is_a_sentence(fails, tmp_path, edited):
    (tmp_path / "file").write_text("")
    message = fails(
        "training-waveforms", "--experiment", edited(waveforms__num_training=2),
        "--output", tmp_path / "file" / "x.hdf5",
    )  # fmt: skip
    assert "cannot write" in message
