"""Detectors apart, correlations as numpy finds them, delays as the observatories state them."""

import numpy as np
import pytest
import torch
from architectures import Autoencoder, build
from architectures.autoencoder_losses import TERMS, AutoencoderLoss, LossTerm, loss_term
from architectures.correlation import ShiftedCorrelation, shifted_correlation
from architectures.light_travel import EARTH_DIAMETER_TIME, light_travel_times
from ml4gw.transforms import ShiftedPearsonCorrelation


class Stretch(LossTerm):
    """A term of one's own, with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, found, labels):
        """See `LossTerm`."""
        return (self.factor * found.output - found.kernel).square().mean()


def make(ifos: int = 3, **options) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(ifos, 512, 1.0, widths=(4, 8), **options)


@pytest.mark.parametrize("training", [True, False])
def test_no_detector_sees_another(training: bool) -> None:
    network = make().train(training)
    kernel = torch.randn(4, 3, 512, requires_grad=True)
    output = network.reconstruct(kernel)
    assert output.shape == kernel.shape
    for ifo in range(3):
        weight = torch.randn(4, 512)
        (gradient,) = torch.autograd.grad(
            (output[:, ifo] * weight).sum(), kernel, retain_graph=True
        )
        seen = gradient.abs().amax(dim=(0, 2))
        assert seen[ifo] > 0
        seen[ifo] = 0
        assert (seen == 0).all()
    # and no code either
    code = network.examine(kernel).code
    (gradient,) = torch.autograd.grad(code[:, 1].square().sum(), kernel)
    assert (gradient[:, [0, 2]] == 0).all()
    assert (gradient[:, 1] != 0).any()


def test_light_travel_times_are_the_known_ones() -> None:
    """From lal.LightTravelTime, to the microsecond."""
    found = light_travel_times(["H1", "L1", "V1"])
    assert found == pytest.approx([0.010013, 0.027288, 0.026448], abs=2e-6)
    assert all(time < EARTH_DIAMETER_TIME for time in light_travel_times(["H1", "L1", "V1", "K1"]))


def test_correlation_is_that_of_numpy() -> None:
    generator = np.random.default_rng(0)
    series = torch.from_numpy(generator.normal(size=(3, 2, 200)) + 5)
    shift = 7
    found = shifted_correlation(series[:, 0], series[:, 1], shift)
    for row in range(3):
        first, second = series[row].numpy()
        expected = [
            np.corrcoef(first[shift:-shift], second[k : k + 200 - 2 * shift])[0, 1]
            for k in range(2 * shift + 1)
        ]
        np.testing.assert_allclose(found[row], expected, atol=1e-9)


def test_correlation_is_that_of_ml4gw_where_that_pads_nothing_of_weight() -> None:
    series = torch.randn(3, 2, 200, dtype=torch.float64)
    series[..., :20] = series[..., -20:] = 0
    series -= series.mean(dim=-1, keepdim=True) * (series != 0) * 200 / 160
    # theirs shifts the first of the two
    theirs = ShiftedPearsonCorrelation(5)(series[:, 1], series[:, 0]).T
    found = shifted_correlation(series[:, 0], series[:, 1], 5)
    torch.testing.assert_close(found, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
def test_only_possible_delays_correlate(sign: int) -> None:
    rate = 2048
    times = light_travel_times(["H1", "L1", "V1"])
    correlation = ShiftedCorrelation(3, times, rate)
    source = torch.randn(1, rate)
    for pair, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        for delay, possible in ((times[pair] - 1e-3, True), (times[pair] + 2e-3, False)):
            for direction in (1, -1):
                series = torch.randn(1, 3, rate)
                series[:, i] = source
                series[:, j] = sign * source.roll(direction * round(delay * rate), -1)
                assert (correlation(series)[0, pair] > 0.99) == possible


def test_silence_correlates_with_nothing() -> None:
    correlation = ShiftedCorrelation(2, [0.01], 512)
    series = torch.zeros(2, 2, 512, requires_grad=True)
    found = correlation(series)
    assert (found == 0).all()
    found.sum().backward()
    assert torch.isfinite(series.grad).all()


def test_score_is_the_mean_over_pairs_of_the_reconstructions() -> None:
    network = make(ifos=3).eval()
    kernel = torch.randn(2, 3, 512)
    found = network.examine(kernel)
    torch.testing.assert_close(network(kernel), found.correlation.mean(dim=1))
    torch.testing.assert_close(found.output, network.reconstruct(kernel))
    assert found.code.shape == (2, 3, 8)
    assert ((network(kernel) >= 0) & (network(kernel) <= 1)).all()
    # the order of a network's detectors is what their names say
    near = build("Autoencoder", 2, 512, 1.0, {}, experiment={"ifos": ["H1", "L1"]})
    far = build("Autoencoder", 2, 512, 1.0, {}, experiment={"ifos": ["H1", "V1"]})
    assert near.correlation.shifts == [6]
    assert far.correlation.shifts == [14]


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(ValueError, match="needs at least 2, found 1: use a supervised"):
        make(ifos=1)
    with pytest.raises(ValueError, match="names of 1 detectors"):
        Autoencoder(2, 512, 1.0, ifos=["H1"])
    with pytest.raises(ValueError, match=r"kernel_length 0.1 s is too short"):
        Autoencoder(2, 512, 0.1)


def test_correlation_term_wants_signals_alike_and_noise_apart() -> None:
    loss = AutoencoderLoss({"correlation": 2.0})
    network = make(ifos=2)
    found = network.examine(torch.randn(4, 2, 512))
    found = found._replace(correlation=torch.tensor([[0.9], [0.7], [0.2], [0.4]]))
    total, values = loss(found, torch.tensor([1, 1, 0, 0]))
    assert values["correlation"] == pytest.approx(0.2 + 0.3)
    assert total == pytest.approx(2 * 0.5)
    assert loss(found)[1]["correlation"] == pytest.approx(1 - 0.55)
    # a batch of one kind is no division by zero
    assert loss(found, torch.ones(4))[1]["correlation"] == pytest.approx(1 - 0.55)


def test_terms_are_those_of_their_formulas() -> None:
    generator = np.random.default_rng(1)
    network = make(ifos=2)
    kernel = torch.randn(16, 2, 512)
    code = 0.3 * generator.normal(size=(16, 2, 5))
    found = network.examine(kernel)._replace(code=torch.from_numpy(code))
    _, values = AutoencoderLoss({"reconstruction": 1.0, "variance": 1.0, "covariance": 1.0})(found)
    squares = (found.output - kernel).detach().numpy() ** 2
    assert values["reconstruction"] == pytest.approx(squares.mean(), rel=1e-5)
    spread = np.sqrt(code.var(axis=0, ddof=1) + 1e-4)
    assert values["variance"] == pytest.approx(np.maximum(0, 1 - spread).mean())
    mixed = []
    for ifo in range(2):
        covariance = np.cov(code[:, ifo].T)
        mixed.append((covariance[~np.eye(5, dtype=bool)] ** 2).sum() / 5)
    assert values["covariance"] == pytest.approx(np.mean(mixed))


def test_a_collapsed_code_costs() -> None:
    network = make(ifos=2)
    found = network.examine(torch.randn(8, 2, 512))
    collapsed = found._replace(code=torch.ones_like(found.code))
    spread = found._replace(code=3 * torch.randn(8, 2, 8))
    loss = AutoencoderLoss({"variance": 1.0})
    assert loss(collapsed)[0] == pytest.approx(0.99)
    assert loss(spread)[0] < 0.3


def test_terms_can_be_added_and_are_listed() -> None:
    @loss_term("loudness")
    class Loudness(LossTerm):
        def forward(self, found, labels):
            return found.output.square().mean()

    try:
        total, values = AutoencoderLoss({"loudness": 0.5})(
            make(ifos=2).examine(torch.randn(2, 2, 512))
        )
        assert total.item() == pytest.approx(0.5 * values["loudness"].item())
        with pytest.raises(ValueError, match="loudness' exists already"):
            loss_term("loudness")(Loudness)
    finally:
        del TERMS["loudness"]


def test_terms_come_from_anywhere_by_their_path() -> None:
    here = f"{__name__}.Stretch"
    loss = AutoencoderLoss({"reconstruction": 1.0, here: 2.0})
    found = make(ifos=2).examine(torch.randn(2, 2, 512))
    total, values = loss(found)
    assert list(values) == ["reconstruction", here]
    assert total.item() == pytest.approx(values["reconstruction"].item() + 2 * values[here].item())
    total.backward()
    assert [p.grad is not None for p in loss.parameters()] == [True]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("entropy", "no loss term entropy: there are correlation, cov.*package.module.Class"),
        (f"{__name__}.Nothing", r"no loss term .*Nothing \(.*has no attribute 'Nothing'\)"),
        ("no_such_package.Term", "No module named 'no_such_package'"),
        ("torch.nn.MSELoss", "torch.nn.MSELoss is no loss term: derive it from arch.*LossTerm"),
    ],
)
def test_unknown_terms_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AutoencoderLoss({name: 1.0})


def test_a_loss_has_terms() -> None:
    with pytest.raises(ValueError, match="no loss term given"):
        AutoencoderLoss({})
