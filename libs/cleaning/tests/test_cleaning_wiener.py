import numpy as np
import pytest
import torch
from cleaning import AsdRatio, asd, fit_wiener

RATE = 256


def coupled(seconds=600, seed=2):
    """Two witnesses, one filtered and one delayed into the target, and noise of its own."""
    random = np.random.default_rng(seed)
    first, second, own = random.standard_normal((3, seconds * RATE))
    kernel = np.hanning(9)[1:-1] * np.cos(np.arange(7))
    noise = np.convolve(first, kernel, mode="same") + 0.7 * np.roll(second, 5)
    return np.stack((50 * first, 1e-3 * second)), 1e-21 * noise, 1e-21 * 0.3 * own


def test_the_filter_finds_a_linear_coupling():
    witnesses, noise, own = coupled()
    half = witnesses.shape[-1] // 2
    model = fit_wiener(witnesses[:, :half], (noise + own)[:half], RATE, length=0.25)
    with torch.inference_mode():
        found = model(torch.from_numpy(witnesses[:, half:]).float()[None])[0].numpy()
    inner = slice(RATE, -RATE)
    left = (noise[half:] - found)[inner]
    # what is left is of the size of estimation error: far below the noise and the strain's own
    assert left.std() < 0.05 * noise.std()
    assert left.std() < 0.2 * own.std()


def test_too_little_data_are_refused():
    witnesses, noise, own = coupled(seconds=1)
    with pytest.raises(ValueError, match="give"):
        fit_wiener(witnesses, noise + own, RATE)


def test_equal_witnesses_are_no_problem():
    witnesses, noise, own = coupled(seconds=100)
    doubled = np.concatenate((witnesses, witnesses))
    model = fit_wiener(doubled, noise + own, RATE, length=0.25)
    assert torch.isfinite(model.taps).all()


def test_the_loss_is_the_ratio_of_densities():
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(64, 8 * RATE, generator=generator)
    loss = AsdRatio([(30.0, 50.0)], RATE)
    assert float(loss(torch.zeros_like(target), target)) == pytest.approx(1.0, abs=1e-5)
    assert float(loss(0.5 * target, target)) == pytest.approx(0.5, abs=1e-4)
    assert float(loss(target, target)) < 1e-5
    # against Welch's method of scipy, one kernel long enough to have many segments
    prediction = 0.3 * torch.randn(1, 600 * RATE, generator=generator)
    series = torch.randn(1, 600 * RATE, generator=generator)
    _, before = asd(series[0].numpy(), RATE, average="mean")
    frequency, after = asd((series - prediction)[0].numpy(), RATE, average="mean")
    band = (frequency >= 30) & (frequency < 50)
    expected = (after / before)[band].mean()
    assert float(loss(prediction, series)) == pytest.approx(expected, rel=1e-4)


def test_the_squared_error_has_its_weight():
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(4, 8 * RATE, generator=generator)
    loss = AsdRatio([(30.0, 50.0)], RATE, alpha=0.25)
    assert float(loss(0.5 * target, target)) == pytest.approx(0.25 * 0.5 + 0.75 * 0.25, abs=1e-3)


def test_bands_without_a_bin_and_short_kernels_are_refused():
    with pytest.raises(ValueError, match="no bin"):
        AsdRatio([(30.1, 30.2)], RATE)
    with pytest.raises(ValueError, match="shorter than a segment"):
        AsdRatio([(30.0, 50.0)], RATE)(torch.zeros(1, RATE), torch.ones(1, RATE))
