import bilby
import lal
import lalsimulation
import numpy as np
import pytest
from runtime.experiment import Waveforms

RATE = 1024.0
FMIN, FREF = 20.0, 50.0

# named corners: masses in the detector frame [Msun], spins, inclination; all else generic
CORNERS = {
    "gw150914": {"m1": 39.6, "m2": 31.9, "a_1": 0.3, "a_2": 0.4, "theta_jn": 2.6},
    "equal without spin": {"m1": 30.0, "m2": 30.0, "a_1": 0.0, "a_2": 0.0, "theta_jn": 0.5},
    "face-on": {"m1": 45.0, "m2": 30.0, "a_1": 0.2, "a_2": 0.1, "theta_jn": 0.0},
    "edge-on": {"m1": 45.0, "m2": 30.0, "a_1": 0.2, "a_2": 0.1, "theta_jn": np.pi / 2},
    "heavy": {"m1": 150.0, "m2": 140.0, "a_1": 0.6, "a_2": 0.2, "theta_jn": 1.2},
    "light": {"m1": 7.0, "m2": 6.0, "a_1": 0.1, "a_2": 0.0, "theta_jn": 2.0},
    "100 + 5": {"m1": 100.0, "m2": 5.0, "a_1": 0.7, "a_2": 0.5, "theta_jn": 0.9},
    "100 + 5 at redshift 2": {"m1": 300.0, "m2": 15.0, "a_1": 0.5, "a_2": 0.3, "theta_jn": 0.9},
    "spins of 0.98": {"m1": 60.0, "m2": 50.0, "a_1": 0.98, "a_2": 0.98, "theta_jn": 0.4},
    "unequal, spins of 0.98": {"m1": 60.0, "m2": 15.0, "a_1": 0.98, "a_2": 0.98, "theta_jn": 1.2},
    "neutron stars": {"m1": 1.4, "m2": 1.4, "a_1": 0.05, "a_2": 0.03, "theta_jn": 0.7},
    "unequal neutron stars": {"m1": 2.0, "m2": 1.1, "a_1": 0.3, "a_2": 0.1, "theta_jn": 2.0},
}


@pytest.fixture
def corner():
    """The sources of named corners, one each."""

    def sources(*names):
        rows = []
        for name in names:
            values = dict(CORNERS[name])
            values |= {f"mass_{i}_detector": values.pop(f"m{i}") for i in (1, 2)}
            values |= {"tilt_1": 0.9, "tilt_2": 2.1, "phi_12": 1.7, "phi_jl": 0.3}
            rows.append(values | {"phase": 0.7, "luminosity_distance": 500.0})
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    return sources


@pytest.fixture(scope="session")
def settings_of():
    """An experiment's `waveforms`."""

    def settings(approximant, **changes):
        values = {
            "approximant": approximant,
            "prior": "end_o3_ratesandpops",
            "duration": 32.0,
            "right_pad": 1.0,
            "minimum_frequency": FMIN,
            "reference_frequency": FREF,
            "num_training": 1,
        }
        return Waveforms(**values | changes)

    return settings


@pytest.fixture(scope="session")
def lal_arguments():
    """First arguments of lalsimulation's functions: masses to phase, by bilby's conversion."""

    def arguments(sources, *, precessing):
        s = {name: float(value[0]) for name, value in sources.items()}
        si = [s[f"mass_{i}_detector"] * lal.MSUN_SI for i in (1, 2)]
        iota = s["theta_jn"]
        spins = [0, 0, s["a_1"] * np.cos(s["tilt_1"]), 0, 0, s["a_2"] * np.cos(s["tilt_2"])]
        if precessing:
            names = ("theta_jn", "phi_jl", "tilt_1", "tilt_2", "phi_12", "a_1", "a_2")
            iota, *spins = bilby.gw.conversion.bilby_to_lalsimulation_spins(
                *(s[name] for name in names), *si, FREF, s["phase"]
            )
        distance = s["luminosity_distance"] * 1e6 * lal.PC_SI
        return (*si, *(float(x) for x in spins), distance, float(iota), s["phase"], 0.0, 0.0, 0.0)

    return arguments


@pytest.fixture(scope="session")
def advanced_ligo():
    """Advanced LIGO's design PSD at given frequencies [1/Hz]."""
    step, count = 0.25, 8192
    series = lal.CreateREAL8FrequencySeries(
        "", lal.LIGOTimeGPS(0), 0, step, lal.DimensionlessUnit, count
    )
    lalsimulation.SimNoisePSDaLIGODesignSensitivityP1200087(series, 10.0)
    known = np.arange(count) * step
    inside = (known > 15) & (known < 2000)
    level = np.log(series.data.data[inside])

    def psd(frequency):
        return np.exp(np.interp(frequency, known[inside], level))

    return psd


@pytest.fixture(scope="session")
def compare(advanced_ligo):
    """Compare two spectra, each with coalescence at its zero of time.

    Gives the overlap maximised over time (and over the phase or not), the time that takes [s] and
    the ratio of the norms.
    """

    def overlap(ours, theirs, frequency, band, *, phase=False):
        inside = (frequency > band[0]) & (frequency < band[1])
        frequency = frequency[inside]
        noise = advanced_ligo(frequency)
        ours, theirs = ours[inside], theirs[inside]
        norms = [np.sqrt(np.sum(np.abs(x) ** 2 / noise)) for x in (ours, theirs)]
        product = ours * theirs.conj() / noise
        lags = np.linspace(-2e-3, 2e-3, 161)
        sums = np.array([(product * np.exp(2j * np.pi * frequency * t)).sum() for t in lags])
        values = np.abs(sums) if phase else sums.real
        best = values.argmax()
        return values[best] / norms[0] / norms[1], lags[best], norms[0] / norms[1]

    return overlap
