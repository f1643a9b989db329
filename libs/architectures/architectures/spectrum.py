"""Fourier transforms of kernels within a band."""

import math

import torch
from torch import Tensor


def band_bins(
    size: int, sample_rate: float, highpass: float | None, lowpass: float | None
) -> tuple[int, int]:
    """Bins of a real Fourier transform that lie within a band.

    Args:
        size: Samples transformed.
        sample_rate: Sample rate [Hz].
        highpass: Lowest frequency of the band; the first above zero if None [Hz].
        lowpass: Highest frequency of the band; half the sample rate if None [Hz].

    Returns:
        First bin, and the one after the last.

    Raises:
        ValueError: The band is empty.
    """
    spacing = sample_rate / size
    # the mean of whitened strain says nothing
    first = max(1, math.ceil((highpass or 0.0) / spacing))
    top = sample_rate / 2 if lowpass is None else min(lowpass, sample_rate / 2)
    last = math.floor(top / spacing) + 1
    if last <= first:
        raise ValueError(
            f"no frequency lies in the band from highpass {highpass} Hz to lowpass {lowpass} Hz, "
            f"at a sample rate of {sample_rate} Hz and a spacing of {spacing:.3f} Hz"
        )
    return first, last


class BandSpectrum(torch.nn.Module):
    """Real and imaginary part of the Fourier transform of kernels, within a band.

    The transform is unitary: white noise of variance 1 has parts of variance 1/2. No window is
    applied, since whitened strain has no steep slopes that could leak.

    Args:
        size: Samples of a kernel.
        first: First bin.
        last: The bin after the last.
    """

    def __init__(self, size: int, first: int, last: int) -> None:
        super().__init__()
        self.size = size
        self.first = first
        self.last = last

    def forward(self, kernel: Tensor) -> Tensor:
        """Shape (batch, ifo, size) to (batch, 2 * ifo, bin), the real parts first."""
        spectrum = torch.fft.rfft(kernel, n=self.size, norm="ortho")[..., self.first : self.last]
        return torch.cat((spectrum.real, spectrum.imag), dim=1)


class FilterSpectrum(torch.nn.Module):
    """Logarithm of the amplitude spectral density that whitening filters divide by.

    A whitening filter's response is proportional to 1 / ASD in the band, smoothed over the inverse
    of the filter's length. It is taken at the frequencies of the kernel's transform, exactly: a
    shorter filter is continued with zeros, a longer one is wrapped.

    Args:
        size: Samples of a kernel.
        first: First bin.
        last: The bin after the last.
    """

    floor = 1e-6
    """Smallest response; that of scaled strain (`preprocessing`) is of order 1."""

    def __init__(self, size: int, first: int, last: int) -> None:
        super().__init__()
        self.size = size
        self.first = first
        self.last = last

    def forward(self, taps: Tensor) -> Tensor:
        """Filters of shape (batch, ifo, filter_size) to (batch, ifo, bin)."""
        padded = torch.nn.functional.pad(taps, (0, -taps.shape[-1] % self.size))
        wrapped = padded.unflatten(-1, (-1, self.size)).sum(dim=-2)
        response = torch.fft.rfft(wrapped)[..., self.first : self.last].abs()
        return -response.clamp(min=self.floor).log()
