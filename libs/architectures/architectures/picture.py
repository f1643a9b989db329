"""A two-dimensional ResNet on pictures of the kernel: power over time and frequency."""

from collections.abc import Sequence
from functools import partial

from ml4gw.nn.norm import GroupNorm2D
from ml4gw.nn.resnet import ResNet2D
from torch import Tensor

from architectures.base import WindowedNetwork


class PictureNetwork(WindowedNetwork):
    """Two-dimensional ResNet on a picture of each detector's kernel.

    The ResNet (He et al., arXiv:1512.03385) is that of ml4gw, normalised over groups of channels.
    It sees the logarithm of one plus the power: loudness is kept, and noise is not spread out.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        layers: Residual blocks in each stage.
        kernel_size: Size of the convolutions.
        groups: Groups of the normalisation.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        layers: Sequence[int],
        kernel_size: int,
        groups: int,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length)
        self.network = ResNet2D(
            num_ifos,
            layers=list(layers),
            classes=1,
            kernel_size=kernel_size,
            norm_layer=partial(GroupNorm2D, num_groups=groups),
        )

    def picture(self, kernel: Tensor) -> Tensor:
        """Power in units of the mean power of white noise of variance 1.

        Args:
            kernel: Whitened strain, of shape (batch, ifo, kernel_size).

        Returns:
            Tensor of shape (batch, ifo, frequency, time).
        """
        raise NotImplementedError

    def forward(self, kernel: Tensor) -> Tensor:
        """See `WindowedNetwork`."""
        return self.network(self.picture(kernel).log1p())[:, 0]
