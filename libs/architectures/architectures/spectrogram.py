"""A two-dimensional ResNet on spectrograms."""

from collections.abc import Sequence

import torch
from torch import Tensor

from architectures.picture import PictureNetwork
from architectures.registry import register
from architectures.spectrum import band_bins


@register("supervised")
class SpectrogramResNet(PictureNetwork):
    """Two-dimensional ResNet on the short-time power spectrum of each detector's kernel.

    Power is that of Hann windows, all of one length, so that the resolution is the same at all
    frequencies: `QTransformResNet` resolves time better where the frequency is high. Windows lie
    within the kernel; up to one step at its end is not seen. For the ResNet see `PictureNetwork`.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        highpass: Lowest frequency; the first above zero if None [Hz].
        lowpass: Highest frequency; half the sample rate if None [Hz].
        window_length: Length of a window, the inverse of the spacing of frequencies [s].
        step_length: Time from one window to the next [s].
        layers: Residual blocks in each stage.
        kernel_size: Size of the convolutions.
        groups: Groups of the normalisation.

    Raises:
        ValueError: The window does not fit into the kernel, the step is shorter than a sample or
            leaves gaps between windows, or the band is empty.
    """

    window: Tensor

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        highpass: float | None = None,
        lowpass: float | None = None,
        window_length: float = 0.125,
        step_length: float = 1 / 64,
        layers: Sequence[int] = (3, 4, 6, 3),
        kernel_size: int = 3,
        groups: int = 16,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length, layers, kernel_size, groups)
        self.window_size = round(window_length * sample_rate)
        self.step_size = round(step_length * sample_rate)
        if not 1 <= self.step_size <= self.window_size <= self.kernel_size:
            raise ValueError(
                f"a spectrogram of windows of {window_length} s every {step_length} s does not "
                f"cover a kernel of {kernel_length} s at {sample_rate} Hz: expected a step of at "
                "least a sample, no longer than the window, and a window no longer than the kernel"
            )
        self.first, self.last = band_bins(self.window_size, self.sample_rate, highpass, lowpass)
        window = torch.hann_window(self.window_size)
        # white noise of variance 1 then has a mean power of 1
        window /= window.square().sum().sqrt()
        self.register_buffer("window", window, persistent=False)

    def picture(self, kernel: Tensor) -> Tensor:
        """See `PictureNetwork`."""
        windows = kernel.unfold(-1, self.window_size, self.step_size) * self.window
        spectrum = torch.fft.rfft(windows)[..., self.first : self.last]
        return torch.view_as_real(spectrum).square().sum(dim=-1).mT
