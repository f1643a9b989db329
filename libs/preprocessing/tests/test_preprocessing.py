"""Whitening against scipy and against what a signal and noise must give."""

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from preprocessing import (
    WhitenBlock,
    WhiteningRecipe,
    filter_signals,
    optimal_snr,
    running_psd,
    whiten,
)
from preprocessing.psd import median_bias
from preprocessing.whitening import whiten_pieces, whitening_taps

RECIPE = WhiteningRecipe(
    sample_rate=512, psd_length=16, fftlength=2, fduration=1, update_length=4, highpass=32
)
ASD = 1e-23


def coloured_noise(seconds: float, seed: int, ifos: int = 2, rate: float = 512) -> np.ndarray:
    """Gaussian noise whose ASD falls by 1e4 from 8 Hz to a floor of ASD, as real noise does."""
    rng = np.random.default_rng(seed)
    size = int(seconds * rate)
    spectrum = np.fft.rfft(rng.standard_normal((ifos, size)) * np.sqrt(rate / 2))
    return np.fft.irfft(spectrum * asd(np.fft.rfftfreq(size, 1 / rate)), n=size)


def asd(frequency: np.ndarray) -> np.ndarray:
    return ASD * (1 + (80 / np.maximum(frequency, 8)) ** 4)


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


def test_psd_is_that_of_scipy() -> None:
    noise = coloured_noise(40, seed=1)
    ours = running_psd(tensor(noise), RECIPE).numpy()
    assert ours.shape == (RECIPE.num_blocks(noise.shape[-1]), 2, 513)
    for block in (0, 3, len(ours) - 1):
        start = block * RECIPE.update_size
        _, theirs = scipy.signal.welch(
            noise[:, start : start + RECIPE.psd_size],
            fs=512,
            window="hann",
            nperseg=1024,
            detrend=False,
            average="median",
        )
        # float32 transforms of noise that spans 1e4 in amplitude
        np.testing.assert_allclose(ours[block], theirs, rtol=1e-2)


def test_median_bias_is_that_of_scipy() -> None:
    for number in (1, 15, 31):
        assert median_bias(number) == pytest.approx(
            scipy.signal._spectral_py._median_bias(number), rel=1e-12
        )


def test_psd_sees_only_strain_before_its_block() -> None:
    noise = coloured_noise(40, seed=2)
    before = running_psd(tensor(noise), RECIPE)
    noise[:, 3 * RECIPE.update_size + RECIPE.psd_size :] += 1e-20
    after = running_psd(tensor(noise), RECIPE)
    torch.testing.assert_close(before[:4], after[:4], rtol=0, atol=0)
    assert not torch.equal(before[4], after[4])


def test_whitened_noise_has_unit_variance() -> None:
    # a long PSD: the inverse of a median of n segments is too large by about 2 / n
    full = WhiteningRecipe(**{**RECIPE.__dict__, "highpass": 0.5, "psd_length": 256})
    rng = np.random.default_rng(3)
    white = rng.standard_normal((2, 512 * 800)) * ASD * 16
    assert whiten(tensor(white), full).values.var().item() == pytest.approx(1, abs=0.02)
    # of the 256 Hz, 32 are cut by the highpass
    band = WhiteningRecipe(**{**RECIPE.__dict__, "psd_length": 256})
    values = whiten(tensor(coloured_noise(800, seed=4)), band).values
    assert values.var().item() == pytest.approx((256 - 32) / 256, abs=0.02)
    frequency, density = scipy.signal.welch(values.numpy(), fs=512, nperseg=1024)
    inside = (frequency > 40) & (frequency < 250)
    np.testing.assert_allclose(density[:, inside].mean(), 2 / 512, rtol=0.02)
    assert density[:, frequency < 24].max() < 1e-3 * 2 / 512


