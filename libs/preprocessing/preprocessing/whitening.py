"""Whitening by finite filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from preprocessing.psd import STRAIN_SCALE, hann, running_psd, scaled_psd
from preprocessing.recipe import WhiteningRecipe


def whitening_taps(density: Tensor, recipe: WhiteningRecipe) -> Tensor:
    """Zero-phase filter that whitens noise of a PSD.

    The inverse ASD is cut to [highpass, lowpass], taken to the time domain and tapered with a
    Hann window to `fduration` (as in Usman et al., Class. Quantum Grav. 33, 215004 (2016), section
    3.1). Gaussian noise of that PSD comes out with density 2 / sample_rate in the band and none
    outside, so with variance (lowpass - highpass) / (sample_rate / 2), which is 1 for the full
    band; a signal comes out with a sum of squares equal to its squared optimal SNR in the band.

    Args:
        density: One-sided PSD of scaled strain (raw strain times `STRAIN_SCALE`) [1/Hz], of shape
            (..., frequency), in steps of 1 / fftlength.
        recipe: Lengths and frequencies.

    Returns:
        Filter taps for scaled strain, float32, of shape (..., filter_size). The centre is at index
        filter_size / 2; the first tap is zero.
    """
    bins = torch.arange(recipe.fft_size // 2 + 1, dtype=density.dtype, device=density.device)
    frequency = bins * (recipe.sample_rate / recipe.fft_size)
    top = recipe.sample_rate / 2 if recipe.lowpass is None else recipe.lowpass
    band = (frequency >= recipe.highpass) & (frequency <= top)
    # not a product: outside the band an anti-alias filter may leave a PSD of exactly zero
    inverse = (2 / (recipe.sample_rate * density)).sqrt()
    inverse = torch.where(band, inverse, torch.zeros_like(inverse))
    impulse = torch.fft.irfft(inverse, n=recipe.fft_size)
    half = recipe.filter_size // 2
    centred = torch.cat((impulse[..., -half:], impulse[..., :half]), dim=-1)
    return (centred * hann(recipe.filter_size, density)).float()


def _filter(values: Tensor, taps: Tensor, transform_size: int | None = None) -> Tensor:
    """Convolve and keep what sees only given values.

    Args:
        values: Scaled strain, of shape (..., time).
        taps: Of shape (..., filter_size).
        transform_size: Length of the transforms, at least that of the values.

    Returns:
        Tensor of shape (..., time - filter_size). Sample i stands at the time of sample
        i + filter_size / 2 of the input.
    """
    size = values.shape[-1]
    length = transform_size or size
    spectrum = torch.fft.rfft(values, n=length) * torch.fft.rfft(taps, n=length)
    return torch.fft.irfft(spectrum, n=length)[..., taps.shape[-1] : size]


def filter_signals(signal: Tensor, taps: Tensor) -> Tensor:
    """Whiten signals with the filters of the noise they are added to.

    Args:
        signal: Signals as strain, of shape (batch, ifo, time).
        taps: A filter for each, of shape (batch, ifo, filter_size).

    Returns:
        Whitened signals, of shape (batch, ifo, time - filter_size): half a filter is lost at
        either end.
    """
    return _filter(signal * STRAIN_SCALE, taps)


@dataclass(frozen=True)
class WhitenedStretch:
    """A stretch of whitened strain and the filters that made it.

    Attributes:
        values: Whitened strain, of shape (ifo, time).
        taps: Filters, of shape (block, ifo, filter_size).
        psd: PSDs [1/Hz], of shape (block, ifo, frequency).
        recipe: Lengths and frequencies.
    """

    values: Tensor
    taps: Tensor
    psd: Tensor
    recipe: WhiteningRecipe

    def block_of(self, sample: Tensor) -> Tensor:
        """Block to which each whitened sample belongs."""
        return torch.div(sample, self.recipe.update_size, rounding_mode="floor").clamp_(
            0, len(self.taps) - 1
        )


def whiten(strain: Tensor, recipe: WhiteningRecipe, blocks_at_once: int = 64) -> WhitenedStretch:
    """Whiten a stretch of strain block by block, each with the PSD of the strain just before.

    Args:
        strain: Raw strain, of shape (ifo, time), float32.
        recipe: Lengths and frequencies.
        blocks_at_once: Bounds the memory; changes no value.

    Returns:
        The whitened stretch. Its first sample stands `recipe.lead` after the strain's first, its
        last `fduration / 2` before the strain's last.

    Raises:
        ValueError: The strain is too short.
    """
    density = running_psd(strain, recipe)
    taps = whitening_taps(density * STRAIN_SCALE**2, recipe)
    size = recipe.whitened_size(strain.shape[-1])
    source = strain[..., recipe.psd_size :] * STRAIN_SCALE
    missing = len(taps) * recipe.update_size - size
    source = torch.nn.functional.pad(source, (0, missing))
    # (ifo, block, time) -> (block, ifo, time)
    pieces = source.unfold(-1, recipe.update_size + recipe.filter_size, recipe.update_size)
    pieces = pieces.movedim(-2, 0)
    values = torch.cat(
        [
            _filter(pieces[first : first + blocks_at_once], taps[first : first + blocks_at_once])
            for first in range(0, len(taps), blocks_at_once)
        ]
    )
    values = values.movedim(0, -2).flatten(-2)[..., :size]
    return WhitenedStretch(values=values.contiguous(), taps=taps, psd=density, recipe=recipe)


def whiten_pieces(
    read: Callable[[int, int], Tensor],
    strain_size: int,
    recipe: WhiteningRecipe,
    blocks_at_once: int = 64,
) -> Iterator[WhitenedStretch]:
    """Whiten a stretch of any length in bounded memory: `whiten`, piece by piece.

    Each piece is a whole number of blocks. For it the strain is read that its PSDs and its filters
    reach, so that the pieces in a row are the whitened stretch.

    Args:
        read: Gives the raw strain from a first sample to before a last, of shape (ifo, time).
        strain_size: Samples in the stretch.
        recipe: Lengths and frequencies.
        blocks_at_once: Blocks in a piece; bounds the memory.

    Yields:
        The pieces in order.

    Raises:
        ValueError: The strain is too short.
    """
    reach = recipe.psd_size + recipe.filter_size
    # at least one, whose whitening says that the strain is too short
    blocks = max(1, recipe.num_blocks(strain_size))
    for first in range(0, blocks, blocks_at_once):
        start = first * recipe.update_size
        stop = start + blocks_at_once * recipe.update_size + reach
        yield whiten(read(start, min(stop, strain_size)), recipe, blocks_at_once)


class WhitenBlock(torch.nn.Module):
    """Whiten the end of a window by the PSD of its beginning: one step of `whiten`, as a module.

    This is what is exported: a server that is sent a window each `update_length` gives the same
    whitened strain as `whiten`.

    Args:
        recipe: Lengths and frequencies.

    Input: Raw strain, of shape (batch, ifo, psd_size + filter_size + n) for any n.
    Output: Whitened strain, of shape (batch, ifo, n).
    """

    def __init__(self, recipe: WhiteningRecipe) -> None:
        super().__init__()
        self.recipe = recipe

    def forward(self, strain: Tensor) -> Tensor:
        """See the class."""
        recipe = self.recipe
        density = scaled_psd(strain[..., : recipe.psd_size], recipe)
        taps = whitening_taps(density, recipe)
        source = strain[..., recipe.psd_size :] * STRAIN_SCALE
        # onnxruntime transforms lengths that are no power of two to three digits only
        return _filter(source, taps, 2 ** (int(source.shape[-1]) - 1).bit_length())
