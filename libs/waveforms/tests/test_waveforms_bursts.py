import lalsimulation
import numpy as np
import pytest
from waveforms import signal_model

RATE = 2048.0


@pytest.fixture
def model_of(settings_of):
    def model(approximant, **changes):
        settings = settings_of(approximant, **{"duration": 4.0, **changes})
        return signal_model(settings, RATE, "cpu")

    return model


def sine_gaussians():
    return {
        "frequency": np.array([100.0, 300.0, 40.0]),
        "quality": np.array([8.0, 20.0, 5.0]),
        "hrss": np.array([1e-22, 3e-22, 2e-23]),
        "phase": np.array([0.3, 0.0, 2.0]),
        "eccentricity": np.array([0.0, 0.6, 0.95]),
    }


def ringdowns():
    return {
        "frequency": np.array([150.0, 400.0]),
        "quality": np.array([9.0, 18.0]),
        "epsilon": np.array([0.01, 0.04]),
        "luminosity_distance": np.array([200.0, 800.0]),
        "phase": np.array([0.3, 1.2]),
        "theta_jn": np.array([0.4, 2.5]),
    }


def test_sine_gaussians_agree_with_lalsimulation(model_of):
    sources = sine_gaussians()
    model = model_of("SineGaussian")
    plus, cross, good = model.polarizations(sources)
    assert good.all()
    for i in range(3):
        s = {name: float(values[i]) for name, values in sources.items()}
        theirs = lalsimulation.SimBurstSineGaussian(
            s["quality"], s["frequency"], s["hrss"], s["eccentricity"], s["phase"], 1 / RATE
        )
        for mine, yours in zip((plus[i], cross[i]), theirs, strict=True):
            first = model.coalescence_sample + round(float(yours.epoch) * RATE)
            # where lalsimulation's own taper has not begun
            inner = slice(yours.data.length // 4, 3 * yours.data.length // 4)
            other = yours.data.data
            same = mine[first : first + len(other)].numpy()
            np.testing.assert_allclose(same[inner], other[inner], atol=2e-3 * s["hrss"])
        power = (plus[i].square() + cross[i].square()).sum() / RATE
        assert float(power.sqrt()) == pytest.approx(s["hrss"], rel=1e-3)


def test_ringdowns_are_damped_sinusoids_that_start_at_coalescence(model_of):
    sources = ringdowns()
    model = model_of("Ringdown")
    plus, cross, good = model.polarizations(sources)
    assert good.all()
    start = model.coalescence_sample
    assert not plus[:, :start].any()
    assert not cross[:, :start].any()
    time = np.arange(model.size - start) / RATE
    for i in range(2):
        s = {name: float(values[i]) for name, values in sources.items()}
        decay = np.exp(-np.pi * s["frequency"] * time / s["quality"])
        phase = 2 * np.pi * s["frequency"] * time + s["phase"]
        cosine = np.cos(s["theta_jn"])
        amplitude = float(plus[i, start]) / np.cos(s["phase"]) / (1 + cosine**2)
        expected = amplitude * (1 + cosine**2) * decay * np.cos(phase)
        np.testing.assert_allclose(plus[i, start:], expected, atol=1e-6 * amplitude)
        expected = amplitude * 2 * cosine * decay * np.sin(phase)
        np.testing.assert_allclose(cross[i, start:], expected, atol=1e-6 * amplitude)
        # the mass from the frequency (Echeverria, Phys. Rev. D 40, 3194 (1989)); what is radiated
        # of it sets the amplitude, within a factor that depends on the spin
        spin = 1 - (2 / s["quality"]) ** (20 / 9)
        mass = (1 - 0.63 * (1 - spin) ** 0.3) / (2 * np.pi * s["frequency"]) / 4.925491e-6
        scale = mass * 1476.625 / (s["luminosity_distance"] * 3.0856776e22)
        assert 0.5 < amplitude / (scale * np.sqrt(2.5 * s["epsilon"] / s["quality"])) < 2


def test_bursts_that_cannot_be_are_failures(model_of):
    sources = sine_gaussians()
    sources["frequency"][0] = 1100.0
    sources["quality"][2] = 500.0
    model = model_of("SineGaussian")
    assert model.polarizations(sources)[2].tolist() == [False, True, False]
    above, long = model.failures
    assert (above.index, long.index) == (0, 2)
    assert "half the sample rate, 1024.0 Hz" in above.reason
    assert "more than the array's 1 s" in long.reason
    sources = ringdowns()
    sources["luminosity_distance"][0] = np.nan
    model = model_of("Ringdown", right_pad=0.05)
    assert not model.polarizations(sources)[2].any()
    assert ["lasts" in f.reason for f in sorted(model.failures, key=lambda f: f.index)] == [
        True,
        True,
    ]
    model = model_of("Ringdown")
    assert model.polarizations(sources)[2].tolist() == [False, True]


def test_a_missing_parameter_is_a_sentence(model_of):
    sources = sine_gaussians()
    del sources["hrss"]
    with pytest.raises(ValueError, match=r"SineGaussian needs .* hrss missing in frequency"):
        model_of("SineGaussian").polarizations(sources)
