"""The GroupNorm ResNet of ml4gw."""

from collections.abc import Sequence

from ml4gw.nn.norm import GroupNorm1D
from ml4gw.nn.resnet import ResNet1D
from torch import Tensor

from architectures.base import WindowedNetwork
from architectures.registry import register


@register("supervised")
class ResNet(WindowedNetwork):
    """One-dimensional ResNet on all detectors together, normalised over groups of channels.

    With layers [3, 4, 6, 3] and kernel size 3 this is the network of Marx et al., Phys. Rev. D
    111, 042010 (2025). It pads and normalises over the window: each window is computed alone.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        layers: Residual blocks in each of the four stages.
        kernel_size: Length of the convolutions [samples].
        groups: Groups of the normalisation.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        layers: Sequence[int] = (3, 4, 6, 3),
        kernel_size: int = 3,
        groups: int = 16,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length)
        self.network = ResNet1D(
            num_ifos,
            layers=list(layers),
            classes=1,
            kernel_size=kernel_size,
            norm_layer=lambda channels: GroupNorm1D(channels, num_groups=groups),
        )

    def forward(self, kernel: Tensor) -> Tensor:
        """See `WindowedNetwork`."""
        return self.network(kernel)[:, 0]
