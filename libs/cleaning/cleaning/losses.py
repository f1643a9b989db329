"""What training makes small: the density that is left in the bands."""

from __future__ import annotations

import torch
from torch import Tensor


class AsdRatio(torch.nn.Module):
    """Mean in-band ratio of the densities of (strain - noise) to strain, plus a squared error.

        alpha * mean_f sqrt(PSD(y - p) / PSD(y)) + (1 - alpha) * mean_t (y - p)^2 / mean_t y^2

    Saleem et al., arXiv:2306.11366, section III. Welch's method with Hann windows and the mean
    over segments. Data must be scaled to be of order one: squares of strain underflow in float32.

    Args:
        bands: Edges of each band [Hz].
        sample_rate: Sample rate [Hz].
        fftlength: Length of Welch's segments [s].
        overlap: Overlap of neighbouring segments [s].
        alpha: Weight of the ratio; the rest is that of the squared error.

    Raises:
        ValueError: No bin lies in a band.
    """

    mask: Tensor
    window: Tensor

    def __init__(
        self,
        bands: list[tuple[float, float]],
        sample_rate: float,
        fftlength: float = 2.0,
        overlap: float = 1.0,
        alpha: float = 1.0,
    ) -> None:
        super().__init__()
        self.size = round(fftlength * sample_rate)
        self.step = self.size - round(overlap * sample_rate)
        self.alpha = alpha
        frequency = torch.fft.rfftfreq(self.size, 1 / sample_rate)
        mask = torch.zeros(len(frequency), dtype=torch.bool)
        for low, high in bands:
            mask |= (frequency >= low) & (frequency < high)
        if not mask.any():
            raise ValueError(
                f"no bin of {1 / fftlength} Hz lies in the bands {bands}: lengthen fftlength"
            )
        self.register_buffer("mask", mask, persistent=False)
        window = torch.hann_window(self.size, periodic=True)
        self.register_buffer("window", window, persistent=False)

    def power(self, series: Tensor) -> Tensor:
        """In-band power of each bin, (batch, time) to (batch, frequency), to a constant factor.

        Raises:
            ValueError: The kernels are shorter than a segment.
        """
        if series.shape[-1] < self.size:
            raise ValueError(
                f"kernels of {series.shape[-1]} samples, shorter than a segment of {self.size}: "
                "lengthen the kernels or shorten fftlength"
            )
        pieces = series.unfold(-1, self.size, self.step)
        pieces = pieces - pieces.mean(dim=-1, keepdim=True)
        spectrum = torch.fft.rfft(pieces * self.window)[..., self.mask]
        return spectrum.abs().square().mean(dim=-2)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            prediction: Noise, of shape (batch, time).
            target: Strain, of shape (batch, time).
        """
        left = target - prediction
        loss = prediction.new_zeros(())
        if self.alpha > 0:
            # the root of nothing has no slope
            ratio = (self.power(left) / self.power(target) + 1e-12).sqrt()
            loss = loss + self.alpha * ratio.mean()
        if self.alpha < 1:
            error = left.square().mean() / target.square().mean()
            loss = loss + (1 - self.alpha) * error
        return loss
