"""The best linear filter from witnesses to strain: what a network must beat."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import csd, welch
from torch import Tensor
from torch.nn import functional as F


class LinearFilter(torch.nn.Module):
    """A finite linear filter from witnesses to noise; a `cleaning.Network`.

    Args:
        taps: Of shape (channel, time), odd in length; the middle one stands at no delay.
        scale: What witnesses are multiplied by before the filter, of shape (channel,): theirs
            is another size than that of strain.
        strain_scale: What the sum is multiplied by to be strain.
    """

    def __init__(self, taps: Tensor, scale: Tensor, strain_scale: float) -> None:
        super().__init__()
        if taps.shape[-1] % 2 == 0:
            raise ValueError(f"a filter of {taps.shape[-1]} taps: expected an odd number")
        self.hop_size = 1
        self.past_size = self.future_size = taps.shape[-1] // 2
        self.register_buffer("taps", taps.float()[None])
        self.register_buffer("scale", scale.float()[:, None])
        self.strain_scale = strain_scale

    def forward(self, witnesses: Tensor) -> Tensor:
        """Noise from witnesses, (batch, channel, time) to (batch, time); zeros beyond the ends."""
        # a correlation turns the taps around
        noise = F.conv1d(witnesses * self.scale, self.taps.flip(-1), padding=self.past_size)
        return noise[:, 0] * self.strain_scale


def fit_wiener(
    witnesses: np.ndarray, strain: np.ndarray, rate: int, length: float = 0.5, ridge: float = 1e-6
) -> LinearFilter:
    """The linear filter with the least mean square residual, from cross spectra.

    In each frequency bin W = S_xx^-1 S_xy with the spectral matrix of the witnesses and their
    cross spectra with the strain (Wiener 1949; for several witnesses Allen, Hua and Ottewill,
    gr-qc/9909083), by Welch's method; the taps are its inverse Fourier transform under a Hann
    window, which bounds their length.

    Args:
        witnesses: Of shape (channel, time).
        strain: Strain, already band-passed, of shape (time,).
        rate: Sample rate of both [Hz].
        length: What the filter sees on either side [s].
        ridge: Added to the spectral matrix, relative to its trace per channel: witnesses that say
            the same leave it singular.

    Raises:
        ValueError: The data are shorter than two segments.
    """
    half = round(length * rate)
    size = 4 * half
    if strain.shape[-1] < 2 * size:
        raise ValueError(
            f"{strain.shape[-1] / rate} s of data for a filter of {length} s to either side: "
            f"give {2 * size / rate} s or more"
        )
    spread = witnesses.std(axis=-1)
    scale = 1 / np.where(spread > 0, spread, 1.0)
    strain_scale = float(strain.std()) or 1.0
    inputs, target = witnesses * scale[:, None], strain / strain_scale
    options = {"fs": rate, "window": "hann", "nperseg": size, "noverlap": size // 2}
    number = len(inputs)
    matrix = np.empty((size // 2 + 1, number, number), dtype=complex)
    vector = np.empty((size // 2 + 1, number), dtype=complex)
    for i in range(number):
        vector[:, i] = csd(inputs[i], target, **options)[1]
        matrix[:, i, i] = welch(inputs[i], **options)[1]
        for j in range(i):
            matrix[:, i, j] = csd(inputs[i], inputs[j], **options)[1]
            matrix[:, j, i] = matrix[:, i, j].conj()
    trace = np.einsum("fii->f", matrix).real / number
    floor = np.maximum(trace, trace.max() * 1e-12)
    matrix += ridge * floor[:, None, None] * np.eye(number)
    gain = np.linalg.solve(matrix, vector[..., None])[..., 0]
    impulse = np.fft.irfft(gain.T, size)
    taps = np.concatenate((impulse[:, -half:], impulse[:, : half + 1]), axis=-1)
    taps *= np.hanning(2 * half + 3)[1:-1]
    return LinearFilter(torch.from_numpy(taps), torch.from_numpy(scale), strain_scale)
