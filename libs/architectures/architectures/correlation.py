"""How alike two detectors' time series are, up to a delay."""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

TINY = 1e-12
"""Added to the product of two variances, so that a constant correlates with nothing."""


class ShiftedCorrelation(torch.nn.Module):
    """Largest correlation of each pair of detectors over the delays that are possible.

    For each pair (first, second) and each shift s by whole samples up to the pair's largest delay,
    rounded up, this is Pearson's correlation of the middle of `first` with the stretch of `second`
    that begins s samples later. Its magnitude counts, since detectors respond to a wave with
    either sign. ml4gw's `ShiftedPearsonCorrelation` correlates with a padding of zeros instead and
    keeps all windows in memory.

    Args:
        num_ifos: Number of detectors; at least two.
        delays: Largest delay of the pairs (0, 1), (0, 2), ..., (1, 2), ... [s].
        sample_rate: Sample rate [Hz].
    """

    def __init__(self, num_ifos: int, delays: Sequence[float], sample_rate: float) -> None:
        super().__init__()
        self.pairs = list(combinations(range(num_ifos), 2))
        self.shifts = [math.ceil(delay * sample_rate) for delay in delays]

    def forward(self, series: Tensor) -> Tensor:
        """Time series of shape (batch, ifo, time) to correlations, of shape (batch, pair)."""
        # sums over a kernel need more digits than mixed precision leaves
        series = series.to(torch.promote_types(series.dtype, torch.float32))
        found = [
            shifted_correlation(series[:, i], series[:, j], shift).abs().amax(dim=1)
            for (i, j), shift in zip(self.pairs, self.shifts, strict=True)
        ]
        return torch.stack(found, dim=1)


def shifted_correlation(first: Tensor, second: Tensor, max_shift: int) -> Tensor:
    """Pearson's correlation of two time series at each shift.

    Args:
        first: Of shape (batch, time).
        second: Of shape (batch, time).
        max_shift: Largest shift, in either direction [samples].

    Returns:
        Tensor of shape (batch, 2 * max_shift + 1): correlation of `first` without its outermost
        `max_shift` samples with the stretch of `second` that begins at sample 0, 1, ...
    """
    size = first.shape[-1] - 2 * max_shift
    middle = first[:, max_shift : max_shift + size]
    middle = middle - middle.mean(dim=-1, keepdim=True)
    power = middle.square().sum(dim=-1)
    found = []
    # one shift at a time, since all windows at once would take the memory of all of them
    for start in range(2 * max_shift + 1):
        other = second[:, start : start + size]
        variance = other.square().sum(dim=-1) - size * other.mean(dim=-1).square()
        # the mean of `other` drops out, since `middle` has none
        product = (middle * other).sum(dim=-1)
        found.append(product / (power * variance.clamp(min=0.0) + TINY).sqrt())
    return torch.stack(found, dim=1)
