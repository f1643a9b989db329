"""The network of DeepClean: noise in the strain from its witnesses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from architectures.base import RegressionNetwork
from architectures.hourglass import Hourglass
from architectures.registry import register


@register("regression")
class DeepClean(RegressionNetwork):
    """Convolutional autoencoder from witness channels to the noise they cause in the strain.

    With the default options these are the layers of Saleem et al., arXiv:2306.11366, after
    Ormiston et al., Phys. Rev. Research 2, 033066 (2020): an output sample sees 96 samples of the
    witnesses on either side. Away from the ends of a stretch the output does not depend on where
    the stretch begins, as long as beginnings differ by a multiple of 16 samples (`hop_size`): so
    a long stretch can be cleaned in one go.

    Args:
        num_channels: Number of witness channels.
        sample_rate: Sample rate of witnesses and strain [Hz].
        kernel_length: Length of the stretches that it is trained on [s].
        widths: Channels of the strided convolutions; each halves the rate.
        taps: Length of all convolutions; odd.
    """

    def __init__(
        self,
        num_channels: int,
        sample_rate: float,
        kernel_length: float,
        widths: Sequence[int] = (8, 16, 32, 64),
        taps: int = 7,
    ) -> None:
        super().__init__(num_channels, sample_rate, kernel_length)
        self.network = Hourglass(num_channels, 1, widths, taps, activation=torch.nn.ELU)
        self.hop_size = self.network.hop_size
        self.past_size = self.future_size = self.network.reach_size

    def forward(self, witnesses: Tensor) -> Tensor:
        """See `RegressionNetwork`."""
        return self.network(witnesses)[:, 0]
