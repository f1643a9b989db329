"""The shipped problems: what they name, and that their filters fit them."""

from pathlib import Path

import numpy as np
import pytest
from cleaning import BandPass, Resampler, load_problem
from cleaning.cleaner import TAPER_LENGTH

FOLDER = Path(__file__).resolve().parents[3] / "configs" / "problems"
O3B = [
    ((142, 162), 122),
    ((15, 20), 5),
    ((33, 39), 4),
    ((55, 65), 6),
    ((75, 80), 3),
    ((98, 110), 3),
    ((137, 139), 5),
    ((197, 208), 9),
    ((247, 252), 14),
    ((295, 305), 18),
    ((345, 355), 12),
    ((355, 367), 5),
    ((395, 415), 19),
]
# bands [Hz] and number of witnesses of each layer, as published
PUBLISHED = {
    "60Hz-H1": [((55, 65), 21)],
    "60Hz-L1": [((58, 62), 18)],
    "104Hz-L1": [((101, 107), 30)],
    "10Hz-H1": [((10, 13), 7)],
    "30Hz-H1": [((27.5, 32.5), 7)],
    "105Hz-H1": [((104, 109), 14)],
    "120Hz-H1": [((110, 130), 35)],
    "150Hz-H1": [((150, 155), 6)],
    "180Hz-H1": [((176, 184), 18)],
    "60Hz-K1": [((55, 65), 9)],
    "60Hz-ground-K1": [((55, 65), 6)],
    "O3b-V1": O3B,
    "O3b-high-V1": [((548, 555), 20), ((598, 603), 21)],
}
# rate of the strain and the fastest witnesses [Hz]
FASTEST = {"H1": 16384, "L1": 16384, "K1": 16384, "V1": 20000}
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def layers():
    for name in SHIPPED:
        for layer in load_problem(FOLDER / f"{name}.yaml").layers:
            yield pytest.param(name, layer, id=f"{name}-{layer.bands[0][0]:g}")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_problem_has_the_published_layers(name):
    problem = load_problem(FOLDER / f"{name}.yaml")
    found = [(layer.bands[0], len(layer.witnesses)) for layer in problem.layers]
    assert found == PUBLISHED[name]
    assert all(len(layer.bands) == 1 for layer in problem.layers)
    assert problem.name == name
    assert name.endswith(problem.ifo)
    assert problem.strain_channel not in problem.witnesses
    assert all(witness.count(":") == 1 for witness in problem.witnesses)


def test_all_published_problems_are_shipped():
    assert set(SHIPPED) == set(PUBLISHED)
    assert sum(count for _, count in O3B) == 225


@pytest.mark.parametrize(("name", "layer"), layers())
def test_a_layer_runs_at_a_rate_that_fits_its_band(name, layer):
    rate, ((low, high),) = layer.sample_rate, layer.bands
    assert rate & (rate - 1) == 0
    assert 2.5 * high <= rate <= 4096
    # the filters that lower the rate leave the band as it is, and let nothing in from beyond
    lowered = Resampler(FASTEST[load_problem(FOLDER / f"{name}.yaml").ifo], rate)
    offset = np.arange(-lowered.half_size, lowered.half_size + 1) / (lowered.rate_in * lowered.up)

    def gain(frequency):
        phase = 2 * np.pi * np.multiply.outer(frequency, offset)
        return np.cos(phase) @ lowered.taps / lowered.up

    inside = np.linspace(low, high, 21)
    np.testing.assert_allclose(gain(inside), 1, atol=1e-3)
    for image in (rate - inside, rate + inside, 2 * rate - inside):
        assert np.abs(gain(image)).max() < 1e-3


@pytest.mark.parametrize(("name", "layer"), layers())
def test_the_band_pass_of_a_layer_fits_its_band(name, layer):
    rate, ((low, high),) = layer.sample_rate, layer.bands
    band = BandPass(layer.bands, rate)
    assert band.response([(low + high) / 2]) == pytest.approx(1, abs=0.01)
    # 0.9 s of data tell no finer: the narrowest band, of 2 Hz, ends 1.2 Hz beyond its edges
    spill = 1.2 if high - low < 6.5 else 0.0
    far = np.concatenate((np.linspace(0.1, low - spill, 999), np.linspace(high + spill, rate / 2)))
    assert np.abs(band.response(far)).max() < 0.01
    # leaves room for the network, within the one second that is waited for
    fastest = FASTEST[load_problem(FOLDER / f"{name}.yaml").ifo]
    filters = Resampler(fastest, rate).reach + Resampler(rate, 4096).reach + band.half_size / rate
    assert filters + TAPER_LENGTH + 16 / rate < 0.95
    # of what comes at 16 Hz, too
    assert filters + Resampler(16, rate).reach + TAPER_LENGTH < 0.95


def test_the_guardians_number_is_no_mask_of_lower_states():
    """KAGRA's state is a number; masked with 1000 it is 1000 from 1000 on only."""
    problem = load_problem(FOLDER / "60Hz-K1.yaml")
    states = np.arange(0, 1001)
    analysed = states & problem.state_mask == problem.state_mask
    assert states[analysed].tolist() == [1000]
