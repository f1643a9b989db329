"""A ResNet on the spectrum of the kernel."""

from collections.abc import Sequence
from functools import partial

from ml4gw.nn.norm import GroupNorm1D
from ml4gw.nn.resnet import ResNet1D
from torch import Tensor

from architectures.base import WindowedNetwork
from architectures.registry import register
from architectures.spectrum import BandSpectrum, band_bins


@register("supervised")
class FrequencyResNet(WindowedNetwork):
    """One-dimensional ResNet over frequency, on real and imaginary parts of all detectors.

    The ResNet (He et al., arXiv:1512.03385) is that of ml4gw with group normalisation, as in
    `ResNet`. Bins outside the band are left out rather than set to zero.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        highpass: Lowest frequency; the first above zero if None [Hz].
        lowpass: Highest frequency; half the sample rate if None [Hz].
        layers: Residual blocks in each stage.
        kernel_size: Length of the convolutions [bins].
        groups: Groups of the normalisation.

    Raises:
        ValueError: The band is empty.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        highpass: float | None = None,
        lowpass: float | None = None,
        layers: Sequence[int] = (3, 4, 6, 3),
        kernel_size: int = 3,
        groups: int = 16,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length)
        first, last = band_bins(self.kernel_size, self.sample_rate, highpass, lowpass)
        self.spectrum = BandSpectrum(self.kernel_size, first, last)
        self.network = ResNet1D(
            2 * num_ifos,
            layers=list(layers),
            classes=1,
            kernel_size=kernel_size,
            norm_layer=partial(GroupNorm1D, num_groups=groups),
        )

    def forward(self, kernel: Tensor) -> Tensor:
        """See `WindowedNetwork`."""
        return self.network(self.spectrum(kernel))[:, 0]
