"""Running power spectral density."""

import functools

import torch
from torch import Tensor

from preprocessing.recipe import WhiteningRecipe

# Strain is of order 1e-21 and its PSD of order 1e-46, below the smallest float32. Transforms are
# done on strain times this power of two, which changes no digit.
STRAIN_SCALE = 2.0**70


@functools.cache
def median_bias(num_segments: int) -> float:
    """Ratio of the expected median to the mean of exponentially distributed periodograms.

    Allen et al., Phys. Rev. D 85, 122006 (2012), equation B12: the alternating harmonic series.

    Args:
        num_segments: Number of segments; odd.
    """
    return sum((-1) ** (k + 1) / k for k in range(1, num_segments + 1))


@functools.cache
def _hann(size: int) -> Tensor:
    """Periodic Hann window; a constant, since exported graphs compute it with less accuracy."""
    return torch.hann_window(size, dtype=torch.float64)


def hann(size: int, like: Tensor) -> Tensor:
    """Periodic Hann window with the type and on the device of a tensor."""
    return _hann(size).to(dtype=like.dtype, device=like.device)


def _periodograms(strain: Tensor, recipe: WhiteningRecipe) -> Tensor:
    """One-sided periodograms of all half-overlapping Hann segments, of scaled strain [1/Hz].

    Args:
        strain: Strain, of shape (..., time).
        recipe: Lengths.

    Returns:
        Tensor of shape (..., segment, frequency).
    """
    window = hann(recipe.fft_size, strain)
    segments = strain.unfold(-1, recipe.fft_size, recipe.hop_size)
    spectrum = torch.fft.rfft(segments * (window * STRAIN_SCALE))
    power = spectrum.real.square() + spectrum.imag.square()
    power = power * (2 / (recipe.sample_rate * window.square().sum()))
    # the zero and the Nyquist frequency have no negative partner
    ends = torch.ones(power.shape[-1], dtype=power.dtype, device=power.device)
    ends[0] = ends[-1] = 0.5
    return power * ends


def scaled_psd(strain: Tensor, recipe: WhiteningRecipe) -> Tensor:
    """PSD of windows of strain times `STRAIN_SCALE`; see `running_psd`.

    Args:
        strain: Raw strain, of shape (..., psd_size).
        recipe: Lengths.

    Returns:
        One-sided PSD times `STRAIN_SCALE` squared [1/Hz], of shape (..., frequency).
    """
    # sorted, since ONNX has no median
    ordered = _periodograms(strain, recipe).sort(dim=-2).values
    return ordered[..., recipe.num_segments // 2, :] / median_bias(recipe.num_segments)


def running_psd(strain: Tensor, recipe: WhiteningRecipe) -> Tensor:
    """PSD of the strain just before each block.

    Median Welch with half-overlapping Hann segments, corrected for the bias of the median
    (independent segments assumed, as everywhere in the field). No mean is removed: the lowest
    frequencies are cut by the whitening anyway.

    Args:
        strain: Strain, of shape (..., time), as raw strain (dimensionless, of order 1e-21).
        recipe: Lengths.

    Returns:
        One-sided PSD [1/Hz], float64, of shape (block, ..., frequency), frequencies from 0 to half
        the sample rate in steps of 1 / fftlength. Block b is from samples
        [b * update_size, b * update_size + psd_size).

    Raises:
        ValueError: The strain is too short to whiten anything with it.
    """
    size = strain.shape[-1]
    blocks = recipe.num_blocks(size)
    if blocks == 0:
        raise ValueError(
            f"strain of {size / recipe.sample_rate} s is too short: whitening needs more than "
            f"{recipe.psd_length + recipe.fduration} s (psd_length + fduration)"
        )
    stride = recipe.update_size // recipe.hop_size
    last = (blocks - 1) * recipe.update_size + recipe.psd_size
    power = _periodograms(strain[..., :last], recipe)
    scale = 1 / (median_bias(recipe.num_segments) * STRAIN_SCALE**2)
    medians = []
    # a limited number of blocks at a time, since each repeats most of its neighbour's segments
    step = 64
    for first in range(0, blocks, step):
        count = min(step, blocks - first)
        part = power.narrow(-2, first * stride, (count - 1) * stride + recipe.num_segments).unfold(
            -2, recipe.num_segments, stride
        )
        medians.append(part.median(dim=-1).values)
    # (..., block, frequency) -> (block, ..., frequency)
    return torch.cat(medians, dim=-2).movedim(-2, 0).double() * scale
