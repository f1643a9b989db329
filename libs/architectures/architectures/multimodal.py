"""Strain, its spectrum and the noise's spectrum together."""

from collections.abc import Sequence
from functools import partial

import torch
from ml4gw.nn.norm import GroupNorm1D
from ml4gw.nn.resnet import ResNet1D
from torch import Tensor

from architectures.base import WindowedNetwork
from architectures.registry import register
from architectures.spectrum import BandSpectrum, FilterSpectrum, band_bins


@register("supervised")
class MultiModal(WindowedNetwork):
    """A ResNet on the strain and one on spectrum and ASD, fused by a linear layer.

    The first branch sees the whitened strain, the second the real and the imaginary part of its
    spectrum and the logarithm of the noise's ASD, which it gets from the whitening filters. The
    ResNets (He et al., arXiv:1512.03385) are those of ml4gw. Late fusion of branches for different
    forms of the same data follows Ngiam et al., Multimodal deep learning, ICML 2011.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        highpass: Lowest frequency; the first above zero if None [Hz].
        lowpass: Highest frequency; half the sample rate if None [Hz].
        layers: Residual blocks in each stage of the branch on the strain.
        frequency_layers: The same of the branch on the spectra.
        kernel_size: Length of the convolutions [samples, bins].
        groups: Groups of the normalisation.
        features: Features that each branch hands on.

    Raises:
        ValueError: The band is empty.
    """

    needs_taps = True

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        highpass: float | None = None,
        lowpass: float | None = None,
        layers: Sequence[int] = (3, 4, 6, 3),
        frequency_layers: Sequence[int] = (2, 2, 2, 2),
        kernel_size: int = 3,
        groups: int = 16,
        features: int = 32,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length)
        first, last = band_bins(self.kernel_size, self.sample_rate, highpass, lowpass)
        self.spectrum = BandSpectrum(self.kernel_size, first, last)
        self.noise_spectrum = FilterSpectrum(self.kernel_size, first, last)
        norm = partial(GroupNorm1D, num_groups=groups)
        self.time = ResNet1D(num_ifos, list(layers), features, kernel_size, norm_layer=norm)
        self.frequency = ResNet1D(
            3 * num_ifos, list(frequency_layers), features, kernel_size, norm_layer=norm
        )
        self.fuse = torch.nn.Linear(2 * features, 1)

    def forward(self, kernel: Tensor, taps: Tensor) -> Tensor:
        """See `WindowedNetwork`.

        Args:
            kernel: Whitened strain, of shape (batch, ifo, kernel_size).
            taps: Whitening filters, of shape (batch, ifo, filter_size).
        """
        spectra = torch.cat((self.spectrum(kernel), self.noise_spectrum(taps)), dim=1)
        return self.fuse(torch.cat((self.time(kernel), self.frequency(spectra)), dim=1))[:, 0]
