import numpy as np
import pytest
import torch
from cleaning import LayerEstimator, NoiseEstimator, Problem, Series, TorchPredictor
from scipy.signal import butter, sosfiltfilt
from torch.nn import functional as F

IFO = "H1"
START = 1_000_000_000


class Hopping(torch.nn.Module):
    """A network that is only invariant under shifts of `hop_size`, of known finite reach."""

    hop_size = 16
    past_size = future_size = 32

    def __init__(self, channels):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.down = torch.randn(4, channels, 31, generator=generator)
        self.up = torch.randn(4, 1, 32, generator=generator)

    def forward(self, witnesses):
        coarse = F.conv1d(witnesses, self.down, stride=16, padding=15).relu()
        noise = F.conv_transpose1d(coarse, self.up, stride=16, padding=8)
        return 1e-22 * noise[:, 0, : witnesses.shape[-1]]


class Remembering(torch.nn.Module):
    """A network that sees far back, and nothing of the future."""

    hop_size = 1
    past_size = 1024
    future_size = 0

    def __init__(self, channels):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.taps = torch.randn(1, channels, 1025, generator=generator)

    def forward(self, witnesses):
        return 1e-22 * F.conv1d(F.pad(witnesses, (1024, 0)), self.taps)[:, 0]


def make_estimator(problem, *networks):
    return NoiseEstimator.of(problem, [TorchPredictor(network) for network in networks])


def make_problem(layers=1):
    bands = [[[55, 65]], [[100, 110], [120, 130]]][:layers]
    return Problem.model_validate(
        {
            "name": "test",
            "ifo": IFO,
            "layers": [
                {"bands": band, "witnesses": ["FAST", "SLOW"][: 2 - i], "sample_rate": 512}
                for i, band in enumerate(bands)
            ],
        }
    )


def make_witnesses(seconds, rates=(2048, 256)):
    random = np.random.default_rng(3)
    return {
        f"{IFO}:{name}": Series(random.standard_normal(seconds * rate), rate, START * rate)
        for name, rate in zip(("FAST", "SLOW"), rates, strict=True)
    }


@pytest.mark.parametrize("second", [Hopping, Remembering])
def test_noise_does_not_depend_on_the_stretch_it_is_computed_in(second):
    estimator = make_estimator(make_problem(layers=2), Hopping(2), second(1))
    witnesses = make_witnesses(100)
    whole = estimator(witnesses, START + 4, START + 98)
    assert whole.shape == (94 * 4096,)
    scale = whole.std()
    for first, stop in [(4, 5), (5, 6), (17, 25), (60, 97)]:
        # only what the estimate may see
        margin = 4
        near = {
            name: series.seconds(START + first - margin, START + stop + 1)
            for name, series in witnesses.items()
        }
        part = estimator(near, START + first, START + stop)
        expected = whole[(first - 4) * 4096 : (stop - 4) * 4096]
        assert np.abs(part - expected).max() < 1e-6 * scale


@pytest.mark.parametrize("kind", [Hopping, Remembering])
def test_no_sample_depends_on_more_than_the_reach(kind):
    estimator = make_estimator(make_problem(), kind(2))
    witnesses = make_witnesses(20)
    rates = {name: series.rate for name, series in witnesses.items()}
    past, future = estimator.reach(rates)
    assert future < 1.0
    changed = dict(witnesses)
    fast = witnesses[f"{IFO}:FAST"]
    values = fast.values.copy()
    values[10 * 2048] += 1e3
    changed[f"{IFO}:FAST"] = Series(values, 2048, fast.first)
    difference = estimator(changed, START + 5, START + 15) - estimator(
        witnesses, START + 5, START + 15
    )
    # Fourier transforms leave rounding everywhere
    touched = np.flatnonzero(np.abs(difference) > 1e-9 * np.abs(difference).max())
    assert 10 - future <= 5 + touched.min() / 4096 < 10
    assert 9.9 + 0.9 * past < 5 + touched.max() / 4096 <= 10 + past


def test_a_passed_through_witness_is_band_passed_in_place():
    class Through(torch.nn.Module):
        hop_size = 1
        past_size = future_size = 0

        def forward(self, witnesses):
            return witnesses[:, 0]

    problem = make_problem()
    estimator = make_estimator(problem, Through())
    witnesses = make_witnesses(30, rates=(4096, 256))
    found = estimator(witnesses, START + 5, START + 25)
    sections = butter(4, (57, 63), "bandpass", output="sos", fs=4096)
    raw = witnesses[f"{IFO}:FAST"].values
    expected = sosfiltfilt(sections, raw)[5 * 4096 : 25 * 4096]
    assert np.corrcoef(found, expected)[0, 1] > 0.9
    # shifted by a sixth of a period it is another series
    assert np.corrcoef(np.roll(found, 11), expected)[0, 1] < 0.6


def test_witnesses_that_end_too_early_are_refused():
    estimator = make_estimator(make_problem(), Hopping(2))
    with pytest.raises(ValueError, match="give data around what is to be cleaned"):
        estimator(make_witnesses(10), START + 5, START + 10)


def test_each_layer_needs_its_network():
    with pytest.raises(ValueError, match="1 networks for the 2 layers"):
        make_estimator(make_problem(layers=2), Hopping(2))


def test_a_long_stretch_is_given_to_the_network_in_parts():
    problem = make_problem()
    seen = []

    class Counting(Hopping):
        def forward(self, witnesses):
            seen.append(witnesses.shape[-1])
            return super().forward(witnesses)

    channels = problem.layer_witnesses(problem.layers[0])
    layer = LayerEstimator(
        problem.layers[0], channels, TorchPredictor(Counting(2)), 4096, batch_length=8
    )
    layer(make_witnesses(40), START + 2, START + 38)
    assert len(seen) == 5
    assert max(seen) < 10 * 512
