"""An autoencoder per detector, and how well their reconstructions agree."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from architectures.base import WindowedNetwork
from architectures.correlation import ShiftedCorrelation
from architectures.hourglass import Hourglass
from architectures.light_travel import EARTH_DIAMETER_TIME, light_travel_times
from architectures.registry import register


class Reconstruction(NamedTuple):
    """What an autoencoder makes of a batch; what its loss terms look at.

    Attributes:
        kernel: The input, of shape (batch, ifo, time).
        output: The reconstruction, of shape (batch, ifo, time).
        code: Mean of the innermost layer over time, of shape (batch, ifo, feature).
        correlation: Largest correlation of each pair of detectors, of shape (batch, pair).
    """

    kernel: Tensor
    output: Tensor
    code: Tensor
    correlation: Tensor


@register("autoencoder")
class Autoencoder(WindowedNetwork):
    """Convolutional autoencoder of each detector, scored by how well the detectors agree.

    No detector's reconstruction sees another detector. What two of them have in common up to the
    light travel time between them is therefore from outside: the score is the mean over pairs of
    detectors of the largest correlation over these shifts, between 0 and 1. Autoencoders for this
    search: Moreno et al., arXiv:2107.12698; Pearson's correlation between detectors over their
    delays as evidence: Skliris et al., arXiv:2009.14611.

    It pads and normalises: each window is computed on its own.

    Args:
        num_ifos: Number of detectors; at least two.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        ifos: Names of the detectors; their distances limit the shifts. If None, the diameter of
            the Earth does.
        widths: Channels of the strided convolutions, for each detector; each halves the rate.
        taps: Length of all convolutions; odd.

    Raises:
        ValueError: There are fewer than two detectors, their names are not as many, or the kernel
            is no longer than the delays.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        ifos: Sequence[str] | None = None,
        widths: Sequence[int] = (8, 16, 32, 64),
        taps: int = 7,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length)
        if num_ifos < 2:
            raise ValueError(
                f"Autoencoder compares detectors and needs at least 2, found {num_ifos}: use a "
                "supervised architecture for a single one"
            )
        if ifos is None:
            delays = [EARTH_DIAMETER_TIME for _ in combinations(range(num_ifos), 2)]
        elif len(ifos) == num_ifos:
            delays = light_travel_times(ifos)
        else:
            raise ValueError(
                f"Autoencoder got the names of {len(ifos)} detectors ({', '.join(ifos)}) for "
                f"{num_ifos}"
            )
        if kernel_length <= 4 * max(delays):
            raise ValueError(
                f"kernel_length {kernel_length} s is too short to look for delays of up to "
                f"{max(delays):.4f} s: expected more than four times that"
            )
        self.network = Hourglass(1, 1, widths, taps, groups=num_ifos, activation=torch.nn.ELU)
        self.correlation = ShiftedCorrelation(num_ifos, delays, sample_rate)

    def reconstruct(self, kernel: Tensor) -> Tensor:
        """Whitened strain (batch, ifo, time) to what the autoencoders keep of it, same shape."""
        return self.network(kernel)

    def examine(self, kernel: Tensor) -> Reconstruction:
        """Everything that loss terms look at, from one pass.

        Args:
            kernel: Whitened strain, of shape (batch, ifo, time).
        """
        code = self.network.encode(kernel)
        output = self.network.decode(code)[..., : kernel.shape[-1]]
        features = code.mean(dim=-1).reshape(len(kernel), self.num_ifos, -1)
        return Reconstruction(kernel, output, features, self.correlation(output))

    def forward(self, kernel: Tensor) -> Tensor:
        """See `WindowedNetwork`; the score is a correlation here."""
        return self.correlation(self.reconstruct(kernel)).mean(dim=1)
