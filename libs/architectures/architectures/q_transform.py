"""A two-dimensional ResNet on Q-transforms."""

import math
from collections.abc import Sequence

from ml4gw.transforms import SingleQTransform
from torch import Tensor

from architectures.picture import PictureNetwork
from architectures.registry import register


@register("supervised")
class QTransformResNet(PictureNetwork):
    """Two-dimensional ResNet on the Q-transform of each detector's kernel.

    The transform (Chatterji et al., Class. Quantum Grav. 21, S1809 (2004)) is that of ml4gw. Tiles
    are not normalised by the median of the window, as is usual for data that are not white, but
    by what white noise has: so loudness is kept. For the ResNet see `PictureNetwork`.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        highpass: Lowest frequency, where the transform can go so low [Hz].
        lowpass: Highest frequency, where the transform can go so high [Hz].
        q: Quality of the tiles. Larger ones resolve frequency better and time less, and need
            longer kernels: the lowest frequency is 50 q / (2 pi kernel_length).
        shape: Rows (frequency, logarithmic) and columns (time) of the picture.
        layers: Residual blocks in each stage.
        kernel_size: Size of the convolutions.
        groups: Groups of the normalisation.

    Raises:
        ValueError: The transform has no frequency within the band.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        highpass: float | None = None,
        lowpass: float | None = None,
        q: float = 6.0,
        shape: Sequence[int] = (64, 128),
        layers: Sequence[int] = (3, 4, 6, 3),
        kernel_size: int = 3,
        groups: int = 16,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length, layers, kernel_size, groups)
        # limits of the transform: tiles must fit into the kernel, and below the Nyquist frequency
        lowest = 50 * q / (2 * math.pi * kernel_length)
        highest = sample_rate / 2 / (1 + math.sqrt(11) / q)
        bottom = max(lowest, highpass or 0.0)
        top = highest if lowpass is None else min(highest, lowpass)
        if not bottom < top:
            raise ValueError(
                f"a Q-transform of {kernel_length} s with q {q} at {sample_rate} Hz reaches from "
                f"{lowest:.1f} to {highest:.1f} Hz, of which nothing lies between highpass "
                f"{highpass} and lowpass {lowpass}: use a lower q or a longer kernel"
            )
        rows, columns = shape
        self.shape = (rows, columns)
        self.transform = SingleQTransform(
            duration=self.kernel_length,
            sample_rate=self.sample_rate,
            spectrogram_shape=self.shape,
            q=q,
            frange=[bottom, top],
            # bilinear, since bicubic interpolation makes negative energies
            interpolation_method="bilinear",
        )
        # Mean energy of a tile in white noise of variance 1. The transform divides by the size and
        # doubles amplitudes: |X|^2 is 4 / size; its windows' squares sum to size^-2 * 2 duration.
        self.white_energy = 8 * self.kernel_length / self.kernel_size**3

    def picture(self, kernel: Tensor) -> Tensor:
        """See `PictureNetwork`."""
        # reshaped, since the transform drops axes of length one
        energy = self.transform(kernel, norm=None).reshape(-1, self.num_ifos, *self.shape)
        return energy / self.white_energy