def test_whitened_signal_has_its_snr_and_place() -> None:
    noise = coloured_noise(120, seed=5)
    recipe = WhiteningRecipe(**{**RECIPE.__dict__, "psd_length": 64})
    stretch = whiten(tensor(noise), recipe)
    time = np.arange(4 * 512) / 512 - 3
    burst = 2e-22 * np.exp(-((time / 0.05) ** 2)) * np.cos(2 * np.pi * 90 * time)
    signal = tensor(np.stack([burst, 0.5 * burst]))[None]
    whitened = filter_signals(signal, stretch.taps[3][None])
    snr = optimal_snr(signal, stretch.psd[3], 512, 32)
    torch.testing.assert_close(whitened.square().sum(-1).sqrt().double(), snr, rtol=0.01, atol=0)
    # half a filter is lost at the left, so the centre moves from 3 s to 2.5 s
    envelope = np.abs(scipy.signal.hilbert(whitened[0].numpy()))
    assert np.abs(envelope.argmax(-1) / 512 - 2.5).max() < 0.01
    # and an independent integral, on a fine grid with the known PSD
    fine = np.fft.rfftfreq(len(time), 1 / 512)
    power = np.abs(np.fft.rfft(burst) / 512) ** 2 / asd(fine) ** 2
    expected = np.sqrt(4 * power[fine >= 32].sum() * 0.25)
    assert snr[0, 0].item() == pytest.approx(expected, rel=0.1)


def test_whitening_is_linear() -> None:
    noise = tensor(coloured_noise(60, seed=6))
    stretch = whiten(noise, RECIPE)
    signal = torch.zeros(1, 2, 1024)
    signal[..., 512] = 1e-22
    first = 9 * 512  # of the whitened stretch, inside block 2 at both ends
    assert stretch.block_of(torch.tensor(first)).item() == 2
    block = stretch.taps[2][None]
    added = stretch.values[:, first : first + 512] + filter_signals(signal, block)[0]
    start = first + RECIPE.psd_size
    raw = noise[None, :, start : start + 1024] + signal
    torch.testing.assert_close(filter_signals(raw, block)[0], added, rtol=0, atol=5e-3)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    seconds=st.integers(18, 60),
    extra=st.integers(0, 511),
    at_once=st.integers(1, 9),
)
def test_block_by_block_equals_whole(seconds: int, extra: int, at_once: int) -> None:
    size = seconds * 512 + extra
    noise = tensor(coloured_noise(64, seed=7))[:, :size]
    stretch = whiten(noise, RECIPE)
    assert stretch.values.shape == (2, RECIPE.whitened_size(size))
    # not to the bit: a transform's rounding depends on how many are done at once
    torch.testing.assert_close(
        whiten(noise, RECIPE, blocks_at_once=at_once).values, stretch.values, rtol=0, atol=1e-4
    )
    pieces = list(whiten_pieces(lambda a, b: noise[:, a:b], size, RECIPE, at_once))
    for name, axis in (("values", -1), ("taps", 0), ("psd", 0)):
        joined = torch.cat([getattr(piece, name) for piece in pieces], dim=axis)
        whole = getattr(stretch, name)
        atol = 1e-4 if name == "values" else 1e-6 * whole.abs().max().item()
        torch.testing.assert_close(joined, whole, rtol=0, atol=atol)
    module = WhitenBlock(RECIPE)
    window = RECIPE.psd_size + RECIPE.filter_size + RECIPE.update_size
    for block in range(len(stretch.taps) - 1):
        start = block * RECIPE.update_size
        whole = stretch.values[:, start : start + RECIPE.update_size]
        torch.testing.assert_close(
            # float32 transforms of another length, of noise that spans 1e4 in amplitude
            module(noise[None, :, start : start + window])[0],
            whole,
            rtol=0,
            atol=5e-3,
        )


def test_too_short_strain_is_named() -> None:
    with pytest.raises(ValueError, match=r"too short.*17"):
        whiten(torch.zeros(2, 17 * 512), RECIPE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"psd_length": 15}, "multiple of fftlength"),
        ({"update_length": 3.5}, "multiple of half"),
        ({"fduration": 4}, "exceeds fftlength"),
        ({"fftlength": 0.001}, "whole number"),
    ],
)
def test_unfit_lengths_are_named(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WhiteningRecipe(**{**RECIPE.__dict__, **change})


def test_a_psd_of_zero_outside_the_band_does_no_harm():
    """What an anti-alias filter took may leave a bin of exactly zero."""
    recipe = WhiteningRecipe(
        sample_rate=256,
        psd_length=8,
        fftlength=2,
        fduration=1,
        update_length=2,
        highpass=20,
        lowpass=100,
    )
    density = torch.ones(257, dtype=torch.float64)
    expected = whitening_taps(density, recipe)
    density[-1] = density[0] = 0.0
    torch.testing.assert_close(whitening_taps(density, recipe), expected, rtol=0, atol=0)
