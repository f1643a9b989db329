"""Noise that is a product of witnesses."""

import torch
from torch import Tensor

from architectures.base import RegressionNetwork
from architectures.registry import register


@register("regression")
class Bilinear(RegressionNetwork):
    """Filtered witnesses, plus products of two filtered sums of them.

        noise(t) = sum_c (f_c * x_c)(t) + sum_k g_k (sum_c a_kc * x_c)(t) (sum_c b_kc * x_c)(t)

    This is how sidebands arise: slow angular motion moves the beam, and so modulates how a fast
    disturbance, such as that of the power line, gets into the strain. Networks with such a product
    built in learn it better than general ones (Yu and Adhikari, Front. Artif. Intell. 5, 811563,
    2022). Without products (`rank` 0) it is a linear filter.

    Args:
        num_channels: Number of witness channels.
        sample_rate: Sample rate of witnesses and strain [Hz].
        kernel_length: Length of the stretches that it is trained on [s].
        rank: Number of products.
        taps: Length of the filters; odd.

    Raises:
        ValueError: The filters have an even length.
    """

    def __init__(
        self,
        num_channels: int,
        sample_rate: float,
        kernel_length: float,
        rank: int = 8,
        taps: int = 65,
    ) -> None:
        super().__init__(num_channels, sample_rate, kernel_length)
        if taps % 2 == 0:
            raise ValueError(f"taps must be odd to keep the alignment, found {taps}")
        self.rank = rank
        self.hop_size = 1
        self.past_size = self.future_size = taps // 2
        # one convolution for all filters: the linear ones, and both factors of each product
        self.filters = torch.nn.Conv1d(num_channels, 1 + 2 * rank, taps, padding=taps // 2)
        self.gain = torch.nn.Parameter(torch.randn(rank) / max(1, rank) ** 0.5)
        with torch.no_grad():
            # small products, and no linear part: what is learned first is what matters most
            self.filters.weight.normal_(std=0.01)
            self.filters.weight[0].zero_()
            self.filters.bias.zero_()

    def forward(self, witnesses: Tensor) -> Tensor:
        """See `RegressionNetwork`."""
        seen = self.filters(witnesses)
        linear, left, right = seen.split((1, self.rank, self.rank), dim=1)
        products = (left * right * self.gain[:, None]).sum(dim=1)
        return linear[:, 0] + products
